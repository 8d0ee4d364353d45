"""`python -m benchmarks`: which format should I run here, how good, how fast, against what?

python -m benchmarks accuracy --data FOLDER|CSV     every format on labelled pictures
python -m benchmarks latency                        one inference: every format and runtime
python -m benchmarks throughput FOLDER              files to results, beside other people's loops
python -m benchmarks compare [--data FOLDER|CSV]    both together, and what to run here
python -m benchmarks scale FOLDER                   where the cost stops being linear
python -m benchmarks startup                        commands from cold
python -m benchmarks article                        the article's network beside ours
python -m benchmarks report A.json [B.json ...]     tables and report.html; machines side by side
python -m benchmarks check                          what became worse than the landed state
python -m benchmarks readme [--check]               the documents' tables from results.json

Figures go to results.json in the output folder (-o), with machine, versions and raw samples; plots
and report.html lie beside it. Ctrl-C keeps what is done, and says what that is.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import commands
from benchmarks.processes import WorkerError
from benchmarks.scale import FILES, MEGAPIXELS
from edge_app.cli.labelling_options import add_labelling_options
from edge_app.cli.model_options import positive
from edge_app.errors import EXIT_BUNDLE, EXIT_INTERRUPTED, PneumoscopeError

OUT = Path("out/benchmarks")
_RESUME = "--resume"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    again = [argument for argument in arguments if argument != _RESUME]
    options.again = f"python -m benchmarks {shlex.join(again)}"
    try:
        code: int = options.run(options)
        return code
    except PneumoscopeError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    except WorkerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return EXIT_BUNDLE
    except KeyboardInterrupt as error:
        # A command that records says what it leaves; the others write nothing before their end.
        left = str(error) or "nothing was written"
        print(f"benchmarks: interrupted; {left}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_accuracy(found)
    _add_latency(found)
    _add_throughput(found)
    _add_compare(found)
    _add_scale(found)
    _add_startup(found)
    _add_article(found)
    _add_report(found)
    _add_check(found)
    _add_readme(found)
    return parser


def _command(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = found.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_accuracy(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        found, "accuracy", commands.accuracy, "every format and operating point, with intervals"
    )
    _measuring_options(parser)
    _candidate_options(parser)
    _data_options(parser, required=True)


def _add_latency(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        found, "latency", commands.latency, "one inference: load, first, percentiles, memory"
    )
    _measuring_options(parser)
    _candidate_options(parser)
    _effort_options(parser)


def _add_throughput(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        found, "throughput", commands.throughput, "a folder of files to results, beside peers"
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    _measuring_options(parser)
    _python_option(parser)
    parser.add_argument("--pictures", type=positive, default=100, help="(default: %(default)s)")
    parser.add_argument(
        "--files",
        type=positive,
        default=2000,
        help="names under which ours gets the pictures (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=positive, default=7, help="(default: %(default)s)")
    _workers_option(parser)
    parser.add_argument(
        "--peers",
        type=_names,
        default=commands.PEERS,
        metavar="NAME,...",
        help=f"(default: {','.join(commands.PEERS)})",
    )
    parser.add_argument("--checkpoint", type=Path, help="the Keras loop's .keras file")
    _resume_option(parser)


def _add_compare(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        found, "compare", commands.compare, "which format here: measures what results.json lacks"
    )
    _measuring_options(parser)
    _candidate_options(parser)
    _effort_options(parser)
    _data_options(parser, required=False)
    parser.add_argument("--fresh", action="store_true", help="measure all of it again")
    parser.add_argument(
        "--no-recommendation",
        action="store_true",
        help="do not write what `pneumoscope info --recommend` reads",
    )


def _add_scale(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(found, "scale", commands.scale, "how time and memory grow")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    _measuring_options(parser)
    parser.add_argument(
        "--most-files",
        type=_most_files,
        default=10_000,
        metavar="N",
        help=f"up to {FILES[-1]} (default: %(default)s)",
    )
    parser.add_argument(
        "--most-megapixels",
        type=_most_megapixels,
        default=MEGAPIXELS[-1],
        metavar="MP",
        help=f"up to {MEGAPIXELS[-1]:g} (default: %(default)s)",
    )
    _resume_option(parser)
    _workers_option(parser)


def _add_startup(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(found, "startup", commands.startup, "commands from cold: wall and memory")
    _measuring_options(parser)
    parser.add_argument("--file", type=Path, help="picture to score (default: a drawn phantom)")
    parser.add_argument("--runs", type=positive, default=20, help="(default: %(default)s)")
    _resume_option(parser)


def _add_article(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        found, "article", commands.article, "the article's network, image-wise and patient-wise"
    )
    _measuring_options(parser)
    parser.add_argument(
        "records", nargs="*", type=Path, help="folders of training runs (default: train/records)"
    )
    parser.add_argument("--train", type=Path, metavar="DATA", help="train the two networks first")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where --train puts them")


def _add_report(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(found, "report", commands.report, "tables and report.html from results.json")
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS.json")
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="(default: %(default)s)")


def _add_check(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        found, "check", commands.check, "ratios against the landed state; exit 1 where one is worse"
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="real files (default: the short form, on phantoms)",
    )
    parser.add_argument("--bundle", type=Path, help="(default: the one that ships)")
    _python_option(parser)
    parser.add_argument("--report-only", action="store_true", help="exit 0 in any case")
    parser.add_argument("--write", action="store_true", help="make this the landed state")


def _add_readme(found: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(found, "readme", commands.readme, "fill in the documents' tables")
    parser.add_argument("--check", action="store_true", help="only say which are stale (exit 1)")


def _measuring_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="(default: the one that ships)"
    )
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="(default: %(default)s)")


def _candidate_options(parser: argparse.ArgumentParser) -> None:
    _python_option(parser)
    parser.add_argument(
        "--runtime", action="append", metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument(
        "--model",
        action="append",
        nargs=2,
        type=Path,
        default=[],
        metavar=("FILE", "DESCRIPTION"),
        help="another .tflite or .onnx and its description (docs/benchmarks.md); repeatable",
    )


def _python_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="RUNTIME=PATH",
        help="interpreter of another environment, as tflite-runtime needs one; repeatable",
    )


def _effort_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_numbers, metavar="N,...", help="(default: 1 and all cores)"
    )
    parser.add_argument("--runs", type=positive, default=1024, help="(default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="at most (default: %(default)s)"
    )


def _data_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--data", type=Path, required=required, metavar="FOLDER|CSV")
    parser.add_argument("--root", type=Path, help="folder that the CSV's file names start from")
    parser.add_argument("--split", default="", help="only this split of data that is divided")
    add_labelling_options(parser)
    parser.add_argument("--name", help="what the tables call the data (default: its file name)")


def _workers_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=_numbers, metavar="N,...", help="(default: 1 to all cores)"
    )


def _resume_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        _RESUME,
        action="store_true",
        help="take over what the same command has measured of this model with these packages",
    )


def _most_files(text: str) -> int:
    return int(_within(positive(text), 1, FILES[-1]))


def _most_megapixels(text: str) -> float:
    return _within(float(text), MEGAPIXELS[0], MEGAPIXELS[-1])


def _within(number: float, least: float, most: float) -> float:
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{number:g} must be from {least:g} to {most:g}")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(part) for part in text.split(",")}))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


if __name__ == "__main__":
    sys.exit(main())
