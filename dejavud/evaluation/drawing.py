"""What all pictures share: matplotlib, if it is there, a size in pixels, and one set of colours."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from dejavud.evaluation.failures import PlotsMissing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, PAPER = "#1d2433", "#c9ced8", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#2f6fdb", "#e8852b", "#2a9d6f", "#d1495b"
LINES = (BLUE, ORANGE, GREEN, RED, "#8661c1", "#c2952b", "#3aa6b9", "#7a4b2a", "#d46aa8", "#6b7280")
MARKERS = "osD^vP*Xph"
_DPI = 160


def require_drawing() -> None:
    """Return where pictures can be drawn; raises `PlotsMissing`."""
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise PlotsMissing(reason=str(error)) from error


def new_figure(width_px: int, height_px: int) -> Figure:
    """Return an empty figure of this size; figures belong to whoever made them, nothing is kept behind the scenes."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - see require_drawing

    return Figure(figsize=(width_px / _DPI, height_px / _DPI), dpi=_DPI, layout="constrained", facecolor=PAPER)


def new_axes(figure: Figure, *, x: str, y: str, title: str = "") -> Axes:
    """Return the axes of a chart that has one."""
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    if title:
        axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(visible=True, color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    return axes


def as_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file of exactly its size."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        return file.getvalue()
