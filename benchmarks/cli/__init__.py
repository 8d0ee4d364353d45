"""What should I run here, how good is it, how fast, and against what?

Figures go to results.json in the output folder (-o), with machine, versions and raw samples; plots
and report.html lie beside it. Ctrl-C keeps what is done, and says what that is.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_INTERRUPTED, PneumoscopeError

_RESUME = "--resume"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `edge_app.errors`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(arguments)
    again = [argument for argument in arguments if argument != _RESUME]
    args.again = f"python -m benchmarks {shlex.join(again)}"
    try:
        code: int = args.run(args)
        return code
    except PneumoscopeError as error:
        print(f"benchmarks: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        # A command that records says what it leaves; the others write nothing before their end.
        left = str(error) or "nothing was written"
        print(f"benchmarks: interrupted; {left}", file=sys.stderr)
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The command line's parser; `docs/cli.md` is made from it."""
    from benchmarks.cli import (
        accuracy,
        article,
        check,
        compare,
        fleet,
        forms,
        gate,
        latency,
        readme,
        report,
        scale,
        sites,
        startup,
        throughput,
    )

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (
        *(accuracy, latency, throughput, compare, scale),
        *(startup, article, sites, gate, forms, fleet, report, check, readme),
    ):
        command.add_parser(commands)
    return parser
