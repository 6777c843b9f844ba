"""The charts in the docs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measure import Cost
from scored import Library, Scored

_INK, _GRID = "#24292f", "#d8dee4"
_BLUE, _ORANGE, _PURPLE = "#0b6bcb", "#c2571a", "#7a5bb5"
_GROWTH_COLOURS: Final = {"calibrated": _BLUE, "threshold": _PURPLE, "nothing new": _ORANGE}

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


def draw_growth(path: Path, counts: Sequence[int], lines: Mapping[str, Sequence[Cost]]) -> None:
    """Draw seconds and peak megabytes of nightly runs against the number of files."""
    figure = Figure((8.0, 3.2), layout="constrained")
    panels: dict[str, Callable[[Cost], float]] = {
        "Seconds of a nightly run": lambda cost: cost.wall_s,
        "Peak memory, MB": lambda cost: cost.peak_bytes / 1e6,
    }
    for axes, (title, value_of) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.set(title=title, xlabel="files in the library", xscale="log")
        for label, costs in lines.items():
            values = [value_of(cost) for cost in costs]
            colour = _GROWTH_COLOURS[label]
            axes.plot(counts, values, color=colour, marker="o")
            text = f"{label}, {values[-1]:,.1f}"
            _annotate(axes, text, (counts[-1], values[-1]), (8, -3), colour)
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.margins(x=0.08, y=0.15)
        axes.set_ylim(bottom=0)
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
