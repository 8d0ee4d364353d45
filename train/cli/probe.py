"""`probe`: whether the score follows the file instead of the lungs."""

import argparse

from edge_app.errors import EXIT_OK
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
    text = "report whether the score follows the file instead of the lungs"
    parser = add_command(commands, "probe", run, text)
    add_checkpoint(parser)
    add_data(parser)
    add_outlines(parser)
    parser.add_argument(
        "--cut-offs",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="logits below which a picture is cleared and from which on it is called (refer_low "
        "and refer_high of the bundle): what drawn opacities are held against",
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Write `probe.json`, `lungs.json` and `probe.png`, print the tables."""
    from edge_app.files.codec import encode
    from train import lung_probe
    from train.checkpoint import read_checkpoint
    from train.devices import require_packages
    from train.probe import draw, in_words, probe
    from train.record import new_folder, write_json

    require_packages("keras", "matplotlib")
    checkpoints = [read_checkpoint(path) for path in options.checkpoint]
    validation, _ = held_out_by_all(checkpoints, samples_of(options))
    outlines = outlines_of(options)
    scorer = scorer_of(options, checkpoints)
    cut_offs = tuple(options.cut_offs) if options.cut_offs else None
    output = new_folder(options.output)
    on_lungs = lung_probe.probe_lungs(scorer, validation, outlines, cut_offs)
    write_json(encode(on_lungs), output / "lungs.json")
    print(lung_probe.in_words(on_lungs), flush=True)
    findings = probe(scorer, validation)
    write_json(encode(findings), output / "probe.json")
    draw(findings, output / "probe.png")
    print(in_words(findings))
    return EXIT_OK
