"""`pneumoscope explain FILE`: one offline page about one picture's answer."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_app.cli.model_options import add_model_options, open_screener
from edge_app.cli.streams import one_line, say
from edge_app.errors import EXIT_NO_INPUT, EXIT_OK, EXIT_SOME_FAILED, UsageError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explain",
        help="one page about one picture's answer",
        description="Write one page that opens offline: the picture with its window and level, the "
        "lungs as they were found, the heat, the score among the cut-offs, each flag with its "
        "sentence. The page holds the patient's picture: treat it as such.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a picture")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="PAGE.html",
        help="default: FILE's name with -explained.html, in the current folder",
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument(
        "--shared",
        action="store_true",
        help="let others on this machine read the page (default: its owner only)",
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the picture and write its page."""
    import os

    from edge_app.decision import Status
    from edge_app.files.whole import owner_only, require_writable, write_whole
    from edge_app.report.explanation import explanation_page
    from edge_app.results.rows import printable
    from edge_app.screening.score_file import score_unknown_file

    if os.path.isdir(args.file):
        raise UsageError(f"{args.file} is a folder: explain takes one picture")
    out: Path = args.out or Path(f"{args.file.stem or 'picture'}-explained.html")
    if os.path.realpath(out) == os.path.realpath(args.file):
        raise UsageError(f"{out}: is the picture itself, which is not overwritten")
    require_writable(out)
    screener = open_screener(args)
    name = printable(str(args.file))
    scored = score_unknown_file(screener, args.file, name, known=frozenset())
    assert scored is not None
    if scored.row.status is Status.FAILED or scored.radiograph is None or scored.result is None:
        message = scored.row.message or str(scored.row.reason)
        say(f"pneumoscope: {one_line(message)}; no page was written", sys.stderr)
        return EXIT_SOME_FAILED if os.path.lexists(args.file) else EXIT_NO_INPUT
    result = screener.with_heatmap(scored.radiograph, scored.result)
    with owner_only(not args.shared):
        write_whole(out, explanation_page(name, scored.radiograph, result, screener))
    say(str(out), sys.stdout)
    if args.open:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())
    return EXIT_OK
