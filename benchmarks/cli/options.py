"""Options that several commands take, and what they ask for."""

import argparse
import sys
from pathlib import Path

from benchmarks.contenders import (
    Contender,
    bundle_contenders,
    foreign_contenders,
    parse_pythons,
    with_distinct_names,
)
from edge_app.bundle.manifest import Bundle
from edge_app.cli.labelling_options import add_labelling_options, labelling_of
from edge_app.cli.model_options import positive
from edge_app.cores import usable_cores
from edge_app.errors import UsageError
from edge_app.images.labelled_pictures import (
    LabelledPicture,
    note_unknown_patients,
    read_labelled_pictures,
)
from edge_app.runtimes import RUNTIMES

OUT = Path("out/benchmarks")


def add_measuring_options(parser: argparse.ArgumentParser) -> None:
    """Add --bundle and --out."""
    add_bundle_option(parser)
    add_out_option(parser)


def add_bundle_option(parser: argparse.ArgumentParser) -> None:
    """Add --bundle."""
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="(default: the one that ships)"
    )


def add_out_option(parser: argparse.ArgumentParser) -> None:
    """Add --out."""
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="(default: %(default)s)")


def add_resume_option(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="take over what the same command has measured of this model with these packages",
    )


def add_contender_options(parser: argparse.ArgumentParser) -> None:
    """Add --python, --runtime and --model."""
    add_python_option(parser)
    parser.add_argument(
        "--runtime", action="append", metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument(
        "--model",
        action="append",
        nargs=2,
        type=Path,
        default=[],
        metavar=("FILE", "DESCRIPTION"),
        help="another .tflite or .onnx and its description (docs/benchmarks.md); repeatable",
    )


def add_python_option(parser: argparse.ArgumentParser) -> None:
    """Add --python."""
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="RUNTIME=PATH",
        help="interpreter of another environment, as tflite-runtime needs one; repeatable",
    )


def contenders(bundle: Bundle, args: argparse.Namespace) -> list[Contender]:
    """The bundle's files and those of --model, in every runtime that the options leave.

    Raises:
        UsageError: a runtime or a model that does not exist, or the same model twice.
    """
    pythons = parse_pythons(args.python)
    known = {engine.name for engine in RUNTIMES}
    unknown = set(args.runtime or ()) - known
    if unknown:
        raise UsageError(f"no runtime {unknown.pop()!r}; there are: {', '.join(sorted(known))}")
    found = bundle_contenders(bundle, args.runtime, pythons)
    for model, description in args.model:
        found += foreign_contenders(model, description, args.runtime, pythons)
    return with_distinct_names(found)


def add_effort_options(parser: argparse.ArgumentParser) -> None:
    """Add --threads, --runs and --seconds."""
    parser.add_argument(
        "--threads", type=numbers, metavar="N,...", help="(default: 1 and all cores)"
    )
    parser.add_argument("--runs", type=positive, default=1024, help="(default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="at most (default: %(default)s)"
    )


def thread_counts(args: argparse.Namespace) -> tuple[int, ...]:
    """Of --threads."""
    return args.threads or tuple(sorted({1, usable_cores()}))


def add_data_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add --data and how to read it."""
    parser.add_argument("--data", type=Path, required=required, metavar="FOLDER|CSV")
    parser.add_argument("--root", type=Path, help="folder that the CSV's file names start from")
    parser.add_argument("--split", default="", help="only this split of data that is divided")
    add_labelling_options(parser)
    parser.add_argument("--name", help="what the tables call the data (default: its file name)")


def cases(args: argparse.Namespace) -> list[LabelledPicture]:
    """The labelled pictures of --data.

    Raises:
        NoInputError: there are none.
        DataError: the CSV lacks a column or a file, or a picture has no class.
    """
    roots = None if args.root is None else (args.root,)
    found = read_labelled_pictures(args.data, labelling_of(args), roots=roots, split=args.split)
    if note := note_unknown_patients(found):
        print(f"benchmarks: {note}", file=sys.stderr)
    return found


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """Add --workers."""
    parser.add_argument(
        "--workers", type=numbers, metavar="N,...", help="(default: 1 to all cores)"
    )


def worker_counts(args: argparse.Namespace) -> tuple[int, ...]:
    """Of --workers; by default 1, 2, 4, ... and all cores."""
    cores = usable_cores()
    powers = {2**k for k in range(cores.bit_length()) if 2**k <= cores}
    return args.workers or tuple(sorted(powers | {cores}))


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1 with commas between them, sorted."""
    return tuple(sorted({positive(part) for part in text.split(",")}))
