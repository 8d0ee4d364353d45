"""Pictures of figures, as PNG files. Matplotlib is imported when the first one is drawn."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.files.whole import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT_OUT = ("epoch", "step", "images_per_s")


def draw_curves(history: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Losses, of training and of the held-out pictures, and the held-out figures by epoch."""
    epochs = [row["epoch"] for row in history]
    # A run that an earlier version began has fewer figures in its first rows.
    names = [name for name in history[-1] if name not in LEFT_OUT]
    with figure(path, 2, 1) as (losses, figures):
        for name in names:
            axes = losses if "loss" in name or not name.startswith("val_") else figures
            values = [row.get(name, math.nan) for row in history]
            axes.plot(epochs, values, marker=".", label=name)
        losses.set_title(title)
        losses.set_ylabel("loss")
        figures.set_ylabel("held-out pictures")
        figures.set_xlabel("epoch")
        for axes in (losses, figures):
            axes.grid(alpha=0.3)
            axes.legend()


@contextmanager
def figure(path: Path, rows: int, columns: int, height: float = 3.6) -> Iterator[Sequence["Axes"]]:
    """Axes to draw into, row by row, `height` inches each; the file appears whole at the end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: it keeps global state and looks for a screen.
    drawing = Figure(figsize=(6.4 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(drawing)
    yield list(drawing.subplots(rows, columns, squeeze=False).flat)
    # Without the library's name the same figures give the same file.
    with whole(path) as partial:
        drawing.savefig(partial, format="png", dpi=120, metadata={"Software": None})
