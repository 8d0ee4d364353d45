"""The lungs' map in their box, at one size for all pictures.

A map of logits and a box enter, probabilities in a square grid leave: the shape of the lungs,
whatever their place and size. Input gate and quality look at it.
"""

import numpy as np
import numpy.typing as npt

from edge_app.images.lung_box import Floats, LungBox
from edge_app.images.lung_frame import WHOLE
from edge_app.statistics.logistic import sigmoids

GRID = 16  # cells a side


def lungs_in_box(lungs: Floats, box: LungBox | None) -> Floats:
    """The map's probabilities in the lungs' box, float32 (`GRID`, `GRID`)."""
    extent = box or WHOLE
    at = (np.arange(GRID) + 0.5) / GRID
    rows = (extent.top + extent.height * at) * lungs.shape[0]
    columns = (extent.left + extent.width * at) * lungs.shape[1]
    cells = np.ix_(_cells(rows, lungs.shape[0]), _cells(columns, lungs.shape[1]))
    return sigmoids(lungs[cells]).astype(np.float32)


def _cells(places: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    return np.clip(places.astype(np.intp), 0, count - 1)
