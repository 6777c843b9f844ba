"""Fit the model of the calibrated decision to a labelled library, and see how well it does.

    python benchmarks/calibrate.py PATH [--write]

PATH is a folder with `files.json` and `thumbs/`, whose rows tell `base` and `source`. Prints the
precision and recall that the model has on files whose sources it was not fitted to; with `--write`,
puts the model fitted to all of them into the package.

Pairs are left out by source, never by file: copies of one picture on both sides of a division
would show how well the model remembers, not how well it decides. Of five parts of the sources, a
pair is judged by a model that was fitted to pairs of neither of its files' parts. The division is
drawn anew several times; the spread between the draws is printed, too.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from labelled import LabelledPairs, load_labelled
from measured import SHIPPED_CONFIG
from numpy.typing import NDArray
from table import print_table, to_three

import hydindex
from hydindex.config import config_file
from hydindex.matching.calibrated.features import Floats
from hydindex.matching.calibrated.fitting import drawn_parts, fit_model, judged_by_others
from hydindex.matching.calibrated.model import SHIPPED, CalibratedModel
from hydindex.matching.calibrated.probability import probabilities

DRAWS: Final = 10
GATE: Final = 0.1
GOAL_PRECISION: Final = 0.98
GOAL_RECALL: Final = 0.95


def main() -> None:
    options = _options()
    config = config_file.load(SHIPPED_CONFIG)
    pairs = LabelledPairs.of(load_labelled(options.path), config)
    threshold = config.decision.min_probability
    rows: list[tuple[float, ...]] = []
    for draw in range(DRAWS):
        likely = cross_validated(pairs, draw)
        precision, recall = precision_recall(pairs, likely >= threshold)
        best_recall, best_precision = at_goals(pairs, likely)
        rows.append((precision, recall, best_recall, best_precision))
    means: list[float] = np.mean(rows, axis=0).tolist()
    print_table(
        f"Judged by models fitted to other sources: {len(pairs.first):,} candidates, "
        f"{pairs.labelled} duplicates.",
        (
            *("draw", f"precision at {threshold:g}", "recall"),
            *(f"recall at precision {GOAL_PRECISION}", f"precision at recall {GOAL_RECALL}"),
        ),
        [(str(draw), *map(to_three, row)) for draw, row in (*enumerate(rows), ("mean", means))],
    )
    model = fitted_model(
        pairs,
        np.ones(len(pairs.first), np.bool_),
        cross_validated={"precision": round(means[0], 4), "recall": round(means[1], 4)},
    )
    print(f"\n{model.to_json()}")
    if options.write:
        path = Path(hydindex.__file__).with_name("matching") / "calibrated" / SHIPPED
        path.write_text(model.to_json(), encoding="utf-8")
        print(f"written to {path.name}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, help="folder with files.json and thumbs/")
    parser.add_argument("--write", action="store_true", help="replace the shipped model")
    return parser.parse_args()


def fitted_model(pairs: LabelledPairs, which: NDArray[np.bool_], **fitted: Any) -> CalibratedModel:
    """Fit a model to some of the pairs."""
    terms = {name: values[which] for name, values in pairs.terms().items()}
    return fit_model(terms, pairs.is_duplicate[which], gate=GATE, **fitted)


def cross_validated(
    pairs: LabelledPairs,
    draw: int,
    second_look: Callable[[Floats, CalibratedModel], Floats] = lambda likely, _model: likely,
) -> Floats:
    """Give every pair the probability that a model gives it which knows neither of its sources.

    A pair that the gate keeps out has none: 0. `second_look` may judge pairs anew, by the same
    model.
    """

    def judge(others: NDArray[np.bool_]) -> Floats:
        model = fitted_model(pairs, others)
        likely = probabilities(pairs.evidence, model)
        likely[pairs.evidence.structure_8px < GATE] = 0.0
        return second_look(likely, model)

    sources = [each.source for each in pairs.files]
    names = sorted(set(sources))
    part_of = dict(zip(names, drawn_parts(len(names), draw), strict=True))
    parts = np.array([part_of[source] for source in sources])
    return judged_by_others(parts[pairs.first], parts[pairs.second], judge)


def precision_recall(pairs: LabelledPairs, matches: NDArray[np.bool_]) -> tuple[float, float]:
    """Tell how many of the matches are duplicates, and how many duplicates are matches."""
    right = int((matches & pairs.is_duplicate).sum())
    return right / max(1, int(matches.sum())), right / pairs.labelled


def at_goals(pairs: LabelledPairs, likely: NDArray[np.float64]) -> tuple[float, float]:
    """Tell the best recall at the precision that is the goal, and the other way round."""
    order = np.argsort(-likely, kind="stable")
    right = np.cumsum(pairs.is_duplicate[order])
    precision, recall = right / np.arange(1, len(order) + 1), right / pairs.labelled
    best_recall = recall[precision >= GOAL_PRECISION].max(initial=0.0)
    best_precision = precision[recall >= GOAL_RECALL].max(initial=0.0)
    return float(best_recall), float(best_precision)


if __name__ == "__main__":
    main()
