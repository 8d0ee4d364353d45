"""Draws a radiograph for the eyes: `python -m edge_app.web.drawing PICTURE OUT TURNS`.

A file enters, a grey JPEG of at most `LONGEST_SIDE` pixels leaves, upright, its grey range
stretched over what is in it. A process of its own, so that neither the memory nor the end of a
decoder is the server's.
"""

import subprocess
import sys
from pathlib import Path

from edge_app.errors import InputError, StorageError, UnreadableImageError
from edge_app.files.whole import whole
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import read_image
from edge_app.report.thumbnail_maker import shrink
from edge_app.runs.workers.pool import environment

# Twice what a phone shows, and about 150 kB.
LONGEST_SIDE = 1400
_QUALITY = 80
_SECONDS = 60.0


def draw(radiograph: Radiograph, quarter_turns: int, path: Path) -> None:
    """Write the drawing.

    Args:
        radiograph: as the file stores it.
        quarter_turns: of `LungPlace`.
        path: of the JPEG, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    image = shrink(radiograph, quarter_turns, LONGEST_SIDE)
    with whole(path) as partial:
        image.save(partial, "JPEG", quality=_QUALITY)


def draw_apart(picture: Path, path: Path, quarter_turns: int) -> None:
    """The same in a process of its own.

    Raises:
        UnreadableImageError: the picture cannot be drawn, or not in a minute.
    """
    program = [sys.executable, "-P", "-m", "edge_app.web.drawing"]
    try:
        done = subprocess.run(
            [*program, str(picture), str(path), str(quarter_turns)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError(f"{picture.name}: drawing it took too long") from error
    if done.returncode:
        raise UnreadableImageError(f"{picture.name}: it cannot be drawn")


def main(arguments: list[str]) -> int:
    """Draw what the arguments name; 1 where it cannot be."""
    picture, path, turns = arguments
    try:
        draw(read_image(picture), int(turns), Path(path))
    except (InputError, StorageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
