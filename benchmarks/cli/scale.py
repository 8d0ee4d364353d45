"""`scale`: how time and memory grow."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.cli.options import (
    add_measuring_options,
    add_resume_option,
    add_workers_option,
    worker_counts,
)
from benchmarks.cli.recorded import measure
from benchmarks.contenders import Contender, bundle_contenders
from benchmarks.record import Scale
from benchmarks.scale import FILES, MEGAPIXELS, measure_scale, up_to
from benchmarks.store import Recording
from edge_app.bundle.manifest import Bundle
from edge_app.cli.model_options import positive
from edge_app.errors import UsageError
from edge_app.runtimes import RUNTIMES


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "how time and memory grow"
    parser = commands.add_parser("scale", help=text, description=text)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    add_measuring_options(parser)
    parser.add_argument(
        "--most-files",
        type=_most_files,
        default=10_000,
        metavar="N",
        help=f"of any run, up to {FILES[-1]} (default: %(default)s)",
    )
    parser.add_argument(
        "--most-megapixels",
        type=_most_megapixels,
        default=MEGAPIXELS[-1],
        metavar="MP",
        help=f"up to {MEGAPIXELS[-1]:g} (default: %(default)s)",
    )
    add_resume_option(parser)
    add_workers_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the section."""

    def grow(bundle: Bundle, recording: Recording[Scale]) -> Scale:
        return measure_scale(
            bundle,
            _default_contender(bundle),
            args.folder,
            [round(n) for n in up_to(FILES, args.most_files)],
            up_to(MEGAPIXELS, args.most_megapixels),
            worker_counts(args),
            recording,
        )

    return measure(args, "scale", Scale, grow)


def _default_contender(bundle: Bundle) -> Contender:
    """The first contender whose runtime is installed here."""
    installed = {engine.name for engine in RUNTIMES if engine.is_installed}
    for contender in bundle_contenders(bundle):
        if contender.runtime in installed:
            return contender
    raise UsageError("no runtime is installed: pip install 'pneumoscope[litert]'")


def _most_files(text: str) -> int:
    return int(_within(positive(text), 1, FILES[-1]))


def _most_megapixels(text: str) -> float:
    return _within(float(text), MEGAPIXELS[0], MEGAPIXELS[-1])


def _within(number: float, least: float, most: float) -> float:
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{number:g} must be from {least:g} to {most:g}")
    return number
