"""Measure precision and recall on labelled libraries.

    python benchmarks/accuracy.py PATH [--config PATH] [--plot docs/images/accuracy.png]

PATH is the library that the shipped model was fitted to: a folder with `files.json` and `thumbs/`.
There, the method `calibrated` is also cross-validated by source. Then follow generated libraries to
which nothing was fitted (see `second_library.py`). The config is the shipped one unless `--config`
names another; the method `threshold` with MS-SSIM is measured beside it, at the threshold 0.6 and
at the threshold that does best on PATH. Frame verification is left out (see `frames.py`).
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from labelled import (
    DIVISIONS,
    NO_SCORE,
    Bools,
    Candidates,
    Floats,
    LabelledFile,
    LabelledPairs,
    load_labelled,
    run_on_library,
    scores_by_config,
    threshold_scores,
)
from measure import SHIPPED_CONFIG, print_table
from scored import Library, Scored
from second_library import second_library, title_cards, unrelated_library

from hydindex.config import config_file
from hydindex.config.settings import Config

SEEDS: Final = (11, 21, 31)
SEED_THRESHOLD: Final = 0.6
INFORMATION_BANDS: Final = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, math.inf)
"""In nats per pixel."""


def main() -> None:
    options = _options()
    if options.path is None:
        print("\naccuracy: skipped (it needs a labelled library: make bench CORPUS=PATH)")
        return
    config = config_file.load(options.config)
    files = load_labelled(options.path)
    corpus, candidates = score(files, options.config, config)
    cross_validated = Scored(
        "calibrated, cross-validated",
        np.stack([candidates.in_all(candidates.cross_validated(n)) for n in range(DIVISIONS)]),
        config.decision.min_probability,
    )
    best = corpus.best_ms_ssim.threshold
    print(f"{len(candidates):,} candidates")
    show_methods(options.path.name, corpus, [*corpus.methods, cross_validated])
    print(
        f"The best threshold was chosen on these pairs, and the shipped model fitted to them.\n"
        f"Cross-validated: means of {DIVISIONS} divisions, {_range(cross_validated, corpus)}."
    )
    show_recall(corpus, [*corpus.methods, cross_validated])

    seconds = [score(second_library(seed), options.config, config, best)[0] for seed in SEEDS]
    second = combined(seconds)
    show_methods(f"Second library, seeds {SEEDS}", second, second.methods)
    show_losses(second)
    cards, _ = score(title_cards(), options.config, config, best)
    show_methods("Title cards", cards, cards.methods)
    show_information(combined([corpus, second]))
    show_unrelated(config, options.config, options.unrelated)
    if options.plot is not None:
        from charts import draw_precision_recall

        panels = {
            "The library of the shipped model": (corpus, [*corpus.methods, cross_validated]),
            "Libraries to which nothing was fitted": (second, second.methods),
        }
        draw_precision_recall(options.plot, panels)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    parser.add_argument("--config", type=Path, default=SHIPPED_CONFIG, help="config to measure")
    parser.add_argument("--unrelated", type=int, default=2000, help="number of unrelated videos")
    parser.add_argument("--plot", type=Path, help="draw precision against recall, as PNG")
    return parser.parse_args()


def score(
    files: Sequence[LabelledFile], config_path: Path, config: Config, best: float | None = None
) -> tuple[Library, Candidates]:
    """Score all pairs of a library. `best`: a threshold for MS-SSIM; None: choose it here."""
    pairs = LabelledPairs.of(files)
    candidates = Candidates.of(pairs, config)
    information = candidates.in_all(candidates.features["information"])
    ms_ssim = Scored(f"MS-SSIM >= {SEED_THRESHOLD}", _scores(pairs, config_path), SEED_THRESHOLD)
    if best is None:
        thresholds, precision, recall = ms_ssim.curve(pairs.is_duplicate)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        best = float(thresholds[f1.argmax()])
    decision = config.decision
    calibrated = decision.method == "calibrated"
    threshold = decision.min_probability if calibrated else config.similarity_threshold
    scores = scores_by_config(pairs, candidates, config, config_path)
    return Library(
        pairs.is_duplicate,
        pairs.alteration,
        is_candidate=information > NO_SCORE if calibrated else scores > NO_SCORE,
        information=information,
        ms_ssim=ms_ssim,
        best_ms_ssim=Scored(f"MS-SSIM >= {best:.3f} (best)", ms_ssim.scores, best),
        configured=Scored(f"{decision.method} >= {threshold:g}", scores[None], threshold),
    ), candidates


def _scores(pairs: LabelledPairs, config_path: Path) -> Floats:
    return threshold_scores(pairs, config_path)[None]


def combined(libraries: Sequence[Library]) -> Library:
    """Combine the pairs of libraries; there are no pairs across libraries."""
    columns: list[Any] = []
    for values in zip(*libraries, strict=True):
        if isinstance(values[0], Scored):
            scores = np.concatenate([each.scores for each in values], axis=1)
            columns.append(Scored(values[0].name, scores, values[0].threshold))
        else:
            columns.append(np.concatenate(values))
    return Library(*columns)


def show_methods(title: str, library: Library, methods: Sequence[Scored]) -> None:
    duplicates = library.is_duplicate
    rows = []
    for method in methods:
        qualities = method.qualities(duplicates)
        means = [np.mean([getattr(q, key) for q in qualities]) for key in _QUALITY]
        right, wrong = method.count(duplicates), method.count(~duplicates)
        rows.append((method.name, f"{right:.1f}", f"{wrong:.1f}", *(f"{v:.3f}" for v in means)))
    print_table(
        f"{title}: {len(duplicates):,} pairs, {duplicates.sum():,} duplicates.",
        ("method", "right", "wrong", *_QUALITY),
        rows,
    )


_QUALITY: Final = ("precision", "recall", "f1")


def _range(method: Scored, library: Library) -> str:
    qualities = method.qualities(library.is_duplicate)
    ranges = []
    for key in ("precision", "recall"):
        values = [getattr(each, key) for each in qualities]
        ranges.append(f"{key} {min(values):.3f} to {max(values):.3f}")
    return ", ".join(ranges)


def _by_alteration(library: Library) -> dict[str, Bools]:
    """Return the duplicates of each alteration, pairs of two altered copies last."""
    names = sorted(set(library.alteration[library.is_duplicate]) - {"two"})
    return {name: library.is_duplicate & (library.alteration == name) for name in (*names, "two")}


def show_recall(library: Library, methods: Sequence[Scored]) -> None:
    print_table(
        "Recall by alteration (two: both files are altered).",
        ("alteration", "pairs", *(method.name for method in methods)),
        [
            (name, int(mask.sum()), *(f"{m.count(mask) / mask.sum():.3f}" for m in methods))
            for name, mask in _by_alteration(library).items()
        ],
    )


def show_losses(library: Library) -> None:
    rows = []
    for name, mask in _by_alteration(library).items():
        found = int(library.configured.count(mask))
        candidates = int((mask & library.is_candidate).sum())
        duplicates = int(mask.sum())
        rows.append((name, duplicates, found, duplicates - candidates, candidates - found))
    print_table(
        f"Duplicates by alteration, {library.configured.name}.",
        ("alteration", "pairs", "found", "not candidates", "rejected"),
        rows,
    )


def show_information(library: Library) -> None:
    wrong_by = (library.best_ms_ssim, library.configured)
    rows = []
    for low, high in pairwise(INFORMATION_BANDS):
        in_band = (library.information >= low) & (library.information < high)
        unrelated, duplicates = in_band & ~library.is_duplicate, in_band & library.is_duplicate
        counts = [int(each.count(unrelated)) for each in wrong_by]
        found = int(library.configured.count(duplicates))
        band = f"{low:g} to {high:g}"
        rows.append((band, int(unrelated.sum()), *counts, int(duplicates.sum()), found))
    print_table(
        "All candidates by information, in nats per pixel, of the emptier picture.",
        (
            "information",
            "unrelated",
            *(f"wrong, {e.name}" for e in wrong_by),
            "duplicates",
            "found",
        ),
        rows,
    )


def show_unrelated(config: Config, config_path: Path, count: int) -> None:
    """Count matches among unrelated videos of equal duration and shape; all of them are wrong."""
    files = unrelated_library(count)
    threshold = {"decision": {"method": "threshold"}, "similarity_threshold": SEED_THRESHOLD}
    rows = []
    for name, changes in (
        (config.decision.method, {}),
        (f"MS-SSIM >= {SEED_THRESHOLD}", threshold),
    ):
        with tempfile.TemporaryDirectory() as folder:
            counts = run_on_library(files, Path(folder), changes, config_path)["pairs"]
        per_million = counts["matched"] / max(1, counts["candidates"]) * 1e6
        rows.append((name, counts["candidates"], counts["matched"], per_million))
    print_table(
        f"{count:,} unrelated videos.",
        ("method", "candidates", "wrong matches", "per million candidates"),
        rows,
    )


if __name__ == "__main__":
    main()
