"""The look of the pictures in the docs."""

from pathlib import Path
from typing import Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# At such a size a README shows the picture as it is, two image pixels to one of a fine screen.
_DOTS_PER_INCH: Final = 200
_INK, _GRID = "#24292f", "#d8dee4"


def plain_figure(size_inches: tuple[float, float]) -> Figure:
    """Begin a figure of this width and height."""
    mpl.rc("font", size=9)
    mpl.rc("text", color=_INK)
    mpl.rc("axes", labelcolor=_INK, edgecolor=_GRID)
    mpl.rc("xtick", color=_INK)
    mpl.rc("ytick", color=_INK)
    return Figure(size_inches, layout="constrained", facecolor="white")


def finish_axes(axes: Axes, title: str, grid: Literal["both", "x", "y"] = "both") -> None:
    """Give axes their title and grid."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.tick_params(length=0)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, as the name of the path says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
