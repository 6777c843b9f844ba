"""Measure precision and recall on labelled libraries.

    python benchmarks/accuracy.py PATH [--videos PATH] [--config PATH] [--plot FILE]

PATH and `--videos` are the libraries that the shipped model was fitted to (see `calibrate.py`). In
PATH, the method `calibrated` is also cross-validated by source. Then follow generated libraries to
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
from typing import Final

import numpy as np
from labelled import (
    DIVISIONS,
    NO_SCORE,
    ORIGINAL_METHOD,
    Bools,
    Candidates,
    load_labelled,
    mean_and_range,
    run_on_library,
    threshold_scores,
)
from measure import SHIPPED_CONFIG, print_table
from scored import Library, Scored
from second_library import second_library, title_cards, unrelated_library

from hydindex.config import config_file
from hydindex.matching.calibrated.model import load_model

SEEDS: Final = (11, 21, 31)
SEED_THRESHOLD: Final = 0.6
INFORMATION_BANDS: Final = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, math.inf)
"""In nats per pixel."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    parser.add_argument("--videos", type=Path, help="such a folder, of whole videos")
    parser.add_argument("--config", type=Path, default=SHIPPED_CONFIG, help="config to measure")
    parser.add_argument("--plot", type=Path, help="draw precision against recall, as PNG")
    options = parser.parse_args()
    if options.path is None:
        print("\naccuracy: skipped (it needs a labelled library: make bench CORPUS=PATH)")
        return
    config = config_file.load(options.config)
    videos = Candidates.of(load_labelled(options.videos), config) if options.videos else None
    candidates = Candidates.of(load_labelled(options.path), config, videos)
    corpus = score(candidates, options.config)
    cross_validated = Scored(
        "calibrated, cross-validated",
        np.stack([candidates.in_all(candidates.cross_validated(n)) for n in range(DIVISIONS)]),
        config.decision.min_probability,
    )
    methods = [*corpus.methods, cross_validated]
    show_methods(
        f"{options.path.name}, {candidates.is_candidate.sum():,} candidates", corpus, methods
    )
    qualities = cross_validated.qualities(corpus.is_duplicate)
    print(
        f"The best threshold was chosen on these pairs, and the shipped model fitted to them.\n"
        f"Cross-validated: means of {DIVISIONS} divisions, precision "
        f"{mean_and_range([each.precision for each in qualities])}, recall "
        f"{mean_and_range([each.recall for each in qualities])}."
    )
    show_recall(corpus, methods)

    best = corpus.methods[1].threshold
    second = Library.combined(
        [score(Candidates.of(second_library(seed), config), options.config, best) for seed in SEEDS]
    )
    show_methods(f"Second library, seeds {SEEDS}", second, second.methods)
    show_losses(second)
    cards = score(Candidates.of(title_cards(), config), options.config, best)
    show_methods(f"Title cards, {cards.is_candidate.sum():,} candidates", cards, cards.methods)
    show_information(Library.combined([corpus, second]))
    show_unrelated(options.config)
    if options.plot is not None:
        from charts import draw_precision_recall

        panels = {
            "The library of the shipped model": (corpus, methods),
            "Libraries to which nothing was fitted": (second, second.methods),
        }
        draw_precision_recall(options.plot, panels)


def score(candidates: Candidates, config_path: Path, best: float | None = None) -> Library:
    """Score all pairs by MS-SSIM with two thresholds and by a config.

    `best`: the second threshold; None: the one with the highest F1 here.
    """
    pairs = candidates.pairs
    ms_ssim = Scored(
        f"MS-SSIM >= {SEED_THRESHOLD}", threshold_scores(pairs, config_path)[None], SEED_THRESHOLD
    )
    if best is None:
        thresholds, precision, recall = ms_ssim.curve(pairs.is_duplicate)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        best = float(thresholds[f1.argmax()])
    information = candidates.in_all(
        np.where(candidates.is_candidate, candidates.features["information"], NO_SCORE)
    )
    config = config_file.load(config_path)
    decision = config.decision
    if decision.method == "calibrated":
        threshold = decision.min_probability
        scores = candidates.in_all(candidates.scores(load_model(decision.model)))
        is_candidate = information > NO_SCORE
    else:
        threshold = config.similarity_threshold
        scores = ms_ssim.scores[0]
        is_candidate = scores > NO_SCORE
    return Library(
        pairs.is_duplicate,
        pairs.alteration,
        is_candidate,
        information,
        [
            ms_ssim,
            Scored(f"MS-SSIM >= {best:.3f} (best)", ms_ssim.scores, best),
            Scored(f"{decision.method} >= {threshold:g}", scores[None], threshold),
        ],
    )


