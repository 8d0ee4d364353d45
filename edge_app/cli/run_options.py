"""Options of the commands that score many files, and what they print at the end."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.cli.model_options import add_model_options, positive
from edge_app.cli.population_options import add_population_options, stated_of
from edge_app.cli.row_words import answer_of
from edge_app.cli.streams import one_line, say
from edge_app.cores import usable_cores
from edge_app.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_app.runs.scoring_run import RunOptions
    from edge_app.runs.summary import Outcome, Summary

HEATMAPS = ("suspected", "all")
# Of `results.identifiers`, which is not loaded for a help text.
IDENTIFIERS = ("full", "pseudonymous", "none")
DEFAULT_FORMATS = ("jsonl", "csv", "html")
FORMATS = (*DEFAULT_FORMATS, "parquet", "failed")
# A worker takes about 50 MB beside what it shares.
_MOST_WORKERS = 16


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what `batch` and `watch` have in common."""
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")
    add_model_options(parser)
    add_population_options(parser)
    # As many inferences as cores, each on one core, are faster than one inference on all.
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes side by side (default: the cores, at most 16)",
    )
    parser.add_argument(
        "--format",
        type=formats,
        default=DEFAULT_FORMATS,
        metavar="LIST",
        help="what to write, of jsonl,csv,html,parquet,failed (default: jsonl,csv,html; jsonl is "
        "always written; failed: the rows of files that failed, as failed.jsonl)",
    )
    parser.add_argument(
        "--heatmaps",
        choices=HEATMAPS,
        help="also write where in the lungs the score comes from, as PNG beside the results and as "
        "an outline in the report: of the suspected films, or of all that are scored",
    )
    parser.add_argument(
        "--give-up-after",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="for a file that hangs its decoder (default: %(default)g)",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="let others on this machine read OUT, as the umask says (default: its owner only)",
    )
    add_identifier_option(parser)
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("--quiet", action="store_true", help="print errors only")
    volume.add_argument(
        "--verbose", action="store_true", help="print what workers and decoders print"
    )


def add_identifier_option(parser: argparse.ArgumentParser) -> None:
    """Add what results and logs may say of whom a film is."""
    parser.add_argument(
        "--identifiers",
        choices=IDENTIFIERS,
        default="full",
        help="what results and logs say of whom a film is: file names and UIDs as they are, "
        "pseudonyms by a keyed hash whose key stays on this device, or names that nobody can "
        "trace (default: %(default)s). Pictures are not changed: what is burnt into them stays",
    )


def add_answer_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for answers as DICOM objects."""
    parser.add_argument(
        "--dicom-out",
        type=Path,
        metavar="DIR",
        help="write the answer about each DICOM file NAME as DIR/NAME.sr.dcm (structured report) "
        "and DIR/NAME.sc.dcm (picture), new series of its study; the input folder itself puts "
        "them beside it, and they are not scored. Needs: pip install 'pneumoscope[dicom-net]'",
    )


def run_options(
    args: argparse.Namespace,
    only_new: tuple[Path, ...] = (),
    *,
    retry_failed: bool = False,
    answers: Path | None = None,
    lasting: bool = True,
) -> "RunOptions":
    """The options as the engine takes them; `lasting` where a run is to be written."""
    from edge_app.results.identifiers import open_identifiers
    from edge_app.runs.scoring_run import RunOptions

    if "parquet" in args.format:
        from edge_app.results.parquet import require_pyarrow

        require_pyarrow()
    if answers is not None:
        from edge_app.dicom_out.answers import require_highdicom

        require_highdicom()
    return RunOptions(
        bundle=args.bundle,
        runtime=args.runtime,
        operating_point=args.operating_point,
        site=args.site,
        workers=default_workers() if args.workers is None else args.workers,
        threads=args.threads,
        formats=args.format,
        heatmaps=args.heatmaps,
        only_new=only_new,
        retry_failed=retry_failed,
        seconds_per_file=args.give_up_after,
        verbose=args.verbose,
        shared=args.shared,
        answers=answers,
        stated=stated_of(args),
        identifiers=open_identifiers(args.identifiers, args.out, lasting=lasting),
    )


def default_workers() -> int:
    """The cores that this process may use."""
    return min(usable_cores(), _MOST_WORKERS)


def formats(text: str) -> tuple[str, ...]:
    """A list such as `jsonl,csv`, as argparse wants its types."""
    named = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in named:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"no format {name!r}; there are {','.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in named or name == "jsonl")


def seconds(text: str) -> float:
    """A positive time, as argparse wants its types."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a positive number of seconds")
    return number


def note(text: str) -> None:
    """Tell a user something that is not an error."""
    say(f"pneumoscope: {one_line(text)}", sys.stderr)


def say_outcome(outcome: "Outcome") -> None:
    """A line about a file that has just got its row."""
    from datetime import datetime

    from edge_app.results.rows import decode_row

    row = decode_row(outcome.row.encode("utf-8"))
    when = datetime.fromisoformat(row.scored_at).astimezone()
    say(f"{when:%H:%M:%S} {answer_of(row)}", sys.stdout)


def silent(outcome: "Outcome") -> None:
    """In place of `say_outcome`, for --quiet."""


def say_stopped(args: argparse.Namespace, summary: "Summary") -> int:
    """Say what came of a run that lasts until it is stopped; its exit code."""
    note("stopped; the same command goes on")
    if not args.quiet:
        say(describe(summary), sys.stdout)
    return EXIT_INTERRUPTED


def describe(summary: "Summary") -> str:
    """A few lines for people: decisions first, then what has none and why."""
    lines = [_first_line(summary), f"  decisions: {_counts(summary.decisions)}"]
    if summary.refused:
        lines.append(f"  refused:   {_counts(summary.refused)}")
    if summary.failed:
        lines.append(f"  failed:    {_counts(summary.failed)}")
        lines.append("  files that are mended since are scored again with --retry-failed")
    if summary.stale:
        lines.append(f"  stale, since their files were overwritten: {summary.stale} of these rows")
    if summary.unlisted_folders:
        lines.append(f"  sub-folders that could not be listed: {summary.unlisted_folders}")
    return "\n".join(lines)


def _first_line(summary: "Summary") -> str:
    new = summary.scored_now
    line = f"{summary.files} files"
    if new != summary.files:
        line += f", {new} of them new,"
    line += f" in {summary.seconds:.1f} s"
    if new:
        line += f" ({summary.files_per_second:.1f} files/s after {summary.startup_seconds:.1f} s)"
    if summary.known:
        line += f"; {summary.known} known from earlier results, or answers of ours"
    return line


def _counts(counts: "Mapping[str, int]") -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered if count) or "none"
