"""Progress: a bar on a terminal; lines, not too many, where it is piped; nothing for short work."""

import io
import os

import pytest

from edge_app import progress as module
from edge_app.progress import progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_lines_come_after_a_while_and_then_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    with progress("decode", 20, "files", stream=stream) as at:
        for done in range(1, 10):
            clock.now += 1
            at(done, note=f"{done - 1} bad")
    assert stream.getvalue().splitlines() == [
        "decode: 2/20 files, 1 bad",
        "decode: 7/20 files, 6 bad",
        "decode: 9/20 files, 8 bad",  # the last one, so that a log tells how it ended
    ]


def test_short_work_says_nothing_and_the_total_may_grow(clock: Clock) -> None:
    stream = io.StringIO()
    with progress("short", 2, stream=stream) as at:
        at(1)
    assert stream.getvalue() == ""
    with progress(stream=stream, delay=0) as at:
        at(3, 2)
        at(4, 9)
    assert stream.getvalue().splitlines() == ["3/3", "4/9"]


def test_a_terminal_gets_a_bar_with_the_note() -> None:
    stream = Terminal()
    with progress("decode", 4, "files", stream=stream, delay=0) as at:
        at(1, note="1 bad")
        at(4, note="2 bad")
    assert "decode: 100%" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert "2 bad" in stream.getvalue()


@pytest.mark.parametrize("columns", [20, 40, 60, 79])
def test_a_narrow_terminal_gets_lines_that_fit(columns: int) -> None:
    """Of a line that is wrapped, the next one would overwrite only the end."""
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    import fcntl
    import struct
    import termios

    theirs, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(ours, "w") as stream, open(theirs, "rb", buffering=0, closefd=False) as shown:
        with progress("", 100_000, "files", stream=stream, delay=0) as at:
            at(100_000, note="999 suspected, 12 failed")
        written = b"".join(iter(lambda: shown.read(1), b"\n")).decode()
    os.close(theirs)
    lines = [line.strip() for line in written.split("\r") if line.strip()]
    assert max(map(len, lines)) < columns
    assert lines[-1].startswith("100000/100000")
    assert ("suspected" in lines[-1]) == (columns >= 60)
    assert ("left" in lines[-1]) == (columns >= 30)


def test_what_is_tracked_comes_through_in_order(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow() -> object:
        for number in range(3):
            clock.now += 2
            yield number

    assert list(track(slow(), "count", 3)) == [0, 1, 2]  # type: ignore[call-overload]
    assert capsys.readouterr().err.splitlines() == ["count: 1/3", "count: 3/3"]
    assert list(track([], "none")) == []
