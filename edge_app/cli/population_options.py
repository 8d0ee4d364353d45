"""Options that say of whom the pictures are: the population gate's side of a command line."""

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_app.screening.stated import Stated

_VIEW = re.compile(r"[A-Za-z]{2,16}")


def add_population_options(parser: argparse.ArgumentParser) -> None:
    """Add --age, --view and --accept-outside-population."""
    group = parser.add_argument_group("of whom the pictures are, where no header says it")
    group.add_argument("--age", type=age, metavar="AGE", help="of all patients: 14m, 3y, 90d")
    group.add_argument("--view", type=view, metavar="VIEW", help="of all films: AP, PA")
    group.add_argument(
        "--accept-outside-population",
        action="store_true",
        help="score patients and views that the model was not validated on; each answer says so",
    )


def stated_of(args: argparse.Namespace) -> "Stated":
    """What the options state."""
    from edge_app.screening.stated import Stated

    return Stated(args.age, args.view or "", args.accept_outside_population)


def age(text: str) -> float:
    """Years of an age as DICOM or people write it, as argparse wants its types."""
    from edge_app.images.dicom_facts import parse_age

    years = parse_age(text)
    if years is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age such as 14m, 3y, 90d or 018M")
    return years


def view(text: str) -> str:
    """A view's name in capitals, as argparse wants its types."""
    if not _VIEW.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no view such as AP or PA")
    return text.upper()
