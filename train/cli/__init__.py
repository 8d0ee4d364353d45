"""From labelled radiographs to a network, and what it can be trusted with.

python -m train audit DATA -o FOLDER              what gives the labels away?
python -m train outlines DATA -o CSV              where people drew the lungs, as one list
python -m train fit CONFIG --data DATA -o RUN     train, or go on
python -m train kfold CONFIG --data DATA -o RUNS  every fold, pooled
python -m train carry RUNS --data DATA -o FOLDER     each at the others' threshold
python -m train search CONFIG --data DATA -o RUNS --sizes 96 128 160
python -m train evaluate RUN --data DATA -o FOLDER   AUROC, operating point, skew
python -m train predict RUN IMAGE...                 what it says of single pictures
python -m train probe RUN --data DATA -o FOLDER      does the score follow the lungs, or the file?
python -m train plates RUN --data DATA -o FOLDER     the worst pictures, to be looked at
"""

# Each command is a module with `add_parser` and `run`; what needs Keras is imported in `run`,
# after what is cheap to check.

import argparse
import csv
import sys
from collections.abc import Sequence

from edge_app.cli.streams import one_line
from edge_app.errors import (
    EXIT_BUNDLE,
    EXIT_INTERRUPTED,
    EXIT_STORAGE,
    EXIT_USAGE,
    PneumoscopeError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `edge_app.errors`)."""
    from train.devices import prepare_environment

    options = make_parser().parse_args(argv)
    prepare_environment()
    try:
        code: int = options.run(options)
        return code
    except (PneumoscopeError, csv.Error) as error:
        # Keras's messages have many lines; the reader of a log wants one.
        print("error:", one_line(" ".join(str(error).splitlines())), file=sys.stderr)
        return getattr(error, "exit_code", EXIT_USAGE)
    except ImportError as error:
        print(f"error: {error}; pip install 'pneumoscope[train]'", file=sys.stderr)
        return EXIT_BUNDLE
    except OSError as error:
        # A folder where a file is meant, or a file where a folder is, is a slip of the pen.
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        wrong_kind = isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError)
        return EXIT_USAGE if wrong_kind else EXIT_STORAGE
    except KeyboardInterrupt:
        trains = options.command in ("fit", "kfold", "search")
        how = "goes on from the last saved step" if trains else "begins again"
        print(f"interrupted; the same command {how}", file=sys.stderr)
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The command line's parser; `docs/cli.md` is made from it."""
    from train.cli import (
        audit,
        carry,
        compare,
        describe,
        evaluate,
        fit,
        heatmaps,
        kfold,
        outlines,
        plates,
        predict,
        probe,
        search,
    )

    parser = argparse.ArgumentParser(
        prog="python -m train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    commands_in_order = (
        audit, outlines, describe, fit, kfold, carry, search, compare, evaluate, predict, probe,
        plates, heatmaps,
    )  # fmt: skip
    for command in commands_in_order:
        command.add_parser(commands)
    return parser
