"""`python -m train`: from labelled radiographs to a network, and what it can be trusted with.

python -m train audit DATA -o FOLDER              what gives the labels away?
python -m train fit CONFIG --data DATA -o RUN     train, or go on
python -m train kfold CONFIG --data DATA -o RUNS  every fold, pooled
python -m train evaluate RUN --data DATA          AUROC, operating point, skew
python -m train probe RUN --data DATA             does the score follow the file?
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from edge_app.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, PneumoscopeError
from train.devices import prepare_environment
from train.samples import ClassNames, Sample, patients_are_unknown, read_samples


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    prepare_environment()
    try:
        options.run(options)
    except (PneumoscopeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", EXIT_USAGE)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last saved step", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_describe(commands)
    _add_audit(commands)
    _add_fit(commands)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="a CSV, or a folder of classes")
    _class_options(parser)


def _class_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--larger", type=Path, help="the same class folders with larger copies")
    names = ClassNames()
    parser.add_argument("--positive", default=names.positive, help="class of the sick")
    parser.add_argument("--negative", default=names.negative, help="class of the healthy")


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, help="where decoded pictures are kept")
    parser.add_argument("--workers", type=int, default=2, help="threads that prepare batches")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="a finished run to distil from; several are averaged",
    )


def _samples(options: argparse.Namespace) -> list[Sample]:
    classes = ClassNames(options.positive, options.negative)
    samples = read_samples(options.data, options.larger, classes)
    if patients_are_unknown(samples):
        print(
            "note: file names tell no patients, so each picture counts as one; a CSV with "
            "patient_id keeps the pictures of a patient together",
            file=sys.stderr,
        )
    return samples


def _add_describe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "say how large a configuration's network is, without training it"
    parser = _command(commands, "describe", _describe, text)
    parser.add_argument("config", nargs="+", help="a TOML file, or a name in train/configs")


def _describe(options: argparse.Namespace) -> None:
    from train.config import load_config

    configs = [load_config(name) for name in options.config]
    from train.network import multiply_adds
    from train.trainer import build

    for config in configs:
        network = build(config)
        print(
            f"{config.name}: input {config.family.width}x{config.family.height}, "
            f"{multiply_adds(network) / 1e6:.1f} million multiply-adds, "
            f"{network.count_params() / 1e6:.2f} million parameters"
        )


def _add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "report what tells the classes apart without a look at the lungs, and what stands twice"
    parser = _command(commands, "audit", _audit, text)
    parser.add_argument("data", type=Path, help="a CSV, or a folder of classes")
    _class_options(parser)
    parser.add_argument("--config", help="audit this configuration's split instead of the given")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a new folder")


def _audit(options: argparse.Namespace) -> None:
    from edge_app.codec import encode
    from train.audit import audit, in_words, write_labels
    from train.config import load_config
    from train.record import new_folder, write_json
    from train.splits import given_parts, make_split

    config = load_config(options.config) if options.config else None
    samples = _samples(options)
    if config is None:
        parts = given_parts(samples)
    else:
        split = make_split(samples, config.split, config.seed)
        parts = {"train": split.train, "validation": split.validation}
    output = new_folder(options.output)
    findings, group_of = audit(samples, parts)
    write_json(encode(findings), output / "audit.json")
    write_labels(samples, group_of, output / "labels.csv")
    print(in_words(findings))


def _add_fit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "train, or go on with an interrupted run"
    parser = _command(commands, "fit", _fit, text)
    parser.add_argument("config", help="a TOML file, or a name in train/configs")
    _data_options(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the run's folder")
    _run_options(parser)


def _fit(options: argparse.Namespace) -> None:
    from train.checkpoint import read_checkpoint
    from train.config import load_config
    from train.plan import execute, plan_run

    config = load_config(options.config)
    teachers = [read_checkpoint(path) for path in options.teacher]
    plan = plan_run(config, _samples(options), options.output, teachers)
    record = execute(plan, options.cache, options.workers)
    print(f"{options.output}: {_in_words(record['best'])}")


def _in_words(best: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in best.items())


if __name__ == "__main__":
    sys.exit(main())
