"""Decoders that may abort, hang or take all memory, kept in a process that may die.

One such process serves this one, from the first encoded DICOM on; after a death the next picture
starts another. What a decoder prints is taken for what it is: the news that the data is damaged.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from edge_app.errors import UnreadableImageError

_PROGRAM = Path(__file__).with_name("decoder_process.py")
_lock = threading.Lock()
_process: "subprocess.Popen[bytes] | None" = None
_owner = 0


def decode(
    encoded: bytes, *, transfer_syntax_uid: str, rows: int, columns: int, bits: int, is_signed: bool
) -> bytes:
    """Samples of a grey picture, little endian, of 8 bits where `bits` are at most 8, else of 16.

    Args:
        encoded: the codestream.
        transfer_syntax_uid: how it is encoded.
        rows, columns: what the codestream's own header says.
        bits, is_signed: of a sample, as the codestream's own header says.

    Raises:
        UnreadableImageError: damaged, or more than the decoder may take of memory or time.
    """
    request = {
        "transfer_syntax_uid": transfer_syntax_uid,
        "rows": rows,
        "columns": columns,
        "bits": bits,
        "is_signed": int(is_signed),
        "length": len(encoded),
    }
    with _lock:
        answer = _ask(json.dumps(request).encode("ascii") + b"\n" + encoded)
    if answer is None:
        raise UnreadableImageError("damaged DICOM file: the decoder broke off at its picture")
    pixels, complaint = answer
    if complaint or len(pixels) != rows * columns * (1 if bits <= 8 else 2):
        raise UnreadableImageError("damaged DICOM file: its decoder complains of the picture")
    return pixels


def _ask(request: bytes) -> tuple[bytes, str] | None:
    """The reply: pixels, and what was printed; None where the process has died of it."""
    global _process
    process = _running()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
        head = json.loads(process.stdout.readline() or b"null")
    except (OSError, ValueError):
        head = None
    pixels = b"" if head is None else process.stdout.read(head["length"])
    if head is None or len(pixels) != head["length"]:
        _end()
        return None
    return pixels, head["complaint"]


def _running() -> "subprocess.Popen[bytes]":
    """The process; another one after a death, and after a fork, since two cannot share it."""
    global _process, _owner
    if _process is None or _owner != os.getpid():
        if _owner == 0:
            atexit.register(_end)
        _owner = os.getpid()
        _process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    return _process


def _end() -> None:
    global _process
    if _process is not None and _owner == os.getpid():
        _process.kill()
        _process.communicate()
    _process = None
