"""Heatmaps of a folder run: one PNG a film beside the results, whole or not there."""

from dataclasses import dataclass, replace
from pathlib import Path

from edge_app.decision import Decision
from edge_app.errors import StorageError
from edge_app.files.whole import unwritable, whole
from edge_app.results.folder import RunFolder
from edge_app.screening.score_file import ScoredFile
from edge_app.screening.screener import Screener


@dataclass(frozen=True, slots=True)
class Heatmaps:
    """Of which films they are made, "suspected" or "all", and into which run's folder they go.

    Without a folder nothing is written: only the result, and so its small picture, has the heat.
    """

    which: str
    out: str | None

    def add(self, screener: Screener, scored: ScoredFile) -> ScoredFile:
        """Write the heatmap of a scored file, where one is asked for; its result has it then.

        An earlier one of this name, whose file was overwritten, is removed.

        Raises:
            StorageError: it cannot be written.
        """
        result = scored.result
        if scored.radiograph is not None and result is not None and self._wants(result.decision):
            result = screener.with_heatmap(scored.radiograph, result)
        if self.out is None:
            return replace(scored, result=result)
        path = RunFolder(Path(self.out)).heatmap(scored.row.file)
        if result is None or result.heatmap is None:
            self._forget(path)
            return scored
        self._make_folder(path.parent)
        with whole(path) as partial:
            result.overlay().save(partial, "PNG")
        return replace(scored, result=result)

    def _wants(self, decision: Decision) -> bool:
        return self.which == "all" or decision is Decision.PNEUMONIA_SUSPECTED

    @staticmethod
    def _make_folder(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error

    @staticmethod
    def _forget(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise StorageError(f"{path}: cannot be removed: {error.strerror or error}") from error
