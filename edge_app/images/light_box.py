"""A camera's picture of a film on a light box: its four corners found, the film straightened.

Grey pixels of a photograph enter, the film alone leaves as a rectangle, or the reason why not: no
four corners, a reflection, too small. No file access, no model. What a photograph loses (grey
levels, the camera's own sharpening) is not given back: whoever scores one must know that it is one.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from edge_app.errors import InputError

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

# The film is looked for at this size; its edges are then placed between pixels by fitted lines.
_SIDE = 240
LEAST_SHARE = 0.15  # of the photograph that the film must fill
# Share of film and quadrilateral together that both cover: a missing corner costs more.
_LEAST_OVERLAP = 0.95
_EVEN = 0.75  # of the light around the film: its darkest tenth to its median
_INTO_CORNER = 0.08  # of the way from a corner to the middle
_LEAST_CONTRAST = 12.0  # grey levels between film and what is around it
# No single cut parts every film from its surround: bones are as bright as a weak light box.
_CUTS = range(20, 250, 10)
_EDGE = 2  # pixels: a film that reaches the photograph's edge is cut off there
_SATURATED = 252
_GLARE_SHARE = 0.004  # of the film, in one spot
_INNER = 0.06  # the film's own clear rim, where the light box shines through, is no glare
_HULL_POINTS = 24
_LONGEST_SIDE = 2500


class PhotographError(InputError):
    """The photograph cannot be used; `code` says why: film_corners, film_glare, film_small."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Where the film is.

    Attributes:
        corners: (4, 2) float64, x and y as fractions of the photograph, clockwise from the one
            nearest to the upper left.
        overlap: how well the corners fit what was found, 0 to 1.
    """

    corners: Points
    overlap: float


def straighten(photograph: Grey) -> Grey:
    """The film of a photograph, seen from straight above.

    Args:
        photograph: (height, width) uint8.

    Returns:
        (height, width) uint8, its sides as long as the film's sides in the photograph.

    Raises:
        PhotographError: no four corners, a film that is too small, or a reflection on it.
    """
    film = find_film(photograph)
    height, width = photograph.shape
    corners = film.corners * (width, height)
    size = _sides(corners)
    image = Image.fromarray(photograph).transform(
        size,
        Image.Transform.PERSPECTIVE,
        _perspective(size, corners),
        Image.Resampling.BICUBIC,
    )
    straight = np.asarray(image)
    _refuse_glare(straight)
    return straight


def find_film(photograph: Grey) -> Film:
    """Find the film: darker than a light box around it, or brighter than a dark room.

    Raises:
        PhotographError: no four corners, or the film is too small.
    """
    small = _small(photograph)
    # A light box in a dark room is itself a bright quadrilateral around the film's dark one, so
    # the dark one counts where there are both.
    for masks in ([small <= cut for cut in _CUTS], [small > cut for cut in _CUTS]):
        found = [film for mask in masks if (film := _fit(mask, small))]
        whole = [film for film in found if film.overlap >= _LEAST_OVERLAP]
        if whole:
            return _large_enough(whole)
    raise PhotographError(
        "film_corners", "the four corners of the film were not found in the photograph"
    )


def _large_enough(films: list[Film]) -> Film:
    """The largest of those that fit about as well as the best."""
    best = max(film.overlap for film in films)
    film = max((f for f in films if f.overlap > best - 0.02), key=lambda f: _area(f.corners))
    if _area(film.corners) < LEAST_SHARE:
        raise PhotographError("film_small", "the film fills too little of the photograph")
    return film


def _small(photograph: Grey) -> Grey:
    image = Image.fromarray(photograph)
    scale = _SIDE / max(image.size)
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    reduced = image.resize(size, Image.Resampling.BOX)
    return np.asarray(reduced.filter(ImageFilter.MedianFilter(3)))


def _fit(mask: Mask, grey: Grey) -> Film | None:
    """The quadrilateral of the largest part of a mask that lies within the picture."""
    part = _largest_part(mask)
    if part is None:
        return None
    part = _without_holes(part)
    if not _is_in_even_light(part, grey):
        return None
    corners = _corners(part)
    if corners is None:
        return None
    height, width = part.shape
    overlap = _overlap(part, corners) if _has_corners(part, corners) else 0.0
    return Film((corners + 0.5) / (width, height), overlap)


def _is_in_even_light(part: Mask, grey: Grey) -> bool:
    """Whether something of another brightness lies all around: a light box, or a dark room.

    What borders on more of the film on one side is a part of it: a lung, or a film that is cut off.
    """
    inside = float(np.median(grey[part]))
    ring = grey[_grown(part, 4) & ~_grown(part, 1)].astype(np.float64)
    if ring.size == 0:
        return False
    middle = float(np.median(ring))
    if abs(middle - inside) < _LEAST_CONTRAST:
        return False
    least = np.percentile(ring if middle > inside else 255 - ring, 10)
    return bool(least >= _EVEN * (middle if middle > inside else 255 - middle))


def _largest_part(mask: Mask) -> Mask | None:
    """The largest connected part that does not reach the edge, None where there is none."""
    labels = _label(mask)
    edge = np.ones(mask.shape, bool)
    edge[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    sizes[np.unique(labels[edge])] = 0
    return labels == sizes.argmax() if sizes.any() else None


def _label(mask: Mask) -> npt.NDArray[np.int64]:
    """Numbers of the four-connected parts from 1 on: each pixel takes its neighbours' largest."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        before = labels
        for axis in (0, 1):
            labels = _spread(labels, mask, axis)
        if np.array_equal(labels, before):
            return np.unique(labels, return_inverse=True)[1].reshape(mask.shape)


