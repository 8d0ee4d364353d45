"""`average`: one picture of many films, which may be shown where no patient's may."""

import argparse
from pathlib import Path

from edge_app.cli.model_options import positive
from edge_app.errors import EXIT_OK
from train.cli.options import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "lay films of one class over one another by their lungs, and write the average"
    parser = add_command(commands, "average", run, text)
    parser.add_argument("outlines", type=Path, help="the CSV that `outlines` writes")
    parser.add_argument("--root", type=Path, help="its files stand below this (the CSV's folder)")
    under = "only films whose name begins so: a class's folder"
    parser.add_argument("--under", required=True, metavar="FOLDER", help=under)
    parser.add_argument("--films", type=positive, default=30, help="how many, the most alike")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .jpg or .png")


def run(options: argparse.Namespace) -> int:
    """Write the picture, and say what it is made of."""
    from train.average_film import average_film
    from train.outlines import read_outlines

    outlines = read_outlines(options.outlines, options.root).by_name
    under = f"{options.under.rstrip('/')}/"
    chosen = [outlines[name] for name in sorted(outlines) if name.startswith(under)]
    picture, names = average_film(chosen, options.films)
    picture.save(options.output, quality=92)
    print(f"{options.output}: the average of {len(names)} films of {len(chosen)} outlined")
    return EXIT_OK
