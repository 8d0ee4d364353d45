"""A photograph of a film straightened apart: `python -m edge_app.web.straightening PHOTO OUT`.

A camera's file enters, a grey PNG of the film leaves, or the reason why not. A process of its own,
since a camera's file is decoded in full.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from edge_app.errors import InputError, UnreadableImageError
from edge_app.files.whole import whole
from edge_app.images.light_box import Grey, PhotographError, straighten
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import read_image
from edge_app.runs.workers.pool import environment

_SECONDS = 60.0
_REFUSED = 3


def straighten_apart(photograph: Path, film: Path) -> None:
    """Write the film of a photograph as a PNG.

    Raises:
        PhotographError: what the photographer should do otherwise.
        UnreadableImageError: it cannot be read, or not in a minute.
    """
    program = [sys.executable, "-P", "-m", "edge_app.web.straightening"]
    try:
        done = subprocess.run(
            [*program, str(photograph), str(film)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableImageError("finding the film took too long") from error
    if done.returncode == _REFUSED:
        code, message = json.loads(done.stdout)
        raise PhotographError(code, message) if code else UnreadableImageError(message)
    if done.returncode:
        raise UnreadableImageError("the photograph cannot be read")


def main(arguments: list[str]) -> int:
    """Straighten what the arguments name; 3 and a reason on standard output where it cannot be."""
    photograph, film = map(Path, arguments)
    try:
        straight = straighten(_bytes(read_image(photograph)))
    except InputError as error:
        code = error.code if isinstance(error, PhotographError) else ""
        # On the disk it has a name of ours, which nobody knows.
        print(json.dumps([code, str(error).replace(photograph.name, "the photograph")]))
        return _REFUSED
    with whole(film) as partial:
        Image.fromarray(straight).save(partial, "PNG")
    return 0


def _bytes(radiograph: Radiograph) -> Grey:
    if radiograph.pixels.dtype == np.uint8:
        return cast(Grey, radiograph.pixels)
    scaled = radiograph.pixels.astype(np.float32) * np.float32(255 / radiograph.max_value)
    return scaled.astype(np.uint8)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
