"""What results and logs may say of whom a film is: all, pseudonyms, or nothing that can be traced.

Names of files, SOP Instance UIDs and texts that hold them enter; what may be written leaves. Films
and the DICOM answers about them are patients' data whatever is chosen here.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from edge_app.errors import UsageError
from edge_app.files.pseudonyms import (
    Pseudonyms,
    device_pseudonyms,
    open_pseudonyms,
    passing_pseudonyms,
)
from edge_app.images.formats import SUFFIXES
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow

Choice = Literal["full", "pseudonymous", "none"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
# The parameter of a run that says so; runs that write everything have none.
IDENTIFIERS = "identifiers"
_KEY = "identifiers_key"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What may be written.

    Attributes:
        choice: one of `CHOICES`.
        pseudonyms: None for "full".
        key_file: of a key that is removed once a run is complete, so that nobody can find out any
            more what a name stood for.
    """

    choice: Choice = "full"
    pseudonyms: Pseudonyms | None = None
    key_file: Path | None = None

    def name(self, name: str) -> str:
        """A file's name in the results: each part of its path for itself, its suffix kept."""
        if self.pseudonyms is None:
            return name
        folders, last = name.split("/")[:-1], name.rpartition("/")[2]
        suffix = last[last.rfind(".") :].lower() if "." in last else ""
        parts = [self.pseudonyms.of("name", part) for part in (*folders, last) if part]
        return "/".join(parts) + (suffix if suffix in SUFFIXES else "")

    def uid(self, uid: str) -> str:
        """A DICOM UID in a log."""
        if self.pseudonyms is None:
            return uid
        return "an object" if self.choice == "none" else self.pseudonyms.uid_of(uid)

    def place(self, text: str) -> str:
        """A path that says where something lies, in the description of a run."""
        return self.pseudonyms.of("place", text) if self.pseudonyms and text else text

    def parameters(self) -> dict[str, str]:
        """Of a run: one under another key is another run, since no name would be known again."""
        if self.pseudonyms is None:
            return {}
        return {IDENTIFIERS: self.choice, _KEY: self.pseudonyms.of("key", "")[:8]}

    def masked(self, row: ResultRow, path: Path) -> ResultRow:
        """A row as it may be written; its `file` is a pseudonym already.

        Args:
            row: of the file.
            path: where that lies.
        """
        if self.pseudonyms is None:
            return row
        uid, sha256 = row.sop_instance_uid, row.sha256
        if self.choice == "none":
            uid = sha256 = None
        elif uid is not None:
            uid = self.pseudonyms.uid_of(uid)
        message = row.message and _without(row.message, path, row.file.rpartition("/")[2])
        return replace(row, sop_instance_uid=uid, sha256=sha256, message=message)

    def settings(self) -> tuple[str, str] | None:
        """For a worker process, `from_settings`; None for "full"."""
        return None if self.pseudonyms is None else (self.choice, self.pseudonyms.key.hex())

    @classmethod
    def from_settings(cls, settings: tuple[str, str] | None) -> "Identifiers":
        """What `settings` has given."""
        if settings is None:
            return FULL
        return cls(cast(Choice, settings[0]), Pseudonyms(bytes.fromhex(settings[1])))

    def forget(self) -> None:
        """A run is complete: remove the key that is for it alone.

        Raises:
            StorageError: it cannot be removed.
        """
        if self.key_file is not None:
            from edge_app.files.whole import unwritable

            try:
                self.key_file.unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(self.key_file, error) from error


FULL = Identifiers()


def open_identifiers(choice: str, out: Path | None = None, *, lasting: bool = True) -> Identifiers:
    """What a choice means, with the key that it needs.

    Args:
        choice: one of `CHOICES`.
        out: folder of a run; None for answers that no run holds.
        lasting: whether something is written, so that a key has to outlive this process.

    Raises:
        StorageError: the key cannot be read or written.
        UsageError: "none", and the results there are complete: nobody can tell any more which
            film has a row.
    """
    if choice == "full":
        return FULL
    if choice == "pseudonymous":
        return Identifiers("pseudonymous", device_pseudonyms())
    if out is None:
        return Identifiers("none", passing_pseudonyms())
    folder = RunFolder(out)
    if not folder.names_key.exists():
        if folder.results.exists():
            raise UsageError(
                f"{out}: its results name nobody and the key of their names was removed, so it "
                "cannot be told which film has a row; name a new folder with -o"
            )
        if not lasting:
            return Identifiers("none", passing_pseudonyms())
    return Identifiers("none", open_pseudonyms(folder.names_key), folder.names_key)


def _without(text: str, path: Path, name: str) -> str:
    """A message that names a file by its pseudonym."""
    for known in (str(path), path.name):
        text = re.sub(rf"(?<!\w){re.escape(known)}(?!\w)", name, text)
    return text
