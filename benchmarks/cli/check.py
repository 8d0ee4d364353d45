"""`check`: what became worse than the landed state."""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import check
from benchmarks.check import Baseline, Guarded
from benchmarks.cli.options import add_bundle_option, add_python_option
from benchmarks.cli.recorded import warn_if_busy
from benchmarks.contenders import bundle_contenders, parse_pythons
from benchmarks.machine import Machine, this_machine
from benchmarks.record import Throughput
from benchmarks.reference import REFERENCE, measure_inference, versions
from benchmarks.scale import write_phantom
from benchmarks.startup import measure_startup
from benchmarks.store import Recording
from benchmarks.tables import as_markdown, can_make_tables, verdict_table
from benchmarks.throughput import Options, measure_throughput
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.cores import usable_cores
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError
from edge_app.files.codec import canonical_json
from edge_app.files.whole import write_whole

# The short form: small enough for every `make test`.
_SHORT = Options(pictures=20, files=200, rounds=5, workers=(), loops=(REFERENCE,))
_SHORT_STARTS, _SHORT_PROCESSES = 7, 5
_FULL = Options(pictures=100, files=2000, rounds=7, workers=(), loops=(REFERENCE,))
_FULL_STARTS, _FULL_PROCESSES = 20, 10


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "ratios against the landed state; exit 1 where one is worse"
    parser = commands.add_parser("check", help=text, description=text)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="real files (default: the short form, on phantoms)",
    )
    add_bundle_option(parser)
    add_python_option(parser)
    parser.add_argument("--report-only", action="store_true", help="exit 0 in any case")
    parser.add_argument("--write", action="store_true", help="make this the landed state")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the ratios; compare them with the landed ones, or make them these."""
    bundle = load_bundle(args.bundle)
    short = args.folder is None
    # Asked for before anything is measured, which takes minutes.
    then = () if args.write else _landed(args, short=short)
    if then is None:
        return EXIT_OK
    now = _short_ratios(bundle) if short else _full_ratios(bundle, args)
    machine = this_machine()
    if args.write:
        return _write_baseline(now, machine, short=short)
    baseline = check.read_baseline()
    hint = check.only_a_hint(baseline, machine)
    verdicts = check.judge(then, now)
    if can_make_tables():
        print(as_markdown([verdict_table(verdicts, baseline, hint)]))
    worse = any(verdict.verdict == "worse" for verdict in verdicts)
    failed = worse and not hint and not args.report_only
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _landed(args: argparse.Namespace, *, short: bool) -> tuple[Guarded, ...] | None:
    """The ratios to compare with; None where there are none and only a report was asked for."""
    try:
        return check.landed(check.read_baseline(), short=short)
    except UsageError as error:
        if not args.report_only:
            raise
        print(f"benchmarks: nothing to compare with: {error}", file=sys.stderr)
        return None


def _short_ratios(bundle: Bundle) -> tuple[Guarded, ...]:
    with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
        folder = Path(scratch)
        for index in range(_SHORT.pictures):
            write_phantom(folder / f"{index:02d}.jpg", 1.2, seed=index)
        return _ratios(bundle, folder, _SHORT, _SHORT_STARTS, _SHORT_PROCESSES)


def _full_ratios(bundle: Bundle, args: argparse.Namespace) -> tuple[Guarded, ...]:
    options = replace(_FULL, pythons=parse_pythons(args.python))
    return _ratios(bundle, args.folder, options, _FULL_STARTS, _FULL_PROCESSES)


def _ratios(
    bundle: Bundle, folder: Path, options: Options, starts: int, processes: int
) -> tuple[Guarded, ...]:
    """Ours with all cores beside the fixed work: no loop is part of what could become worse."""
    about = ("python -m benchmarks check", bundle.manifest.model_id)
    recording: Recording[Throughput] = Recording("throughput", *about)
    warn_if_busy(recording)
    all_cores = replace(options, workers=(usable_cores(),))
    throughput = measure_throughput(bundle, folder, all_cores, recording)
    startup = None
    if sys.platform != "win32":
        startup = measure_startup(bundle.folder, None, starts, Recording("startup", *about))
    contenders = bundle_contenders(bundle, None, options.pythons)
    return check.guarded_ratios(throughput, measure_inference(contenders, processes), startup)


def _write_baseline(now: tuple[Guarded, ...], machine: Machine, *, short: bool) -> int:
    """Make these ratios the landed state; the other form's stay if they are of such a machine."""
    full: tuple[Guarded, ...] = ()
    brief: tuple[Guarded, ...] = ()
    try:
        held = check.read_baseline()
        if not check.only_a_hint(held, machine):
            full, brief = held.full, held.short
    except UsageError:
        pass
    full, brief = (full, now) if short else (now, brief)
    baseline = Baseline(
        check.FORMAT_VERSION, machine.processor, machine.cores, versions(machine), full, brief
    )
    write_whole(check.BASELINE, canonical_json(baseline))
    print(f"{check.BASELINE}: {len(now)} ratios written")
    return EXIT_OK
