"""`pneumoscope fleet`: answers of many devices, on USB sticks, and one campaign of them."""

import argparse
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import positive
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from edge_app.files.pseudonyms import Pseudonyms
    from edge_app.fleet.answers import PackedAnswer


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its own commands to the command line."""
    parser = commands.add_parser(
        "fleet",
        help="bring the answers of many devices together, without a network",
        description="Each device packs its answers under pseudonyms onto a USB stick; at the "
        "centre the packs of all devices become one campaign with a report.",
    )
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_pack(actions)
    _add_enrol(actions)
    _add_merge(actions)


def _add_pack(actions: "argparse._SubParsersAction[Any]") -> None:
    from edge_app.cli.labelling_options import add_labelling_options
    from edge_app.cli.record_options import add_record_options

    parser = actions.add_parser(
        "pack",
        help="write what is new on this device onto a stick",
        description="Write the answers that no earlier pack of this device holds as one signed "
        "file. Pictures, patients and answers are keyed hashes, whose key never leaves the device; "
        "names, messages and times of day are not in it. Where nothing is new the pack tells that "
        "the device is alive.",
    )
    parser.add_argument(
        "results",
        nargs="*",
        type=Path,
        metavar="RESULTS",
        help="folders of runs, or their results.jsonl",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="STICK")
    parser.add_argument(
        "--with-record", action="store_true", help="the studies of the clinic's record too"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="TRUTH.csv",
        help="columns file and label, and patient_id: what turned out; lines of files without a "
        "row are passed over",
    )
    parser.add_argument(
        "--site", type=Path, metavar="SITE", help="site profile, to watch for drift centrally"
    )
    parser.add_argument(
        "--everything",
        action="store_true",
        help="what earlier packs hold too, as when a stick was lost",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="model in use (default: the installed one)"
    )
    add_record_options(parser)
    add_labelling_options(parser.add_argument_group("what the CSV calls things"))
    parser.set_defaults(run=run_pack)


def _add_enrol(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "enrol",
        help="register a device at the centre",
        description="Add a device to the registry of those whose packs count: a CSV with the "
        "columns public_key, device and site. KEY.pub lies on the stick beside the device's first "
        "pack; take it from the device's owner and from nobody else.",
    )
    parser.add_argument("key", type=Path, metavar="KEY.pub")
    parser.add_argument("--device", required=True, metavar="NAME", help="one of its kind")
    parser.add_argument("--site", required=True, metavar="NAME", help="where it stands")
    _add_registry(parser)
    parser.set_defaults(run=run_enrol)


def _add_merge(actions: "argparse._SubParsersAction[Any]") -> None:
    parser = actions.add_parser(
        "merge",
        help="make one campaign of many packs",
        description="Write every answer once as Parquet, and a report: sites, drift and "
        "calibration by site, devices that are silent or run an old model, and each file that does "
        "not count with its reason. Exit code 1 where there is one.",
    )
    parser.add_argument(
        "packs", nargs="+", type=Path, metavar="PACKS", help="packs, and folders of packs"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="CAMPAIGN", help="is not there yet"
    )
    _add_registry(parser)
    parser.add_argument(
        "--as-of",
        type=_day,
        default=None,
        metavar="YYYY-MM-DD",
        help="the day that is called today (default: by this machine's clock)",
    )
    parser.add_argument(
        "--recent-days",
        type=positive,
        default=28,
        metavar="N",
        help="that are held against what was before, for drift (default: 28)",
    )
    parser.add_argument(
        "--silent-days",
        type=positive,
        default=30,
        metavar="N",
        help="after so many without a sign a device is silent (default: 30)",
    )
    parser.add_argument(
        "--model", metavar="ID", help="that is to be in use (default: the newest of the packs)"
    )
    parser.set_defaults(run=run_merge)


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry", type=Path, required=True, metavar="DEVICES.csv", help="devices that are known"
    )


def run_pack(args: argparse.Namespace) -> int:
    """Print what was written."""
    from edge_app.fleet.device import Device
    from edge_app.fleet.pack import write_pack
    from edge_app.site.profile_folder import read_profile

    if not args.results and not args.with_record:
        raise UsageError("nothing to pack: name RESULTS, or --with-record")
    profile = None if args.site is None else read_profile(args.site).profile
    with Device() as device:
        written = write_pack(
            device,
            _answers(args, device.pseudonyms),
            args.out,
            profile,
            args.bundle,
            everything=args.everything,
        )
    print(
        f"{one_line(str(written.path))}: pack {written.sequence} of the device {written.key_id}, "
        f"{written.answers:,} answers, {written.n_bytes:,} bytes; {written.known:,} answers are in "
        "earlier packs"
    )
    return EXIT_OK


def _answers(args: argparse.Namespace, pseudonyms: "Pseudonyms") -> Iterator["PackedAnswer"]:
    from edge_app.cli.labelling_options import labelling_of
    from edge_app.fleet.answers import answers_of_record, answers_of_run
    from edge_app.site.cases import read_cases, read_run

    for path in args.results:
        cases = None
        if args.truth is not None:
            cases = read_cases(path, args.truth, labelling_of(args), ignore_unknown=True)
        yield from answers_of_run(read_run(path).rows, cases, pseudonyms)
    if args.with_record:
        from edge_app.cli.record_options import open_record

        with open_record(args) as record:
            yield from answers_of_record(record, pseudonyms)


def run_enrol(args: argparse.Namespace) -> int:
    """Print which device is known now."""
    from edge_app.fleet.registry import enrol

    identifier = enrol(args.registry, args.key, args.device, args.site)
    print(
        f"{one_line(str(args.registry))}: {one_line(args.device)} at {one_line(args.site)}, key "
        f"{identifier}"
    )
    return EXIT_OK


def run_merge(args: argparse.Namespace) -> int:
    """Print what to look at; the page holds all of it."""
    from datetime import UTC, datetime

    from edge_app.fleet.campaign import find_packs
    from edge_app.fleet.merge import REPORT_FILE, Asked, require_packages, write_campaign
    from edge_app.fleet.registry import read_registry

    require_packages()
    asked = Asked(
        as_of=args.as_of or datetime.now(UTC).date(),
        recent_days=args.recent_days,
        silent_days=args.silent_days,
        model_id=args.model,
    )
    from edge_app.fleet.page import describe

    registry = read_registry(args.registry)
    findings = write_campaign(find_packs(args.packs), registry, args.out, asked)
    for line in describe(findings).splitlines():
        print(one_line(line))
    print(f"Report: {one_line(str(args.out / REPORT_FILE))}")
    return EXIT_SOME_FAILED if findings.campaign.problems else EXIT_OK


def _day(text: str) -> date:
    """A day, as argparse wants its types."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day YYYY-MM-DD") from error
