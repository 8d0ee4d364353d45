"""Options that every command with a model takes, and the screener that they ask for."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.cores import usable_cores

if TYPE_CHECKING:
    from edge_app.bundle.manifest import Bundle
    from edge_app.screening.screener import Screener
    from edge_app.screening.stated import Stated

RUNTIME_NAMES = ("litert", "tflite-runtime", "onnxruntime")
_MOST_THREADS = 4


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --bundle, --runtime, --operating-point, --site and --threads."""
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="model bundle (default: the one that ships)"
    )
    parser.add_argument(
        "--runtime",
        choices=RUNTIME_NAMES,
        help="inference runtime (default: the first of these that is installed)",
    )
    decides = parser.add_mutually_exclusive_group()
    decides.add_argument(
        "--operating-point", metavar="NAME", help="cut-offs (default: the bundle's default)"
    )
    decides.add_argument(
        "--site", type=Path, metavar="SITE", help="a site's own cut-offs, as `calibrate` wrote them"
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=default_threads(),
        metavar="N",
        help="threads for one inference (default: the cores, at most 4)",
    )


def open_screener(args: argparse.Namespace, stated: "Stated | None" = None) -> "Screener":
    """Load the bundle and open its model as the options say; prints the runtime's notes."""
    from edge_app.bundle.load import load_bundle
    from edge_app.screening.screener import Screener
    from edge_app.screening.stated import NOTHING_STATED

    bundle = load_bundle(args.bundle)
    if args.site is not None:
        bundle = _of_site(bundle, args.site)
    for remark in bundle.remarks:
        print(f"pneumoscope: warning: {remark}", file=sys.stderr)
    screener = Screener(
        bundle, args.runtime, args.operating_point, args.threads, stated or NOTHING_STATED
    )
    for note in screener.runtime.notes:
        print(f"pneumoscope: {screener.runtime.name}: {note}", file=sys.stderr)
    return screener


def _of_site(bundle: "Bundle", site: Path) -> "Bundle":
    from edge_app.site.profile import apply_profile
    from edge_app.site.profile_folder import read_profile

    return apply_profile(bundle, read_profile(site).profile)


def positive(text: str) -> int:
    """A whole number of at least 1, as argparse wants its types."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be at least 1")
    return number


def default_threads() -> int:
    """The cores that this process may use, at most four: small networks gain nothing beyond."""
    return min(usable_cores(), _MOST_THREADS)
