"""The command `pneumoscope`: arguments in, exit code out.

Each command is a module with `add_parser` and `run`; what a command needs is imported when it
runs, so that `--version` and `--help` load neither numpy nor a runtime.
"""

import sys

from edge_app.version import __version__

# As in `edge_app`: importing typing would double the time that `--version` takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command line; returns the exit code (see `edge_app.errors`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        # Before argparse, whose import takes as long as all the rest of this.
        print(f"pneumoscope {__version__}")
        return 0
    return _run(arguments)


def _run(arguments: list[str]) -> int:
    from edge_app.cli.streams import mute, one_line, say
    from edge_app.errors import EXIT_INTERRUPTED, EXIT_OK, PneumoscopeError

    _tame_streams()
    args = make_parser().parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except PneumoscopeError as error:
        say(f"pneumoscope: {one_line(str(error))}", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        say("pneumoscope: interrupted", sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Of a command that only prints; those that write results outlive their readers.
        mute(sys.stdout)
        return EXIT_OK


def make_parser() -> "argparse.ArgumentParser":
    """The command line's parser; `docs/cli.md` is made from it."""
    import argparse

    from edge_app.cli import (
        account,
        audit,
        batch,
        calibrate,
        convert,
        deidentify,
        doctor,
        drift,
        evaluate,
        examples,
        explain,
        fleet,
        info,
        model,
        query,
        receive,
        record,
        report,
        rescore,
        retrieve,
        score,
        serve,
        validate,
        watch,
        worklist,
    )

    parser = argparse.ArgumentParser(
        prog="pneumoscope",
        description="Screen chest X-rays for signs of pneumonia, offline. A screening aid: it "
        "never replaces a reader, and a clear answer does not rule pneumonia out.",
        epilog="Exit codes: 0 all answered, 1 some files failed, 2 usage, 3 the bundle or a "
        "runtime is unusable, 4 no input, 5 storage, 130 interrupted.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"pneumoscope {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (
        score,
        batch,
        watch,
        worklist,
        receive,
        query,
        retrieve,
        deidentify,
        serve,
        explain,
        report,
        info,
        validate,
        convert,
        rescore,
        evaluate,
        calibrate,
        drift,
        fleet,
        examples,
        model,
        record,
        audit,
        account,
        doctor,
    ):
        command.add_parser(commands)
    return parser


def _tame_streams() -> None:
    """File names that are not UTF-8 are printed escaped; decoders' warnings are not printed."""
    import io
    import warnings

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
