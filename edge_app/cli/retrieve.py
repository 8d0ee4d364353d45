"""`pneumoscope retrieve --pacs AET@HOST:PORT -o OUT`: fetches an archive's films to score them."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.archive_options import add_archive_options, archive_of, query_of
from edge_app.cli.run_options import note
from edge_app.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "retrieve",
        help="fetch the films of a PACS",
        description="Fetch what `query` lists into OUT/inbox, as if it had been sent: `pneumoscope "
        "batch OUT/inbox -o RESULTS` scores it. Interrupted in any way, the same command goes on "
        "behind the last series that came in full. Needs: pip install 'pneumoscope[dicom-net]'.",
    )
    add_archive_options(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")
    parser.add_argument(
        "--move-to",
        metavar="TITLE",
        help="let the PACS send (C-MOVE) to the node that it knows by this AE title, such as a "
        "running `pneumoscope receive`; OUT then holds only what is done (default: C-GET)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch until all is here, then say what came."""
    from edge_app.files.whole import owner_only

    with owner_only(True):  # films hold patients' data
        return _retrieve(args)


def _retrieve(args: argparse.Namespace) -> int:
    from edge_app.dicom_net.archive import Fetched, Progress, SeriesFound, retrieve
    from edge_app.dicom_net.spool import Spool
    from edge_app.files.locks import FileLock
    from edge_app.files.whole import make_folder
    from edge_app.runs.interruption import Interruption

    archive = archive_of(args)
    make_folder(args.out)
    busy = f"{args.out}: another `pneumoscope receive` or `retrieve` writes here"
    with FileLock(args.out / ".receive.lock", busy), Progress(args.out) as progress:
        spool = None if args.move_to else Spool(args.out)

        def bring(series: SeriesFound) -> Fetched:
            interruption.check()
            if spool is None:
                return archive.move(series, args.move_to)
            return archive.fetch(series, spool)

        try:
            with Interruption() as interruption:
                found = archive.find(query_of(args))
                came, missing = retrieve(found, progress, bring, note)
        except KeyboardInterrupt:
            note("interrupted; the same command goes on")
            return EXIT_INTERRUPTED
    note(f"{came} objects came" + (f", {missing} could not be sent" if missing else ""))
    return EXIT_SOME_FAILED if missing else EXIT_OK
