"""`pneumoscope worklist OUT`: what waits for a person, worst first."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import positive
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK

if TYPE_CHECKING:
    from edge_app.results.rows import ResultRow


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "worklist",
        help="what waits for a person, worst first",
        description="List the answers of a run in the order in which a person should look at them: "
        "P1 suspected, P2 indeterminate, P3 not screened, those that have waited longest first. "
        "The P stands in the series descriptions of DICOM answers too.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="a run's folder")
    parser.add_argument(
        "--limit", type=positive, default=50, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--all", action="store_true", help="also those in which nothing was seen")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list and how many there are."""
    from edge_app.report.worklist import worklist
    from edge_app.results.folder import RunFolder
    from edge_app.results.rows import read_results

    _, rows = read_results(RunFolder(args.out).results)
    waiting = worklist(rows, with_clear=args.all)
    now = datetime.now(UTC)
    for row in waiting[: args.limit]:
        print(_json_line(row) if args.json else one_line(_line(row, now)))
    left = len(waiting) - args.limit
    if left > 0 and not args.json:
        print(f"and {left} more (--limit)")
    return EXIT_OK


def _line(row: "ResultRow", now: datetime) -> str:
    from edge_app.decision import show_probability
    from edge_app.report.words import NAMES, kind_of, priority, reason_words

    said = NAMES[kind_of(row)]
    if row.reason is not None:
        said += f": {reason_words(row.reason)}"
    if row.probability is not None:
        said += f", probability {show_probability(row.probability)}"
    minutes = max(0, int((now - datetime.fromisoformat(row.scored_at)).total_seconds() // 60))
    waited = f"{minutes // 60} h {minutes % 60:02} min"
    return f"P{priority(row)}  waits {waited}  {row.file}  {said}"


def _json_line(row: "ResultRow") -> str:
    from edge_app.report.words import priority

    values = {
        "priority": priority(row),
        "file": row.file,
        "sop_instance_uid": row.sop_instance_uid,
        "decision": row.decision.value,
        "reason": None if row.reason is None else row.reason.value,
        "probability": row.probability,
        "scored_at": row.scored_at,
    }
    import json

    return json.dumps(values)
