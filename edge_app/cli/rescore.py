"""`pneumoscope rescore OUT -o OUT2`: stored scores against other cut-offs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.run_options import formats
from edge_app.cli.site_options import share
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK

if TYPE_CHECKING:
    from edge_app.runs.rescore import Rescore


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "rescore",
        help="read a run's scores against other cut-offs",
        description="Write a new run OUT2 from the stored scores of OUT with other cut-offs; no "
        "picture is decoded. What was refused stays refused. Pictures of the report that OUT did "
        "not keep are missing there.",
    )
    parser.add_argument("run_folder", type=Path, metavar="OUT", help="folder of a run")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT2")
    decides = parser.add_mutually_exclusive_group(required=True)
    decides.add_argument("--operating-point", metavar="NAME", help="one of the bundle's")
    decides.add_argument(
        "--cut-offs",
        type=cut_offs,
        metavar="A,B",
        help="probabilities: no pneumonia seen below A, suspected from B on",
    )
    decides.add_argument("--site", type=Path, metavar="SITE", help="a site profile")
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="that scored (default: the one that ships)"
    )
    parser.add_argument(
        "--format",
        type=formats,
        default=("jsonl", "csv", "html"),
        metavar="LIST",
        help="what to write, of jsonl,csv,html (default: all; jsonl is always written)",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="let others on this machine read OUT2, as the umask says (default: its owner only)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the new run and say which answers changed."""
    from edge_app.files.whole import owner_only
    from edge_app.runs.rescore import RescorePlan, rescore

    plan = RescorePlan(
        source=args.run_folder,
        out=args.out,
        bundle=args.bundle,
        operating_point=args.operating_point,
        cut_offs=args.cut_offs,
        site=args.site,
        formats=args.format,
    )
    with owner_only(not args.shared):
        done = rescore(plan)
    print(_describe(done))
    print(f"Results: {one_line(str(args.out))}")
    return EXIT_OK


def _describe(done: "Rescore") -> str:
    lines = [f"{done.rows} files at {done.point.name}: {done.changed} have another answer"]
    for (before, now), n in sorted(done.changes.items()):
        if before is not now:
            lines.append(f"  {before} -> {now}: {n}")
    return "\n".join(lines)


def cut_offs(text: str) -> tuple[float, float]:
    """`0.2,0.8`, as argparse wants its types."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not A,B")
    low, high = map(share, parts)
    if low > high:
        raise argparse.ArgumentTypeError(f"{low:g} must not be above {high:g}")
    return low, high