def _spread(labels: npt.NDArray[np.int64], mask: Mask, axis: int) -> npt.NDArray[np.int64]:
    """Every run of the mask along an axis gets the largest label in it."""
    lines, inside = np.moveaxis(labels, axis, 1), np.moveaxis(mask, axis, 1)
    runs = np.cumsum(np.diff(inside, axis=1, prepend=False), axis=1)
    runs = runs + np.arange(len(lines))[:, None] * (lines.shape[1] + 1)
    largest = np.zeros(int(runs.max()) + 1, np.int64)
    np.maximum.at(largest, runs, lines)
    return np.moveaxis(np.where(inside, largest[runs], 0), 1, axis)


def _without_holes(part: Mask) -> Mask:
    """What cannot be reached from the edge without crossing the part belongs to it."""
    outside = np.pad(~part, 1, constant_values=True)
    labels = _label(outside)
    return np.asarray(labels != labels[0, 0])[1:-1, 1:-1]


def _grown(mask: Mask, by: int) -> Mask:
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1]
        mask = mask | padded[1:-1, :-2] | padded[1:-1, 2:]
    return np.asarray(mask, bool)


def _corners(part: Mask) -> Points | None:
    """Four corners in pixels, placed where lines through the edges' pixels meet."""
    hull = _hull(part)
    if len(hull) < 4:
        return None
    fours = hull[np.array(list(combinations(range(len(hull)), 4)))]
    across, other = fours[:, 2] - fours[:, 0], fours[:, 3] - fours[:, 1]
    areas = np.abs(across[:, 0] * other[:, 1] - across[:, 1] * other[:, 0])
    return _refined(fours[areas.argmax()], _rim(part))


def _hull(part: Mask) -> Points:
    """Corners of the convex hull in their order (monotone chain), thinned to `_HULL_POINTS`."""
    points = sorted(map(tuple, _rim(part)))
    half: list[list[tuple[float, float]]] = []
    for ordered in (points, points[::-1]):
        chain: list[tuple[float, float]] = []
        for point in ordered:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        half.append(chain[:-1])
    hull = np.array(half[0] + half[1], np.float64)
    if len(hull) <= _HULL_POINTS:
        return hull
    # The corners are those that the least of it turns away from: keep the sharpest turns.
    ahead, behind = np.roll(hull, -1, 0) - hull, hull - np.roll(hull, 1, 0)
    cross = ahead[:, 1] * behind[:, 0] - ahead[:, 0] * behind[:, 1]
    angle = np.abs(np.arctan2(cross, (ahead * behind).sum(1)))
    return hull[np.sort(np.argsort(-angle)[:_HULL_POINTS])]


