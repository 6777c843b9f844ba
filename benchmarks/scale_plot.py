"""Draws how time and memory of a night grow with the library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from plain_figure import finish_axes, plain_figure, save_figure

if TYPE_CHECKING:
    from scale import Library

_SIZE_INCHES: Final = (8.0, 3.2)
_COLOURS: Final = {"calibrated": "#0b6bcb", "threshold": "#7a5bb5", "nothing new": "#c2571a"}


def draw_growth(path: Path, libraries: list[Library]) -> None:
    """Draw the curves of nights with new files, by each decision, and of one with nothing new.

    That one decides nothing: it is drawn for the first decision only.
    """
    libraries = sorted(libraries, key=lambda library: library.files)
    methods = list(dict.fromkeys(library.method for library in libraries))
    by_method = {
        method: [each for each in libraries if each.method == method] for method in methods
    }
    nights = {
        method: [each.with_new_files.cost for each in its] for method, its in by_method.items()
    }
    nights["nothing new"] = [each.with_nothing_new.cost for each in by_method[methods[0]]]
    counts = sorted({library.files for library in libraries})
    new_files = libraries[0].with_new_files.report["files"]["new"]
    figure = plain_figure(_SIZE_INCHES)
    time, memory = figure.subplots(1, 2)
    for label, costs in nights.items():
        colour = _COLOURS[label]
        _draw_line(time, counts, [cost.wall_s for cost in costs], label, colour)
        _draw_line(memory, counts, [cost.peak_bytes / 1e6 for cost in costs], label, colour)
    _finish(time, counts, f"Time of a night with {new_files} new files, or none", "s")
    _finish(memory, counts, "Peak memory", "MB")
    save_figure(figure, path)


def _draw_line(axes: Axes, counts: list[int], values: list[float], label: str, colour: str) -> None:
    axes.plot(counts, values, color=colour, marker="o", markersize=4, linewidth=1.8)
    last = values[-1]
    axes.annotate(
        f"{label}, {last:.1f}" if last < 10 else f"{label}, {last:.0f}",
        (counts[-1], last),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        annotation_clip=False,
    )


def _finish(axes: Axes, counts: list[int], title: str, unit: str) -> None:
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("files in the library")
    finish_axes(axes, f"{title}, {unit}", grid="y")
    axes.margins(x=0.08, y=0.15)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
