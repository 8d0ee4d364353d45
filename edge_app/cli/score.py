"""`pneumoscope score FILE...`: one line a file."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import add_model_options, open_screener
from edge_app.cli.population_options import add_population_options, stated_of
from edge_app.cli.row_words import answer_of
from edge_app.cli.run_options import add_identifier_option
from edge_app.cli.streams import one_line, say
from edge_app.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from edge_app.results.identifiers import Identifiers
    from edge_app.results.rows import ResultRow
    from edge_app.screening.score_file import ScoredFile
    from edge_app.screening.screener import Screener

_STANDARD_INPUT = Path("-")


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "score",
        help="score single pictures",
        description="Score pictures and print one line a file. A suspicion is not a failure: the "
        "exit code is 1 only where a file could not be read, and 4 where none of them is there.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="pictures, or patterns such as '*.png'; - reads standard input",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--heatmap",
        type=Path,
        metavar="OUT.png",
        help="also draw where in the lungs the score comes from; takes one FILE",
    )
    add_model_options(parser)
    add_population_options(parser)
    add_identifier_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the files in the order in which they are named."""
    from edge_app.decision import Status
    from edge_app.files.codec import compact_json
    from edge_app.results.identifiers import open_identifiers

    _refuse_folders(args.files)
    paths = [path for named in args.files for path in _expanded(named)]
    if args.heatmap is not None:
        _require_one_picture(paths, args.heatmap)
    screener = open_screener(args, stated_of(args))
    identifiers = open_identifiers(args.identifiers)
    failed = False
    for path in paths:
        row = _score(screener, path, args.heatmap, identifiers)
        failed = failed or row.status is Status.FAILED
        print(compact_json(row) if args.json else describe(row, screener), flush=True)
    if failed and not any(path == _STANDARD_INPUT or os.path.lexists(path) for path in paths):
        return EXIT_NO_INPUT
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _refuse_folders(paths: list[Path]) -> None:
    for path in paths:
        if os.path.isdir(path):
            raise UsageError(
                f"{path} is a folder: pneumoscope batch {path} -o OUT scores what is in it"
            )


def _require_one_picture(paths: list[Path], heatmap: Path) -> None:
    """Raises UsageError or StorageError before a model is opened for nothing."""
    from edge_app.files.whole import require_writable

    if len(paths) != 1:
        raise UsageError(
            "--heatmap takes one FILE; pneumoscope batch FILE... -o OUT --heatmaps all draws many"
        )
    if heatmap.suffix.lower() != ".png":
        raise UsageError(f"{heatmap}: a heatmap is a PNG file: name it OUT.png")
    if os.path.realpath(heatmap) == os.path.realpath(paths[0]):
        raise UsageError(f"{heatmap}: is the picture itself, which is not overwritten")
    require_writable(heatmap)


def _expanded(named: Path) -> list[Path]:
    """The pictures of a pattern, which Windows' shells hand on as it is; else what is named."""
    if named == _STANDARD_INPUT or os.path.lexists(named) or not set("*?[") & set(str(named)):
        return [named]
    from edge_app.errors import NoInputError
    from edge_app.runs.discovery import Inputs

    try:
        return [file.path for file in Inputs([named])] or [named]
    except NoInputError:  # no such folder: said as of any file that is not there
        return [named]


def _score(
    screener: "Screener", path: Path, heatmap: Path | None, identifiers: "Identifiers"
) -> "ResultRow":
    from edge_app.results.rows import printable
    from edge_app.screening.score_file import score_unknown_file

    def answer(path: Path, name: str) -> "ResultRow":
        scored = score_unknown_file(screener, path, name, known=frozenset())
        assert scored is not None
        if heatmap is not None:
            _draw(screener, scored, heatmap)
        return identifiers.masked(scored.row, path)

    if path != _STANDARD_INPUT:
        return answer(path, identifiers.name(printable(str(path))))
    with _standard_input() as copy:
        row = answer(copy, "standard input")
        return replace(row, message=row.message and row.message.removeprefix(f"{copy.name}: "))


def _draw(screener: "Screener", scored: "ScoredFile", path: Path) -> None:
    """Write the heatmap, or say why there is none."""
    from edge_app.files.whole import whole

    if scored.radiograph is None or scored.result is None:
        return
    result = screener.with_heatmap(scored.radiograph, scored.result)
    if result.heatmap is None:
        why = result.reason or "the network has no activation map"
        say(f"pneumoscope: {one_line(str(path))}: no heatmap: {why}", sys.stderr)
        path.unlink(missing_ok=True)  # one of another film must not be taken for this one's
        return
    with whole(path) as partial:
        result.overlay().save(partial, "PNG")


@contextmanager
def _standard_input() -> Iterator[Path]:
    """What is piped in, as a file: decoders want one that can be read twice."""
    import shutil

    from edge_app.files.scratch import scratch_folder

    with scratch_folder() as folder:
        copy = folder / "standard-input"
        with copy.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        yield copy


def describe(row: "ResultRow", screener: "Screener") -> str:
    """A row as one line for people: probabilities, never the raw score; then what is flagged."""
    from edge_app.decision import show_probability
    from edge_app.report.words import flag_words

    if row.probability is None:
        return answer_of(row)
    point = screener.operating_point
    low, high = map(screener.calibration.probability, (point.refer_low, point.refer_high))
    cut_offs = f"cut-offs {show_probability(low)} and {show_probability(high)}, {point.name}"
    return (
        f"{answer_of(row)} ({cut_offs})"
        + ("; a research model" if screener.bundle.manifest.is_research else "")
        + "".join(f"; {words}" for words in flag_words(row.quality, row.measures))
    )
