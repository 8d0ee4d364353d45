"""`python -m train`: train a network from labelled radiographs.

    python -m train fit CONFIG --data labels.csv -o RUN
"""

import argparse
import os
import sys
from pathlib import Path

from edge_app.errors import EXIT_INTERRUPTED, EXIT_USAGE, PneumoscopeError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("fit", help="train, or go on with an interrupted run")
    fit.add_argument("config", help="a TOML file, or a name in train/configs")
    fit.add_argument("--data", type=Path, required=True, help="a CSV, or a folder of class folders")
    fit.add_argument("--larger", type=Path, help="the same class folders with larger copies")
    fit.add_argument("-o", "--output", type=Path, required=True, help="the run's folder")
    fit.add_argument("--cache", type=Path, help="where decoded pictures are kept")
    fit.add_argument("--workers", type=int, default=2, help="threads that prepare batches")
    options = parser.parse_args(arguments)
    try:
        return _fit(options)
    except (PneumoscopeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", EXIT_USAGE)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last saved step", file=sys.stderr)
        return EXIT_INTERRUPTED


def _fit(options: argparse.Namespace) -> int:
    # Cheap checks come before Keras is imported: a wrong key costs no time.
    from train.cache import open_cache
    from train.config import load_config
    from train.samples import check_disjoint, read_samples, split_by_image, split_by_patient

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    config = load_config(options.config)
    samples = read_samples(options.data, options.larger)
    if config.split.unit == "patient":
        split = split_by_patient(samples, config.split.folds, config.split.fold, config.seed)
        check_disjoint(split)
    else:
        split = split_by_image(samples, 1 / config.split.folds, config.seed)
    paths = [path for s in samples for path in (s.path, s.larger) if path is not None]
    cache = open_cache(paths, options.cache or options.output / "cache")
    from train.run import fit

    record = fit(config, split, cache, options.output, workers=options.workers)
    print(f"{options.output / 'model.keras'}: {record['best']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
