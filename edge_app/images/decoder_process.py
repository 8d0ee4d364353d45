"""GDCM in a process of its own: `python decoder_process.py`, encoded pictures in, pixels out.

GDCM aborts on some files, takes all memory on others, and prints what is wrong with a picture
instead of saying it: here that costs this process and reaches its parent (`images.foreign_decoder`)
as a reply. A request is a line of JSON and the encoded bytes; so is a reply. Imports nothing of
this package, so that it starts fast.
"""

import json
import os
import sys
from contextlib import suppress
from typing import Any, BinaryIO

# The largest detectors' pictures take 600 MB in GDCM.
MAX_BYTES = 800_000_000
MAX_SECONDS = 30


def main() -> None:
    """Serve until standard input ends."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound_memory()
    with _unnamed_file() as printed:
        os.dup2(printed.fileno(), 2)
        for line in requests:
            request = json.loads(line)
            _set_alarm(MAX_SECONDS)
            pixels = _decode(requests.read(request["length"]), request)
            _set_alarm(0)
            _reply(replies, pixels, complaint=_take(printed))


def _unnamed_file() -> BinaryIO:
    """As `files.scratch` makes it: a read-only system has no room for temporary files."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pneumoscope"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def _decode(encoded: bytes, request: dict[str, Any]) -> bytes:
    """The picture's samples, 8 or 16 bits each, empty where GDCM gives none."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((request["columns"], request["rows"], 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    syntax = gdcm.TransferSyntax.GetTSType(request["transfer_syntax_uid"])
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = request["bits"]
    container = 8 if bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, container, bits, bits - 1, request["is_signed"]))
    with suppress(Exception):  # GDCM's exceptions and ours: there are no pixels either way
        # The wrapper gives bytes as text; None where it failed.
        return bytes(image.GetBuffer().encode("utf-8", "surrogateescape"))
    return b""


def _reply(replies: BinaryIO, pixels: bytes, *, complaint: str) -> None:
    head = {"length": len(pixels), "complaint": complaint}
    replies.write(json.dumps(head).encode("ascii") + b"\n" + pixels)
    replies.flush()


def _take(printed: BinaryIO) -> str:
    """What was printed since the last time."""
    printed.seek(0)
    text = printed.read().decode("latin-1")
    printed.seek(0)
    printed.truncate()
    return " ".join(text.split())


def _set_alarm(seconds: int) -> None:
    """Be ended by the system after so long, whatever C code runs then; 0 for never."""
    with suppress(ImportError, AttributeError):  # Windows has no alarm
        import signal

        signal.alarm(seconds)


def _bound_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows has no limits
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
