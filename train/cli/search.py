"""`search`: train a configuration at several sizes, and draw AUROC against multiply-adds."""

import argparse

from edge_app.errors import EXIT_OK
from train.cli.options import (
    Commands,
    add_command,
    add_config,
    add_data,
    add_output,
    add_training,
    samples_of,
)


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "train a configuration at several sizes, and draw AUROC against multiply-adds"
    parser = add_command(commands, "search", run, text)
    add_config(parser)
    add_data(parser)
    add_output(parser, "folder of the runs; an interrupted search goes on")
    add_training(parser)
    parser.add_argument("--sizes", type=int, nargs="+", default=[], help="input sides in pixels")
    parser.add_argument("--widths", type=float, nargs="+", default=[], help="width multipliers")
    parser.add_argument("--depths", type=float, nargs="+", default=[], help="depth multipliers")
    parser.add_argument("--stages", type=int, nargs="+", default=[], help="numbers of stages")
    parser.add_argument(
        "--budget", type=float, help="leave out what needs more million multiply-adds than this"
    )


def run(options: argparse.Namespace) -> int:
    """Check every variant, train those within the budget, compare them."""
    from train.checkpoint import read_checkpoint
    from train.config import ConfigError, load_config
    from train.devices import require_packages
    from train.plan import execute, plan_run
    from train.search import Sizes, compare, draw, in_words, variants

    sizes = Sizes(
        tuple(options.sizes), tuple(options.widths), tuple(options.depths), tuple(options.stages)
    )
    configs = variants(load_config(options.config), sizes)
    samples = samples_of(options)
    teachers = [read_checkpoint(path) for path in options.teacher]
    require_packages("keras", "matplotlib")
    if options.budget is not None:
        from train.network import multiply_adds
        from train.trainer import build

        configs = [c for c in configs if multiply_adds(build(c)) <= options.budget * 1e6]
    if not configs:
        raise ConfigError(f"no variant needs {options.budget} million multiply-adds or fewer")
    plans = [plan_run(c, samples, options.output / c.name, teachers) for c in configs]
    for plan in plans:
        print(plan.config.name, flush=True)
        execute(plan, options.cache or options.output / "cache", options.workers)
    entries = compare([plan.folder for plan in plans])
    draw(entries, options.output / "curve.png")
    print(in_words(entries))
    return EXIT_OK
