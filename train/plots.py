"""Pictures of figures, as PNG files. Matplotlib is imported when the first one is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.files.whole import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT_OUT = ("epoch", "step", "images_per_s")


def draw_curves(history: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Losses and validation AUROC by epoch."""
    epochs = [row["epoch"] for row in history]
    names = [name for name in history[0] if name not in LEFT_OUT]
    with figure(path, 2, 1) as (losses, aurocs):
        for name in names:
            axes = aurocs if name.startswith("val_") else losses
            axes.plot(epochs, [row[name] for row in history], marker=".", label=name)
        losses.set_title(title)
        losses.set_ylabel("loss")
        aurocs.set_ylabel("AUROC")
        aurocs.set_xlabel("epoch")
        for axes in (losses, aurocs):
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
