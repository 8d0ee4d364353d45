"""How much of a picture is in colour, beyond a tint that all of its greys share.

RGB values in, a share leaves. An X-ray has no colour; a film that was photographed on a light box
or scanned in colour has one tint, which follows its greys. What is left when that is taken off is
the colour of something else: a photograph, a drawing, a coloured screen.
"""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

# Points a side of the grid that is looked at.
_SIDE = 48
# Between two channels of 8 bits. JPEG from quality 40 on moves no point of a tinted film as far.
_LEAST_DIFFERENCE = 20.0


def colour_of(image: Image.Image) -> float:
    """The share of a loaded picture that is in colour, 0 for every kind of grey."""
    if image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16"):
        return 0.0
    small = image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return colour_share(np.asarray(small.convert("RGBA").convert("RGB")))


def jpeg_colour(data: bytes) -> float:
    """The share of a JPEG with colour that is in colour, of its picture at an eighth.

    Raises:
        OSError: it cannot be decoded; call it for what was decoded already.
    """
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        image.draft("RGB", (_SIDE, _SIDE))
        return colour_of(image)


def colour_share(rgb: npt.NDArray[np.uint8]) -> float:
    """The share of points whose colour is none of the picture's tint.

    Args:
        rgb: (h, w, 3).
    """
    red, green, blue = rgb.reshape(-1, 3).T.astype(np.float32)
    light = green - green.mean()
    power = max(float(light @ light), 1.0)
    rest = np.zeros_like(light)
    for channel in (red, blue):
        difference = channel - green
        difference -= difference.mean()
        # A tint grows with the light: by least squares.
        difference -= light * (float(light @ difference) / power)
        rest += difference * difference
    return float(np.mean(rest > _LEAST_DIFFERENCE**2))