def _rim(part: Mask) -> Points:
    """(n, 2) x and y of the part's pixels that have a neighbour outside."""
    rows, columns = np.nonzero(part & _grown(~part, 1))
    return np.stack([columns, rows], 1).astype(np.float64)


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _refined(rough: Points, rim: Points) -> Points | None:
    """The same corners from lines fitted to the rim's pixels along the middle of each side."""
    lines = []
    for begin, end in zip(rough, np.roll(rough, -1, 0), strict=True):
        along = end - begin
        length = float(np.hypot(*along))
        if length < 8:
            return None
        along /= length
        away = (rim - begin) @ (along[1], -along[0])
        place = (rim - begin) @ along / length
        near = rim[(np.abs(away) < 4) & (place > 0.1) & (place < 0.9)]
        if len(near) < 4:
            return None
        centre = near.mean(0)
        direction = np.linalg.svd(near - centre, full_matrices=False)[2][0]
        lines.append((centre, direction))
    corners = [_meet(lines[i - 1], lines[i]) for i in range(4)]
    if any(corner is None for corner in corners):
        return None
    return _from_upper_left(np.array(corners))


def _meet(one: tuple[Points, Points], other: tuple[Points, Points]) -> Points | None:
    """Where two lines meet, None where they hardly do."""
    matrix = np.stack([one[1], -other[1]], 1)
    if abs(np.linalg.det(matrix)) < 0.2:
        return None
    place: Points = one[0] + one[1] * np.linalg.solve(matrix, other[0] - one[0])[0]
    return place


def _from_upper_left(corners: Points) -> Points:
    """Clockwise on the picture, the corner nearest to the upper left first."""
    centre = corners.mean(0)
    order = np.argsort(np.arctan2(*(corners - centre).T[::-1]))
    ordered = corners[order]
    return np.roll(ordered, -int(ordered.sum(1).argmin()), 0)


def _area(corners: Points) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = corners.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _overlap(part: Mask, corners: Points) -> float:
    """Intersection over union of the part and the quadrilateral."""
    image = Image.new("1", (part.shape[1], part.shape[0]))
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=1, outline=1)
    drawn = np.asarray(image)
    return float((part & drawn).sum() / (part | drawn).sum())


def _has_corners(part: Mask, corners: Points) -> bool:
    """Whether each corner lies within the picture, and the part reaches into it."""
    height, width = part.shape
    centre = corners.mean(0)
    for corner in corners:
        # A little inside: the film's own corners are rounded.
        x, y = np.rint(corner + _INTO_CORNER * (centre - corner)).astype(int)
        if not (0 <= x < width and 0 <= y < height and part[y, x]):
            return False
    return True


def _sides(corners: Points) -> tuple[int, int]:
    """(width, height) of the straightened film: the longer of each two opposite sides."""
    lengths = np.hypot(*(np.roll(corners, -1, 0) - corners).T)
    width, height = max(lengths[0], lengths[2]), max(lengths[1], lengths[3])
    scale = min(1.0, _LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _perspective(size: tuple[int, int], corners: Points) -> list[float]:
    """Pillow's eight coefficients of the map from the straightened film to the photograph."""
    width, height = size
    flat = [(0, 0), (width, 0), (width, height), (0, height)]
    rows, values = [], []
    for (x, y), (u, v) in zip(flat, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solved: list[float] = np.linalg.solve(np.array(rows, float), np.array(values, float)).tolist()
    return solved


def _refuse_glare(film: Grey) -> None:
    """Raise where a white spot lies within the film, away from its clear rim."""
    small = _small(film)
    height, width = small.shape
    rim_y, rim_x = round(_INNER * height), round(_INNER * width)
    labels = _label(small >= _SATURATED)
    inner = labels[rim_y : height - rim_y, rim_x : width - rim_x]
    sizes = np.bincount(inner.ravel())[1:]
    if sizes.size and sizes.max() > _GLARE_SHARE * small.size:
        raise PhotographError("film_glare", "a reflection lies on the film")
