"""`describe`: how large a configuration's network is, before any time is spent on it."""

import argparse

from edge_app.errors import EXIT_OK
from train.cli.options import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "say how large a configuration's network is, without training it"
    parser = add_command(commands, "describe", run, text)
    parser.add_argument("config", nargs="+", help="TOML files, or names in train/configs")
    text = "its layers in a table: output, parameters, multiply-adds"
    parser.add_argument("--layers", action="store_true", help=text)


def run(options: argparse.Namespace) -> int:
    """Print a line a configuration, and its layers where they are asked for."""
    from train.config import load_config

    configs = [load_config(name) for name in options.config]
    from train.network import describe_layers, multiply_adds
    from train.trainer import build

    for config in configs:
        network = build(config)
        print(
            f"{config.name}: input {config.family.width}x{config.family.height}, "
            f"{multiply_adds(network) / 1e6:.1f} million multiply-adds, "
            f"{network.count_params() / 1e6:.2f} million parameters"
        )
        for line in describe_layers(network) if options.layers else ():
            print(line)
    return EXIT_OK
