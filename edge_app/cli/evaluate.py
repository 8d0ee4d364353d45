"""`pneumoscope evaluate RESULTS LABELS.csv`: how good are the answers on films of one's own?"""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.site_options import add_truth_options, read_cases, require_page_name
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a run on films whose truth is known",
        description="Sensitivity, specificity, PPV, NPV and referrals at the run's cut-offs and at "
        "every other one, AUROC and reliability, each with its 95% interval. LABELS.csv has the "
        "columns file and label, and patient_id where patients have several films.",
    )
    parser.add_argument(
        "results", type=Path, metavar="RESULTS", help="a run's folder, or its results.jsonl"
    )
    parser.add_argument("labels", type=Path, metavar="LABELS.csv")
    parser.add_argument(
        "-o", "--page", type=Path, metavar="PAGE.html", help="write a page to print, with drawings"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    add_truth_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the page."""
    from edge_app.files.codec import canonical_json
    from edge_app.files.whole import write_whole
    from edge_app.site.accuracy import measure
    from edge_app.site.evaluation_page import describe, evaluation_page

    if args.page is not None:
        require_page_name(args.page)
    accuracy = measure(read_cases(args, args.labels), args.prevalence)
    if args.page is not None:
        write_whole(args.page, evaluation_page(accuracy))
    print(canonical_json(accuracy).decode("utf-8") if args.json else describe(accuracy))
    if args.page is not None and not args.json:
        print(f"Page: {one_line(str(args.page))}")
    return EXIT_OK
