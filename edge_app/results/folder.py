"""Where the files of a run lie: the journal, what is derived from it, and what is temporary."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder OUT of a run."""

    path: Path

    @property
    def results(self) -> Path:
        """The journal: the truth."""
        return self.path / "results.jsonl"

    @property
    def table(self) -> Path:
        """Derived from the journal, for spreadsheets."""
        return self.path / "results.csv"

    @property
    def report(self) -> Path:
        """Derived from the journal and the thumbnails, for people."""
        return self.path / "report.html"

    @property
    def columns(self) -> Path:
        """Derived from the journal, for tools that read columns: a folder of Parquet files."""
        return self.path / "results.parquet"

    @property
    def failures(self) -> Path:
        """Derived from the journal: the rows of files that failed, with their reasons."""
        return self.path / "failed.jsonl"

    @property
    def thumbnails(self) -> Path:
        """Pictures for the report; see `gallery`."""
        return self.path / "thumbnails.jsonl"

    def heatmap(self, file: str) -> Path:
        """Of a row's file: its name for people, and what keeps equal names apart.

        Args:
            file: as the row names it.
        """
        name = re.sub(r"[^0-9A-Za-z._-]+", "_", file.rpartition("/")[2]).lstrip(".")[:60]
        digest = hashlib.sha256(file.encode("utf-8", "surrogatepass")).hexdigest()
        return self.path / "heatmaps" / f"{name}-{digest[:12]}.png"

    @property
    def file_stamps(self) -> Path:
        """Size and time of each file that has a row; see `file_stamps`."""
        return self.path / "files.jsonl"

    @property
    def run_end(self) -> Path:
        """How the last run ended; see `run_end`."""
        return self.path / "run.json"

    @property
    def kept_answers(self) -> Path:
        """Rows that were finished but not written when a run was interrupted; see `run_store`."""
        return self.path / ".pneumoscope-waiting.jsonl"

    @property
    def names_key(self) -> Path:
        """Until the run is complete: the key of names that say nothing; see `identifiers`."""
        return self.path / ".pneumoscope-names.key"

    @property
    def names(self) -> Path:
        """Temporary: which files have a row."""
        return self.path / ".pneumoscope-names.sqlite"

    @property
    def hashes(self) -> Path:
        """Temporary: which contents are known from elsewhere."""
        return self.path / ".pneumoscope-hashes.sqlite"
