"""`pneumoscope drift RESULTS... --baseline SITE`: do the films still look as they did?"""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.site_options import require_page_name
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "drift",
        help="watch whether a site's films change",
        description="Hold scores, refusals, quality flags and the lungs' outlines of later runs "
        "against those of a site's calibration, by week and by device, without any truth, and say "
        "when to call for help. It sees that films differ, not whether answers are right.",
    )
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULTS",
        help="folders of runs, or their results.jsonl",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        required=True,
        metavar="SITE",
        help="site profile, as `calibrate` wrote it",
    )
    parser.add_argument(
        "--devices",
        type=Path,
        metavar="FILE.csv",
        help="columns file and device: which device took which file (default: its folder)",
    )
    parser.add_argument(
        "-o", "--page", type=Path, metavar="PAGE.html", help="write a page to print"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print, and write the page."""
    from edge_app.files.codec import canonical_json
    from edge_app.files.whole import write_whole
    from edge_app.site.cases import read_run
    from edge_app.site.drift import read_devices, watch_drift
    from edge_app.site.drift_page import describe, drift_page
    from edge_app.site.profile_folder import read_profile

    if args.page is not None:
        require_page_name(args.page)
    profile = read_profile(args.baseline).profile
    devices = None if args.devices is None else read_devices(args.devices)
    drift = watch_drift([read_run(path) for path in args.results], profile, devices)
    if args.page is not None:
        write_whole(args.page, drift_page(drift))
    print(canonical_json(drift).decode("utf-8") if args.json else one_line_each(describe(drift)))
    if args.page is not None and not args.json:
        print(f"Page: {one_line(str(args.page))}")
    return EXIT_OK


def one_line_each(text: str) -> str:
    """Lines for a terminal: a folder's name may hold what moves the cursor."""
    return "\n".join(map(one_line, text.splitlines()))
