"""Options of the commands that ask a PACS."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_app.dicom_net.archive import Archive, Query
    from edge_app.dicom_net.sender import Destination


def add_archive_options(parser: argparse.ArgumentParser) -> None:
    """Add which PACS is asked, and for what."""
    parser.add_argument(
        "--pacs", type=destination, required=True, metavar="AET@HOST:PORT", help="which is asked"
    )
    parser.add_argument(
        "--aet", default="PNEUMOSCOPE", metavar="TITLE", help="our AE title (default: %(default)s)"
    )
    parser.add_argument(
        "--date",
        type=_dates,
        metavar="DATES",
        help="of the study: 20261101, 20261101-20261130, 20261101- (default: all)",
    )
    parser.add_argument(
        "--modality",
        type=_codes,
        default=("CR", "DX"),
        metavar="LIST",
        help="default: CR,DX; an empty one takes all",
    )
    parser.add_argument(
        "--body-part",
        type=str.upper,
        default="CHEST",
        metavar="PART",
        help="default: %(default)s; a series that names none is taken too; an empty one takes all",
    )


def query_of(args: argparse.Namespace) -> "Query":
    """What is asked for."""
    from edge_app.dicom_net.archive import Query

    return Query(args.date or "", args.modality, args.body_part)


def archive_of(args: argparse.Namespace) -> "Archive":
    """The PACS; raises UsageError where our AE title is none."""
    from edge_app.dicom_net.archive import Archive
    from edge_app.dicom_net.receiver import check_ae_title, require_pynetdicom
    from edge_app.errors import UsageError

    require_pynetdicom()
    try:
        check_ae_title(args.aet)
    except ValueError as error:
        raise UsageError(f"--aet: {error}") from error
    return Archive(args.pacs, args.aet)


def destination(text: str) -> "Destination":
    """A PACS, as argparse wants its types."""
    from edge_app.dicom_net.sender import Destination

    try:
        return Destination.from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _dates(text: str) -> str:
    from edge_app.dicom_net.archive import check_dates

    try:
        return check_dates(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date and no range of dates such as 20261101-20261130"
        ) from error


def _codes(text: str) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in text.split(",") if part.strip())
