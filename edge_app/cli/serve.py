"""`pneumoscope serve`: the clinic's workstation in a browser."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import RUNTIME_NAMES, positive
from edge_app.cli.population_options import add_population_options, stated_of
from edge_app.cli.record_options import add_record_options, record_location

if TYPE_CHECKING:
    from edge_app.web.server import Opened

_MEGA = 1_000_000


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "serve",
        help="the clinic's workstation in a browser",
        description="Serve pages to add pictures, a worklist with the most urgent first, one page "
        "a study, a slip to print, and an API. By default this machine alone reaches it. With "
        "--host 0.0.0.0 phones on the same network do: then people log in and the line is "
        "encrypted. Needs: pip install 'pneumoscope[web]'.",
    )
    add_record_options(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s"
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="another name by which this machine is reached; may be repeated",
    )
    parser.add_argument(
        "--read-first",
        action="store_true",
        help="the machine's answer is shown once the worker has saved a reading of their own",
    )
    parser.add_argument(
        "--webhook",
        action="append",
        default=[],
        metavar="URL",
        help="told of changes: http://ADDRESS:PORT/PATH on this machine or its network; may be "
        "repeated",
    )
    parser.add_argument(
        "--keep-days",
        type=positive,
        metavar="DAYS",
        help="each day, delete studies that are older and were exported as they stand, as "
        "`record retain` does; not while the clock is not to be trusted (default: keep all)",
    )
    parser.add_argument(
        "--most-megabytes",
        type=positive,
        default=100,
        metavar="MB",
        help="of one picture (default: %(default)s)",
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="model bundle (default: the one that ships)"
    )
    parser.add_argument("--runtime", choices=RUNTIME_NAMES, help="inference runtime")
    parser.add_argument(
        "--operating-point", metavar="NAME", help="cut-offs (default: the bundle's default)"
    )
    parser.add_argument(
        "--site", type=Path, metavar="SITE", help="a site's own cut-offs, as `calibrate` wrote them"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes that score, about 100 MB each (default: %(default)s)",
    )
    add_population_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    require_web()
    from edge_app.files.whole import owner_only
    from edge_app.web.scoring_desk import DeskOptions
    from edge_app.web.server import ServeOptions, serve
    from edge_app.web.webhooks import parse_webhook

    options = ServeOptions(
        record=record_location(args),
        folder=args.folder,
        host=args.host,
        port=args.port,
        names=tuple(args.name),
        most_bytes=args.most_megabytes * _MEGA,
        read_first=args.read_first,
        webhooks=tuple(map(parse_webhook, args.webhook)),
        keep_days=args.keep_days,
        desk=DeskOptions(
            args.bundle,
            args.runtime,
            args.operating_point,
            args.site,
            args.workers,
            stated=stated_of(args),
        ),
    )
    with owner_only(True):
        serve(options, _tell)
    return 0


def require_web() -> None:
    """Raise RuntimeUnavailableError, which names the extra, where a package is missing."""
    from importlib.util import find_spec

    from edge_app.errors import RuntimeUnavailableError

    needed = ("fastapi", "uvicorn", "jinja2", "multipart", "segno", "sqlalchemy", "argon2")
    if any(find_spec(name) is None for name in needed):
        raise RuntimeUnavailableError("serve needs packages: pip install 'pneumoscope[web]'")


def _tell(opened: "Opened") -> None:
    import sys

    from edge_app.cli.streams import say

    for address in opened.addresses:
        say(f"Pneumoscope: {address}", sys.stdout)
    if opened.fingerprint is not None:
        say(_qr(opened.addresses[0]), sys.stdout)
        say(f"certificate, SHA-256: {opened.fingerprint}", sys.stdout)
    if opened.first_code is not None:
        say(f"first start: open {opened.addresses[0]}first with the code", sys.stdout)
        say(f"    {opened.first_code}", sys.stdout)
    say("Ctrl-C stops", sys.stdout)


def _qr(text: str) -> str:
    import io

    import segno

    stream = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(stream, compact=True)
    return stream.getvalue()
