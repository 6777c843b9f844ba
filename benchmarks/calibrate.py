"""Fit the shipped model to a labelled library, and cross-validate it.

    python benchmarks/calibrate.py PATH [--write]

PATH is a folder with `files.json` and `thumbs/`. Prints precision and recall for each random
division into folds, then the model fitted to all pairs. `--write` writes that to
`hydindex/matching/calibrated/calibrated_model.json`.
"""

import argparse
from pathlib import Path

import numpy as np
from labelled import Candidates, LabelledPairs, load_labelled
from measure import SHIPPED_CONFIG, print_table

import hydindex.matching.calibrated as package
from hydindex.config import config_file
from hydindex.matching.calibrated.model import SHIPPED


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, help="folder with files.json and thumbs/")
    parser.add_argument("--write", action="store_true", help="replace the shipped model")
    options = parser.parse_args()
    config = config_file.load(SHIPPED_CONFIG)
    pairs = LabelledPairs.of(load_labelled(options.path))
    candidates = Candidates.of(pairs, config)

    qualities = candidates.qualities(config.decision.min_probability)
    precision = float(np.mean([each.precision for each in qualities]))
    recall = float(np.mean([each.recall for each in qualities]))
    rows = [(str(number), each.precision, each.recall) for number, each in enumerate(qualities)]
    print_table(
        f"Method calibrated, cross-validated by source: {len(candidates):,} candidates, "
        f"{pairs.is_duplicate.sum()} duplicates.",
        ("division", "precision", "recall"),
        [(name, f"{p:.3f}", f"{r:.3f}") for name, p, r in (*rows, ("mean", precision, recall))],
    )
    model = candidates.fit(
        np.ones(len(candidates), np.bool_),
        cross_validated={"precision": round(precision, 4), "recall": round(recall, 4)},
    )
    print(f"\n{model.to_json()}")
    if options.write:
        (Path(package.__file__).parent / SHIPPED).write_text(model.to_json(), encoding="utf-8")
        print(f"Written to {SHIPPED}.")


if __name__ == "__main__":
    main()
