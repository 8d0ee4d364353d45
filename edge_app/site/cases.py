"""Rows of a run and what is known of their patients: the cases that a site measures with.

A run's results and a CSV of truth enter, `Cases` leave. Nothing is guessed: a line of truth whose
file has no row, two lines for one file, or a word that is no label is a `DataError` that names the
line. Reads files, writes none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from edge_app.decision import Status
from edge_app.errors import DataError
from edge_app.files.codec import CodecError
from edge_app.images.labelled_pictures import Labelling, read_label_table, split_hash
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow, RunHeader, read_results
from edge_app.statistics.observations import BoolArray, FloatArray, patient_weights


class Run(NamedTuple):
    """A run's header and its rows, of each file the one that holds."""

    path: Path
    header: RunHeader
    rows: Mapping[str, ResultRow]


@dataclass(frozen=True, slots=True)
class Case:
    """A row whose truth is known; `label` is 1 for pneumonia."""

    row: ResultRow
    label: int
    patient: str


@dataclass(frozen=True, slots=True)
class Cases:
    """All cases of a run.

    Attributes:
        header: of the run.
        all: the cases, those without an answer too.
        unlabelled: rows of which the truth says nothing.
        unknown: lines of truth that were passed over, since their files have no row.
    """

    header: RunHeader
    all: tuple[Case, ...]
    unlabelled: int
    unknown: int

    @property
    def scored(self) -> tuple[Case, ...]:
        """Those that have a score."""
        return tuple(case for case in self.all if case.row.status is Status.SCORED)

    @property
    def labels(self) -> BoolArray:
        """(n,) of the scored."""
        return np.array([case.label == 1 for case in self.scored], dtype=np.bool_)

    @property
    def scores(self) -> FloatArray:
        """(n,) raw scores."""
        return np.array([case.row.raw_score for case in self.scored], dtype=np.float64)

    @property
    def probabilities(self) -> FloatArray:
        """(n,) probabilities as the rows have them."""
        return np.array([case.row.probability for case in self.scored], dtype=np.float64)

    @property
    def patients(self) -> tuple[str, ...]:
        """(n,) patient of each; films of one patient count together as one case."""
        return tuple(case.patient for case in self.scored)

    @property
    def weights(self) -> FloatArray:
        """(n,) how much of an independent case each is worth."""
        return patient_weights(np.array(self.patients))

    def split_sha256(self) -> str:
        """Which cases these are, as bundles and benchmarks say it."""
        return split_hash((case.row.file, case.label, case.patient) for case in self.scored)

    def require_classes(self, least: int, what: str) -> None:
        """See that enough patients of either class have a score.

        Raises:
            DataError: there are fewer than `least`; the message begins with `what`.
        """
        for label, name in ((1, "with pneumonia"), (0, "without pneumonia")):
            n = len({case.patient for case in self.scored if case.label == label})
            if n < least:
                raise DataError(
                    f"{what}: it takes at least {least} patients {name} that have a score; "
                    f"there are {n}"
                )


def read_run(named: Path) -> Run:
    """The rows of a run's folder or of its `results.jsonl`.

    Raises:
        NoInputError: there is none.
        DataError: a line is damaged or torn; the message names it.
    """
    path = RunFolder(named).results if named.is_dir() else named
    try:
        header, rows = read_results(path)
        # Of a file that was overwritten under a watch the last row holds.
        return Run(path, header, {row.file: row for row in rows})
    except CodecError as error:
        raise DataError(
            f"{path}: {error}. Nothing was measured; `pneumoscope batch` with the same OUT mends "
            "a run that was interrupted"
        ) from error


def read_cases(
    named: Path, truth: Path, labelling: Labelling, *, ignore_unknown: bool = False
) -> Cases:
    """Join a run with the truth.

    A CSV may call a file as the row does, or by more or fewer folders in front, as long as that
    leaves no choice.

    Args:
        named: the run's folder or its `results.jsonl`.
        truth: a CSV with the columns file and label, and patient_id where there is one.
        labelling: what it calls classes and columns.
        ignore_unknown: whether lines of files that have no row are passed over.

    Raises:
        NoInputError: a file is missing.
        DataError: a line cannot be used, or a line of the results; it is named.
    """
    run = read_run(named)
    cases: dict[str, Case] = {}
    lines: dict[str, int] = {}
    unknown = 0
    names = _Names(run.rows)
    for line, cells in read_label_table(truth, labelling):
        where = f"{truth}:{line}"
        if labelling.leaves_out(cells["label"]):
            continue
        label = _label(cells["label"], labelling, where)
        name = names.find(cells["file"], where)
        if name is None:
            if not ignore_unknown:
                raise DataError(
                    f"{where}: {cells['file']!r} has no row in {run.path}; --ignore-unknown "
                    "passes such lines over"
                )
            unknown += 1
            continue
        if name in cases:
            differs = cases[name].label != label
            what = "with another label" if differs else "already"
            raise DataError(f"{where}: {cells['file']!r} stands in line {lines[name]} {what}")
        cases[name] = Case(run.rows[name], label, cells.get("patient_id") or name)
        lines[name] = line
    return Cases(run.header, tuple(cases.values()), len(run.rows) - len(cases), unknown)


def _label(text: str, labelling: Labelling, where: str) -> int:
    label = labelling.label_of(text)
    if label is None:
        raise DataError(
            f"{where}: label {text!r} is none of {labelling}; name others with --positive and "
            "--negative, and what shall not count with --leave-out"
        )
    return label


class _Names:
    """Names of rows, found by their last parts."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names
        self._by_last: dict[str, list[str]] = {}
        for name in names:
            self._by_last.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, text: str, where: str) -> str | None:
        """The row that a CSV means, None where there is none."""
        if text in self._names:
            return text
        wanted = PurePosixPath(text.replace("\\", "/"))
        found = list(self._alike(wanted.parts, self._by_last.get(wanted.name, ())))
        if len(found) > 1:
            raise DataError(f"{where}: {text!r} may be {found[0]!r} or {found[1]!r}: say which")
        return found[0] if found else None

    @staticmethod
    def _alike(wanted: Sequence[str], names: Sequence[str]) -> Iterator[str]:
        for name in names:
            parts = PurePosixPath(name).parts
            shared = min(len(parts), len(wanted))
            if tuple(parts[-shared:]) == tuple(wanted[-shared:]):
                yield name
