"""The charts in the docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measure import Cost
from scored import Library, Scored

_DOTS_PER_INCH: Final = 200
_INK, _GRID = "#24292f", "#d8dee4"
_BLUE, _ORANGE, _PURPLE = "#0b6bcb", "#c2571a", "#7a5bb5"
_GROWTH_COLOURS: Final = {"calibrated": _BLUE, "threshold": _PURPLE, "nothing new": _ORANGE}


def draw_precision_recall(
    path: Path, panels: Mapping[str, tuple[Library, Sequence[Scored]]]
) -> None:
    """Draw precision against recall, one panel per library; points are the thresholds in use."""
    figure = _figure((8.4, 4.1))
    for axes, (title, (library, methods)) in zip(
        figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        ms_ssim, best, *others = methods
        _draw_curve(axes, library, [ms_ssim, best], _ORANGE, "MS-SSIM", dashed=False)
        for method in others:
            dashed = len(others) > 1 and method is others[0]
            label = f"{method.name}, fitted to these pairs" if dashed else "calibrated, not fitted"
            _draw_curve(axes, library, [method], _BLUE, label, dashed=dashed)
        _finish(axes, title, "recall")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.08)
        axes.spines[:].set_visible(False)
    figure.axes[0].set_ylabel("precision")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def _draw_curve(
    axes: Axes,
    library: Library,
    methods: Sequence[Scored],
    colour: str,
    label: str,
    *,
    dashed: bool,
) -> None:
    """Draw the curve of methods that differ only in their threshold, and a point for each."""
    thresholds, precision, recall = methods[0].curve(library.is_duplicate)
    axes.plot(recall, precision, "--" if dashed else "-", color=colour, label=label)
    for method in methods:
        last = max(int((thresholds >= method.threshold).sum()) - 1, 0)
        point = recall[last], precision[last]
        fill = "white" if dashed else colour
        axes.plot(*point, color=colour, marker="o", markersize=5, markerfacecolor=fill)
        if not dashed:
            text, offset = f"\u2265 {method.threshold:.2f}", (-5, -11)
            _annotate(axes, text, point, colour, offset, ha="right", fontsize=8)


def draw_growth(path: Path, counts: Sequence[int], lines: Mapping[str, Sequence[Cost]]) -> None:
    """Draw seconds and peak megabytes of nightly runs against the number of files."""
    figure = _figure((8.0, 3.2))
    panels: dict[str, Callable[[Cost], float]] = {
        "Seconds of a nightly run": lambda cost: cost.wall_s,
        "Peak memory, MB": lambda cost: cost.peak_bytes / 1e6,
    }
    for axes, (title, value_of) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for label, costs in lines.items():
            values = [value_of(cost) for cost in costs]
            colour = _GROWTH_COLOURS[label]
            axes.plot(counts, values, color=colour, marker="o", markersize=4)
            text = f"{label}, {values[-1]:.{1 if values[-1] < 10 else 0}f}"
            _annotate(axes, text, (counts[-1], values[-1]), colour, (8, 0), va="center")
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        _finish(axes, title, "files in the library")
        axes.margins(x=0.08, y=0.15)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    _save(figure, path)


def _annotate(
    axes: Axes,
    text: str,
    point: tuple[float, float],
    colour: str,
    offset: tuple[float, float],
    **style: Any,
) -> None:
    axes.annotate(
        text,
        point,
        xytext=offset,
        textcoords="offset points",
        color=colour,
        annotation_clip=False,
        **style,
    )


def _figure(size_inches: tuple[float, float]) -> Figure:
    mpl.rc("font", size=9)
    mpl.rc("text", color=_INK)
    mpl.rc("lines", linewidth=1.8)
    mpl.rc("axes", labelcolor=_INK, edgecolor=_GRID)
    mpl.rc("xtick", color=_INK)
    mpl.rc("ytick", color=_INK)
    return Figure(size_inches, layout="constrained", facecolor="white")


def _finish(axes: Axes, title: str, x_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(x_label)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.tick_params(length=0)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
