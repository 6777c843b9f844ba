"""Draws precision against recall, for rules at every threshold that they could have."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from judged import Verdicts
from matplotlib.axes import Axes
from numpy.typing import NDArray
from plain_figure import finish_axes, plain_figure, save_figure

_SIZE_INCHES: Final = (8.4, 4.1)


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve, and the rules that are points on it, one and the same but for the threshold.

    `is_faint`: it is dashed, and its thresholds are not named. Others are named `above` their point
    or below it.
    """

    label: str
    colour: str
    rules: Sequence[Verdicts]
    above: bool = False
    is_faint: bool = False


def draw_curves(path: Path, panels: dict[str, tuple[NDArray[np.bool_], Sequence[Curve]]]) -> None:
    """Draw panels side by side, each with what its pairs are; the legend is that of the first."""
    figure = plain_figure(_SIZE_INCHES)
    for axes, (title, (is_duplicate, curves)) in zip(
        figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
    ):
        for curve in curves:
            _draw(axes, curve, is_duplicate)
        _finish(axes, title)
    figure.axes[0].set_ylabel("precision")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)


def _draw(axes: Axes, curve: Curve, is_duplicate: NDArray[np.bool_]) -> None:
    thresholds, precision, recall = curve.rules[0].curve(is_duplicate)
    axes.plot(
        recall,
        precision,
        color=curve.colour,
        label=curve.label,
        linewidth=1.2 if curve.is_faint else 1.8,
        linestyle="--" if curve.is_faint else "-",
    )
    for rule in curve.rules:
        reached = int((thresholds >= rule.threshold).sum()) - 1
        point = recall[reached], precision[reached]
        axes.plot(
            *point,
            color=curve.colour,
            marker="o",
            markersize=5,
            markerfacecolor="white" if curve.is_faint else curve.colour,
        )
        if curve.is_faint:
            continue
        axes.annotate(
            f"\u2265 {rule.threshold:.2f}",
            point,
            xytext=(0, 9) if curve.above else (-5, -11),
            textcoords="offset points",
            ha="center" if curve.above else "right",
            fontsize=8,
            color=curve.colour,
        )


def _finish(axes: Axes, title: str) -> None:
    finish_axes(axes, title)
    axes.set_xlabel("recall")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.08)
    axes.set_yticks(axes.get_xticks()[:6])
    axes.spines[:].set_visible(False)
