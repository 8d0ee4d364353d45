"""Options of the commands that work on a clinic's record, and opening it as they say."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import RecordError, RuntimeUnavailableError

if TYPE_CHECKING:
    from edge_app.record.record import Record

# Who acts, in the audit log: whoever has the device's shell, which knows no account.
ACTOR = "command line"


def add_record_options(parser: argparse.ArgumentParser) -> None:
    """Add --record and --folder."""
    parser.add_argument(
        "--record",
        metavar="FOLDER",
        help="where pictures, answers and accounts are kept, or the URL of a PostgreSQL database "
        "(default: PNEUMOSCOPE_RECORD, else below the user's data folder)",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="of pictures, where --record is a URL"
    )


def record_location(args: argparse.Namespace) -> str:
    """The folder or URL that is meant."""
    from edge_app.files.user_folders import data_folder

    named = args.record or os.environ.get("PNEUMOSCOPE_RECORD")
    return named or str(data_folder() / "record")


def open_record(args: argparse.Namespace, *, make: bool = False) -> "Record":
    """Open the record.

    Args:
        args: with `add_record_options`.
        make: also one that is not there yet.

    Raises:
        RecordError: there is none.
        RuntimeUnavailableError: the extra is not installed.
    """
    require_record_packages()
    from edge_app.record.record import Record

    location = record_location(args)
    if not make and "://" not in location and not Path(location, "record.sqlite").is_file():
        raise RecordError(
            f"{location}: holds no record; `pneumoscope serve` makes one, --record names another"
        )
    return Record.open(location, args.folder)


def require_record_packages() -> None:
    """Raises RuntimeUnavailableError where SQLAlchemy, Alembic or argon2-cffi is missing."""
    try:
        import alembic  # noqa: F401
        import argon2  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the clinic's record needs a package ({error.name}): pip install 'pneumoscope[web]'"
        ) from error
