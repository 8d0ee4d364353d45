"""`pneumoscope batch FOLDER -o OUT`: pictures to a folder of results."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from edge_app.cli.run_options import (
    add_answer_option,
    add_run_options,
    describe,
    note,
    run_options,
)
from edge_app.cli.streams import LastingStream, one_line, say
from edge_app.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED, UsageError
from edge_app.files.bucket import input_path, is_in_bucket

if TYPE_CHECKING:
    from edge_app.runs.batch import BatchPlan
    from edge_app.runs.scoring_run import StartEngine
    from edge_app.runs.summary import Summary


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "batch",
        help="score a folder",
        description="Score every picture that is named. OUT gets results.jsonl (one line a file, "
        "failures included), results.csv (the same as a table) and report.html (the same for "
        "people). Interrupted in any way, the same command goes on where it stopped.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=input_path,
        metavar="INPUT",
        help="folders, files, patterns such as 'scans/**/*.dcm', one LIST.txt with a path a "
        "line, or one s3://BUCKET/PREFIX (needs: pip install 'pneumoscope[parquet]')",
    )
    parser.add_argument(
        "--no-recursive",
        dest="recursive",
        action="store_false",
        help="leave sub-folders out",
    )
    parser.add_argument(
        "--only-new",
        type=Path,
        action="append",
        default=[],
        metavar="EARLIER",
        help="leave out what an earlier OUT has scored or refused, by the files' content; may be "
        "given several times",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="going on, drop the rows of files that failed and score these again",
    )
    parser.add_argument(
        "--same-input",
        action="store_true",
        help="going on, the input is what it was, moved or mounted elsewhere; whatever has a row "
        "is compared by its content",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be scored and write nothing"
    )
    parser.add_argument(
        "--summary", type=Path, metavar="FILE", help="write counts and times (JSON)"
    )
    parser.add_argument(
        "--sort-into",
        type=Path,
        metavar="DIR",
        help="at the end, link every film into a folder of DIR for its answer",
    )
    parser.add_argument(
        "--sort-copies", action="store_true", help="with --sort-into: copy them instead"
    )
    add_answer_option(parser)
    add_run_options(parser)
    _add_engine_options(parser)
    parser.set_defaults(run=run)


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes on this machine, or actors on a Ray cluster, which read the files "
        "themselves; the rows are the same. Needs: pip install 'pneumoscope[ray]'",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a cluster that runs, whose cores are all taken unless --workers says less; auto: "
        "the one on this machine (default: start one here for this run)",
    )


def run(args: argparse.Namespace) -> int:
    """Score what is named and print what came of it."""
    from edge_app.runs.batch import BatchPlan

    if args.sort_into is not None and args.identifiers != "full":
        raise UsageError(
            "--sort-into keeps the films' names, which --identifiers leaves out of results"
        )
    if args.engine == "ray" and args.workers is None:
        args.workers = 0  # all cores of the cluster, whichever join it
    plan = BatchPlan(
        named=tuple(args.inputs),
        out=args.out,
        recursive=args.recursive,
        same_input=args.same_input,
        options=run_options(
            args,
            tuple(args.only_new),
            retry_failed=args.retry_failed,
            answers=args.dicom_out,
            lasting=not args.dry_run,
        ),
        start_engine=_engine(args),
    )
    if any(map(is_in_bucket, plan.named)) and (args.sort_into or args.dicom_out):
        raise UsageError("--sort-into and --dicom-out need films on a disk, not in a bucket")
    if args.dry_run:
        return _list(plan)
    if args.sort_into is not None:
        from edge_app.runs.sorted_files import require_outside

        require_outside(args.sort_into, plan.named, plan.out)
    if args.summary is not None:
        _require_writable(args.summary, args.out)
    summary = _score(plan, quiet=args.quiet)
    if summary is None:
        return EXIT_INTERRUPTED
    if args.summary is not None:
        _write_summary(args.summary, summary, shared=args.shared)
    if args.sort_into is not None:
        _sort(plan, args)
    if not args.quiet:
        say(describe(summary), sys.stdout)
        _print_paths(plan)
    return EXIT_SOME_FAILED if summary.failed else EXIT_OK


def _engine(args: argparse.Namespace) -> "StartEngine":
    from edge_app.runs.scoring_run import start_workers

    if args.engine == "ray":
        from edge_app.runs.cluster.engine import ray_engine

        return ray_engine(args.address)
    if args.address is not None:
        raise UsageError("--address names a Ray cluster: add --engine ray")
    return start_workers


def _score(plan: "BatchPlan", *, quiet: bool) -> "Summary | None":
    """Run with progress; None where it was interrupted."""
    from edge_app.runs.batch import run_batch
    from edge_app.runs.interruption import Interruption
    from edge_app.runs.progress import RunProgress

    stream = cast(TextIO, LastingStream(sys.stderr))
    progress = RunProgress(stream, quiet=quiet)
    try:
        with Interruption() as interruption, progress:
            return run_batch(plan, progress.update, on_note=note, check=interruption.check)
    except KeyboardInterrupt:
        note(
            f"interrupted; {progress.done} files were added to {plan.folder.results}. "
            "The same command goes on where this one stopped; `pneumoscope report "
            f"{plan.out}` makes a report of what is there"
        )
        return None


def _list(plan: "BatchPlan") -> int:
    from edge_app.runs.batch import list_files

    found = done = 0
    is_plain = plan.options.identifiers.choice == "full"
    for file, has_row in list_files(plan, note):
        found += 1
        done += has_row
        if not has_row:
            # Beside its pseudonym, for who has the films: nothing of this is written.
            beside = "" if is_plain else f"  {file.path}"
            print(one_line(f"{file.name}{beside}"))
    note(f"{found} files, {found - done} to score; nothing was written (--dry-run)")
    return EXIT_OK


def _require_writable(path: Path, out: Path) -> None:
    """Before hours of work: can the summary be written behind them?"""
    from edge_app.files.whole import require_writable

    # OUT itself may not be there yet, and is tried anyway.
    if os.path.abspath(path.parent) != os.path.abspath(out):
        require_writable(path)


def _write_summary(path: Path, summary: "Summary", *, shared: bool) -> None:
    from edge_app.files.codec import canonical_json
    from edge_app.files.whole import owner_only, write_whole

    with owner_only(not shared):
        write_whole(path, canonical_json(summary))


def _sort(plan: "BatchPlan", args: argparse.Namespace) -> None:
    from edge_app.files.whole import owner_only
    from edge_app.runs.sorted_files import sort_files

    with owner_only(not args.shared):
        done = sort_files(
            plan.folder, plan.inputs().root, args.sort_into, copies=args.sort_copies, on_note=note
        )
    if done.missing:
        note(f"{done.missing} films are not there any more, so they were not sorted")
    if not args.quiet:
        say(f"Sorted:  {args.sort_into} ({done.films} films)", sys.stdout)


def _print_paths(plan: "BatchPlan") -> None:
    if "html" in plan.options.formats:
        say(f"Report:  {plan.folder.report}", sys.stdout)
    if "csv" in plan.options.formats:
        say(f"Table:   {plan.folder.table}", sys.stdout)
    if "parquet" in plan.options.formats:
        say(f"Columns: {plan.folder.columns}", sys.stdout)
    if "failed" in plan.options.formats:
        say(f"Failed:  {plan.folder.failures}", sys.stdout)
    say(f"Results: {plan.folder.results}", sys.stdout)
