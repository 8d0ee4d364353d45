"""Output whose reader may go away, as that of `| head` does, while the work must go on."""

import os
import re
from contextlib import suppress
from typing import Any, TextIO

# C0 and C1: a name may hold a newline, or a terminal's command to hide what stands above.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def say(text: str, stream: TextIO) -> None:
    """Print a line; where nobody reads any more, nothing is printed from then on."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        mute(stream)


def one_line(name: str) -> str:
    r"""A file's name for people: characters that move the cursor or end the line as `\xNN`."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", name)


def mute(stream: TextIO) -> None:
    """Send what a stream still holds, and gets, to nowhere."""
    with suppress(OSError):  # a stream without a file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class LastingStream:
    """A text stream that is muted, and raises nothing, once its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            mute(self._stream)
            return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            mute(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
