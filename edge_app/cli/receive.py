"""`pneumoscope receive -o OUT`: scores what machines and a PACS send by DICOM."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.archive_options import destination
from edge_app.cli.model_options import positive
from edge_app.cli.run_options import (
    add_run_options,
    note,
    run_options,
    say_outcome,
    say_stopped,
    seconds,
    silent,
)
from edge_app.cli.streams import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_app.dicom_net.receiver import Peer, ReceiverOptions, Tls
    from edge_app.dicom_net.sender import Commitments, Sender
    from edge_app.dicom_net.spool import Spool

_LOG_BYTES = 10_000_000
_MEGA = 1_000_000


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "receive",
        help="score what is sent by DICOM",
        description="Be a DICOM storage node (C-STORE, C-ECHO, storage commitment): keep what is "
        "sent below OUT/inbox, score it as `watch` does, and write the same files into OUT. An "
        "object is on the disk before its sender is told so; after a power cut the same command "
        "goes on. Needs: pip install 'pneumoscope[dicom-net]'.",
    )
    parser.add_argument("--port", type=_port, default=11112, help="default: %(default)s")
    parser.add_argument(
        "--host", default="", metavar="ADDRESS", help="of this machine (default: all of them)"
    )
    parser.add_argument(
        "--aet", default="PNEUMOSCOPE", metavar="TITLE", help="our AE title (default: %(default)s)"
    )
    parser.add_argument(
        "--allow",
        type=_peer,
        action="append",
        default=[],
        metavar="TITLE[@ADDRESS]",
        help="an AE that may send, from that address only; may be repeated (default: all may)",
    )
    parser.add_argument(
        "--most-associations", type=positive, default=10, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--most-megabytes",
        type=positive,
        default=512,
        metavar="MB",
        help="of one object (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-free",
        type=positive,
        default=500,
        metavar="MB",
        help="room that stays on the disk; senders are told to wait (default: %(default)s)",
    )
    parser.add_argument(
        "--idle", type=seconds, default=60.0, metavar="SECONDS", help="default: %(default)g"
    )
    answers = parser.add_argument_group(
        "answers", "as DICOM SR and Secondary Capture, new series of the film's study"
    )
    answers.add_argument(
        "--answer", action="store_true", help="write them below OUT/answers; --send-to does so too"
    )
    answers.add_argument(
        "--send-to",
        type=destination,
        action="append",
        default=[],
        metavar="AET@HOST:PORT",
        help="send them to this PACS; may be repeated. One that is away gets them when it is back, "
        "and keeps no other waiting",
    )
    answers.add_argument(
        "--commit",
        action="store_true",
        help="count one as sent only after the PACS has committed itself to keep it (storage "
        "commitment)",
    )
    answers.add_argument(
        "--send-tls", action="store_true", help="send encrypted, with the files of the TLS options"
    )
    tls = parser.add_argument_group("TLS", "files in PEM; both of the first two, or none")
    tls.add_argument("--tls-certificate", type=Path, metavar="FILE")
    tls.add_argument("--tls-key", type=Path, metavar="FILE")
    tls.add_argument(
        "--tls-authority",
        type=Path,
        metavar="FILE",
        help="senders must show a certificate that it has signed",
    )
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Receive and score until stopped, then say what came of it."""
    from edge_app.files.whole import owner_only

    with owner_only(not args.shared):  # the log and the inbox too
        return _receive(args)


def _receive(args: argparse.Namespace) -> int:
    from edge_app.dicom_net.receiver import require_pynetdicom
    from edge_app.dicom_net.spool import Spool
    from edge_app.files.locks import FileLock
    from edge_app.files.whole import make_folder

    require_pynetdicom()
    options = receiver_options(args)
    make_folder(args.out)
    log = open_log(args.out / "receive.log")
    # Before the spool: a second one would forget what this one is receiving.
    busy = f"{args.out}: another `pneumoscope receive` writes here"
    with FileLock(args.out / ".receive.lock", busy):
        return _serve(args, options, log, Spool(args.out))