def show_methods(title: str, library: Library, methods: Sequence[Scored]) -> None:
    duplicates = library.is_duplicate
    rows = []
    for method in methods:
        qualities = method.qualities(duplicates)
        rows.append(
            {
                "method": method.name,
                "right": f"{method.count(duplicates):.1f}",
                "wrong": f"{method.count(~duplicates):.1f}",
                "precision": f"{np.mean([each.precision for each in qualities]):.3f}",
                "recall": f"{np.mean([each.recall for each in qualities]):.3f}",
                "F1": f"{np.mean([each.f1 for each in qualities]):.3f}",
            }
        )
    print_table(f"{title}: {len(duplicates):,} pairs, {duplicates.sum():,} duplicates.", rows)


def _by_alteration(library: Library) -> dict[str, Bools]:
    """Return the duplicates of each alteration, pairs of two altered copies last."""
    names = sorted(set(library.alteration[library.is_duplicate]) - {"two"})
    return {name: library.is_duplicate & (library.alteration == name) for name in (*names, "two")}


def show_recall(library: Library, methods: Sequence[Scored]) -> None:
    rows = []
    for name, mask in _by_alteration(library).items():
        recall = {each.name: f"{each.count(mask) / mask.sum():.3f}" for each in methods}
        rows.append({"alteration": name, "pairs": int(mask.sum()), **recall})
    print_table("Recall by alteration (two: both files are altered).", rows)


def show_losses(library: Library) -> None:
    method = library.methods[-1]
    rows = []
    for name, mask in _by_alteration(library).items():
        right = int(method.count(mask))
        candidates = int((mask & library.is_candidate).sum())
        rows.append(
            {
                "alteration": name,
                "pairs": int(mask.sum()),
                "found": right,
                "not candidates": int(mask.sum()) - candidates,
                "rejected": candidates - right,
            }
        )
    print_table(f"Duplicates by alteration, {method.name}.", rows)


def show_information(library: Library) -> None:
    _, ms_ssim, configured = library.methods
    rows = []
    for low, high in pairwise(INFORMATION_BANDS):
        in_band = (library.information >= low) & (library.information < high)
        unrelated, duplicates = in_band & ~library.is_duplicate, in_band & library.is_duplicate
        rows.append(
            {
                "information": f"{low:g} to {high:g}",
                "unrelated": int(unrelated.sum()),
                f"wrong, {ms_ssim.name}": int(ms_ssim.count(unrelated)),
                f"wrong, {configured.name}": int(configured.count(unrelated)),
                "duplicates": int(duplicates.sum()),
                "found": int(configured.count(duplicates)),
            }
        )
    print_table("All candidates by information, in nats per pixel, of the emptier picture.", rows)


def show_unrelated(config_path: Path) -> None:
    """Count matches among unrelated videos of equal duration and shape; all of them are wrong."""
    files = unrelated_library()
    method = config_file.load(config_path).decision.method
    threshold = {**ORIGINAL_METHOD, "similarity_threshold": SEED_THRESHOLD}
    rows = []
    for name, changes in ((method, {}), (f"MS-SSIM >= {SEED_THRESHOLD}", threshold)):
        with tempfile.TemporaryDirectory() as folder:
            counts = run_on_library(files, Path(folder), changes, config_path)["pairs"]
        rows.append(
            {
                "method": name,
                "candidates": counts["candidates"],
                "wrong matches": counts["matched"],
                "per million candidates": counts["matched"] / counts["candidates"] * 1e6,
            }
        )
    print_table(f"{len(files):,} unrelated videos.", rows)


if __name__ == "__main__":
    main()
