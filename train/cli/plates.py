"""`plates`: the worst located and the most wrong held-out pictures, to be looked at."""

import argparse

from edge_app.cli.model_options import positive
from edge_app.errors import EXIT_OK, ConfigError
from train.cli.options import (
    Commands,
    add_checkpoint,
    add_command,
    add_data,
    add_outlines,
    add_output,
    held_out_by_all,
    outlines_of,
    samples_of,
    scorer_of,
)


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "draw the worst located and the most wrong held-out pictures (they show patients)"
    parser = add_command(commands, "plates", run, text)
    add_checkpoint(parser)
    add_data(parser)
    add_outlines(parser)
    add_output(parser)
    parser.add_argument("--count", type=positive, default=32, help="pictures on a plate")


def run(options: argparse.Namespace) -> int:
    """Write `locations.png` of held-out pictures, one a site of the others, and `wrong.png`."""
    from train.checkpoint import read_checkpoint
    from train.devices import require_packages
    from train.plates import most_wrong, worst_locations
    from train.record import new_folder

    require_packages("keras")
    checkpoints = [read_checkpoint(path) for path in options.checkpoint]
    validation, _ = held_out_by_all(checkpoints, samples_of(options))
    outlines = outlines_of(options)
    scorer = scorer_of(options, checkpoints)
    if outlines is None or scorer.finder is None:
        raise ConfigError("plates of locations need --outlines and --locator")
    output = new_folder(options.output)
    known = [outlines.by_name[s.name] for s in validation if s.name in outlines.by_name]
    sites = {"held_out": known}
    for other in outlines.used("test"):
        if other.mask is not None:
            sites.setdefault(other.site, []).append(other)
    for site, outlined in sites.items():
        worst_locations(scorer.finder, outlined, options.count, output / f"locations_{site}.png")
    most_wrong(scorer, validation, options.count, output / "wrong.png")
    print(f"{output}: look at {', '.join(sorted(path.name for path in output.iterdir()))}")
    return EXIT_OK