def _serve(
    args: argparse.Namespace,
    options: "ReceiverOptions",
    log: "Callable[[str], None]",
    spool: "Spool",
) -> int:
    from edge_app.dicom_net.outbox import answers_folder
    from edge_app.dicom_net.receiver import Receiver
    from edge_app.dicom_net.sender import Commitments
    from edge_app.runs.interruption import Interruption
    from edge_app.runs.watch import WatchPlan, watch_folder

    commitments = Commitments()
    answers = answers_folder(args.out) if args.answer or args.send_to else None
    # What is in the inbox is whole: nothing has to settle, and what fails is damaged.
    plan = WatchPlan(
        spool.inbox,
        args.out,
        poll_seconds=1.0,
        settle_seconds=0.0,
        patience_seconds=0.0,
        options=run_options(args, answers=answers),
    )
    options = replace(options, identifiers=plan.options.identifiers)
    on_outcome = silent if args.quiet else say_outcome
    with (
        Interruption() as interruption,
        Receiver(spool, options, log, commitments.on_report) as receiver,
        ExitStack() as senders,
    ):
        for sender in open_senders(args, options, log, commitments):
            senders.callback(sender.close)
            sender.start()
        if not args.quiet:
            note(f"{options.ae_title} listens on port {receiver.port}; Ctrl-C stops")
        summary = watch_folder(plan, on_outcome, on_note=note, check=interruption.check)
    return say_stopped(args, summary)


def open_senders(
    args: argparse.Namespace,
    options: "ReceiverOptions",
    log: "Callable[[str], None]",
    commitments: "Commitments",
) -> "list[Sender]":
    """A queue for each PACS that answers are sent to."""
    from edge_app.dicom_net.outbox import Outbox
    from edge_app.dicom_net.receiver import client_context
    from edge_app.dicom_net.sender import DicomWire, Sender
    from edge_app.errors import UsageError

    if args.send_tls and options.tls is None:
        raise UsageError("--send-tls needs --tls-certificate and --tls-key")
    context = client_context(options.tls) if args.send_tls and options.tls is not None else None
    senders = []
    for peer in dict.fromkeys(args.send_to):
        wire = DicomWire(peer, options.ae_title, context, commitments if args.commit else None)
        senders.append(Sender(Outbox(args.out, str(peer)), wire, str(peer), log))
    return senders


def receiver_options(args: argparse.Namespace) -> "ReceiverOptions":
    """The options as the receiver takes them; raises UsageError where they contradict."""
    from edge_app.dicom_net.receiver import ReceiverOptions, check_ae_title
    from edge_app.errors import UsageError

    try:
        check_ae_title(args.aet)
    except ValueError as error:
        raise UsageError(f"--aet: {error}") from error
    return ReceiverOptions(
        ae_title=args.aet,
        host=args.host,
        port=args.port,
        allowed=tuple(args.allow),
        most_associations=args.most_associations,
        most_object_bytes=args.most_megabytes * _MEGA,
        keep_free_bytes=args.keep_free * _MEGA,
        idle_seconds=args.idle,
        tls=_tls(args),
    )


def open_log(path: Path) -> "Callable[[str], None]":
    """A function that writes a line with its time into a bounded log, and to standard error."""
    import logging
    from logging.handlers import RotatingFileHandler

    logger = logging.getLogger("pneumoscope.receive")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.handlers = [handler]

    def log(text: str) -> None:
        logger.info("%s", one_line(text))
        note(text)

    return log


def _tls(args: argparse.Namespace) -> "Tls | None":
    from edge_app.dicom_net.receiver import Tls
    from edge_app.errors import UsageError

    given = [args.tls_certificate, args.tls_key]
    if not any(given) and args.tls_authority is None:
        return None
    if not all(given):
        raise UsageError("TLS needs both --tls-certificate and --tls-key")
    return Tls(args.tls_certificate, args.tls_key, args.tls_authority)


def _peer(text: str) -> "Peer":
    from edge_app.dicom_net.receiver import Peer

    try:
        return Peer.from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port")
    return number
