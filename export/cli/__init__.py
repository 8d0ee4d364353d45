"""Turn a checkpoint into a sealed model bundle.

python -m export bundle CHECKPOINT -o BUNDLE --data labels.csv --about ABOUT.toml
python -m export describe MODEL --data DATA --feed 0-1 --resize nearest
python -m export about ABOUT.toml
python -m export keygen NAME
python -m export sign BUNDLE --key NAME.key
python -m export pack BUNDLE -o FILE.pneumo
python -m export readme BUNDLE --report REPORT docs/formats.md
"""

# Each command is a module with `add_parser` and `run`; TensorFlow is imported in `run`, after
# what is cheap to check.

import argparse
import sys
from collections.abc import Sequence

from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_INTERRUPTED, PneumoscopeError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `edge_app.errors`)."""
    args = make_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except PneumoscopeError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """The command line's parser; `docs/cli.md` is made from it."""
    from export.cli import about, bundle, describe, keygen, pack, readme, sign

    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (bundle, describe, about, keygen, sign, pack, readme):
        command.add_parser(commands)
    return parser
