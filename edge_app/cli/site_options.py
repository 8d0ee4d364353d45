"""Options of the commands that measure a run on films whose truth is known."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import UsageError

if TYPE_CHECKING:
    from edge_app.site.cases import Cases


def add_truth_options(parser: argparse.ArgumentParser) -> None:
    """Add what `evaluate` and `calibrate` have in common."""
    from edge_app.cli.labelling_options import add_labelling_options

    parser.add_argument(
        "--ignore-unknown",
        action="store_true",
        help="pass over lines of the CSV whose files have no row",
    )
    parser.add_argument(
        "--prevalence",
        type=share,
        metavar="P",
        help="share of the sick where the answers will be used, for PPV, NPV and referrals "
        "(default: that of these films)",
    )
    add_labelling_options(parser.add_argument_group("what the CSV calls things"))


def read_cases(args: argparse.Namespace, truth: Path) -> "Cases":
    """The films of a run whose truth is known, as the options say."""
    from edge_app.cli.labelling_options import labelling_of
    from edge_app.site import cases

    return cases.read_cases(
        args.results, truth, labelling_of(args), ignore_unknown=args.ignore_unknown
    )


def share(text: str) -> float:
    """A number strictly between 0 and 1, as argparse wants its types."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 1")
    return number


def require_page_name(path: Path) -> None:
    """Raise UsageError for a page that would not open as one."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path}: the page is HTML, so its name must end in .html")
