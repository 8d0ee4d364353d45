"""Options of the commands that read labelled pictures: what the data calls its classes."""

import argparse

from edge_app.images.labelled_pictures import FIELDS, Labelling


def add_labelling_options(parser: argparse._ActionsContainer) -> None:
    """Add --positive, --negative, --leave-out and --column."""
    default = Labelling()
    for name, names, text in (
        ("positive", default.positive, "class of the sick"),
        ("negative", default.negative, "class of the healthy"),
    ):
        text = f"{text} (default: {' '.join(names)}); repeatable"
        parser.add_argument(f"--{name}", action="append", metavar="CLASS", help=text)
    text = "class that is neither: its pictures are not read; repeatable"
    parser.add_argument("--leave-out", action="append", default=[], metavar="CLASS", help=text)
    text = f"what a CSV calls a column, of {', '.join(FIELDS)}; repeatable"
    parser.add_argument(
        "--column", action="append", type=_column, default=[], metavar="FIELD=NAME", help=text
    )


def labelling_of(options: argparse.Namespace) -> Labelling:
    """What the options say.

    Raises:
        DataError: a class is given twice.
    """
    default = Labelling()
    return Labelling(
        positive=tuple(options.positive or default.positive),
        negative=tuple(options.negative or default.negative),
        left_out=tuple(options.leave_out),
        columns=dict(options.column),
    )


def _column(text: str) -> tuple[str, str]:
    """`label=class`, as argparse wants its types."""
    field, equals, name = text.partition("=")
    if not equals or not name or field not in FIELDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=NAME, FIELD of {','.join(FIELDS)}")
    return field, name
