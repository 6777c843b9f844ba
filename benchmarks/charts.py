"""The charts in the docs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from measure import Cost
from scored import Library, Scored

_INK, _GREY, _GRID = "#24292f", "#6e7781", "#d8dee4"
_BLUE, _ORANGE, _PURPLE = "#0b6bcb", "#c2571a", "#7a5bb5"
_GROWTH_STYLES: Final = ((_BLUE, "-"), (_BLUE, "--"), (_GREY, "-"), (_ORANGE, "-"), (_PURPLE, "-"))

mpl.rc("font", size=9)
mpl.rc("text", color=_INK)
mpl.rc("lines", linewidth=1.8, markersize=5)
mpl.rc("axes", labelcolor=_INK, edgecolor=_GRID, grid=True)
mpl.rc("axes", titlelocation="left", titlesize=10, titleweight="bold")
mpl.rc("axes.spines", top=False, right=False, left=False)
mpl.rc("grid", color=_GRID)
for _ticks in ("xtick", "ytick"):
    mpl.rc(_ticks, color=_INK)
    mpl.rc(f"{_ticks}.major", size=0)
mpl.rc("legend", frameon=False)
mpl.rc("savefig", dpi=200)


def draw_precision_recall(
    path: Path, panels: Mapping[str, tuple[Library, Sequence[Scored]]]
) -> None:
    """Draw precision against recall, one panel per library; points are the thresholds in use."""
    figure = Figure((8.4, 4.1), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (title, (library, methods)) in zip(all_axes, panels.items(), strict=True):
        axes.set(title=title, xlabel="recall", xlim=(0, 1.02), ylim=(0, 1.08))
        ms_ssim, best, *fitted, calibrated = methods
        _draw_curve(axes, library, [ms_ssim, best], _ORANGE, "MS-SSIM")
        for method in fitted:
            _, precision, recall = method.curve(library.is_duplicate)
            label = f"{method.name}, fitted to these pairs"
            axes.plot(recall, precision, "--", color=_BLUE, label=label)
        _draw_curve(axes, library, [calibrated], _BLUE, "calibrated, not fitted")
    all_axes[0].set_ylabel("precision")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.savefig(path)


def _draw_curve(
    axes: Axes, library: Library, methods: Sequence[Scored], colour: str, label: str
) -> None:
    """Draw the curve of methods that differ only in their threshold, and a point for each."""
    thresholds, precision, recall = methods[0].curve(library.is_duplicate)
    axes.plot(recall, precision, color=colour, label=label)
    for method in methods:
        last = max(int((thresholds >= method.threshold).sum()) - 1, 0)
        point = recall[last], precision[last]
        axes.plot(*point, color=colour, marker="o")
        _annotate(axes, f"\u2265 {method.threshold:.2f}", point, (-28, -12), colour)


def draw_growth(path: Path, sizes: Sequence[int], lines: Mapping[str, Sequence[Cost]]) -> None:
    """Draw seconds and peak megabytes of runs against the number of files, both logarithmic."""
    figure = Figure((8.4, 4.1), layout="constrained")
    panels: dict[str, Callable[[Cost], float]] = {
        "Seconds of a run": lambda cost: cost.wall_s,
        "Peak memory, MB": lambda cost: cost.peak_bytes / 1e6,
    }
    all_axes = figure.subplots(1, len(panels))
    for axes, (title, value_of) in zip(all_axes, panels.items(), strict=True):
        axes.set(title=title, xlabel="files in the library", xscale="log", yscale="log")
        for (label, costs), (colour, style) in zip(lines.items(), _GROWTH_STYLES, strict=False):
            values = [value_of(cost) for cost in costs]
            axes.plot(sizes, values, style, color=colour, marker="o", label=label)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,.10g}")
        axes.minorticks_off()
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3)
    figure.savefig(path)


def _annotate(
    axes: Axes,
    text: str,
    point: tuple[float, float],
    offset: tuple[float, float],
    colour: str,
) -> None:
    axes.annotate(
        text, point, offset, textcoords="offset points", color=colour, annotation_clip=False
    )
