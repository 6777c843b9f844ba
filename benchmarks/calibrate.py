"""Fit the shipped model to labelled libraries, and cross-validate it.

    python benchmarks/calibrate.py PATH [--videos PATH] [--write]

PATH is a folder with `files.json` and `thumbs/`, `--videos` another one, of whole videos; there the
model is fitted only to pairs that their thumbnails tell. Prints precision and recall in PATH, then
the model fitted to all pairs. `--write` writes that to
`hydindex/matching/calibrated/calibrated_model.json`.
"""

import argparse
from pathlib import Path

import numpy as np
from labelled import DIVISIONS, Candidates, load_labelled, mean_and_range
from measure import SHIPPED_CONFIG

import hydindex.matching.calibrated as package
from hydindex.config import config_file
from hydindex.matching.calibrated.model import SHIPPED


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, help="folder with files.json and thumbs/")
    parser.add_argument("--videos", type=Path, help="such a folder, of whole videos")
    parser.add_argument("--write", action="store_true", help="replace the shipped model")
    options = parser.parse_args()
    config = config_file.load(SHIPPED_CONFIG)
    videos = Candidates.of(load_labelled(options.videos), config) if options.videos else None
    candidates = Candidates.of(load_labelled(options.path), config, videos)
    qualities = candidates.qualities(config.decision.min_probability)
    quality = {key: [getattr(each, key) for each in qualities] for key in ("precision", "recall")}
    print(
        f"{len(candidates.rows):,} pairs, of which {candidates.is_candidate.sum():,} are "
        f"candidates; {candidates.pairs.is_duplicate.sum()} duplicates."
    )
    print(f"Cross-validated by source, means of {DIVISIONS} divisions:")
    for key, values in quality.items():
        print(f"{key} {mean_and_range(values)}")
    model = candidates.fit(
        np.ones(len(candidates.rows), np.bool_),
        cross_validated={key: round(float(np.mean(v)), 4) for key, v in quality.items()},
    )
    print(f"\n{model.to_json()}")
    if options.write:
        (Path(package.__file__).parent / SHIPPED).write_text(model.to_json(), encoding="utf-8")
        print(f"Written to {SHIPPED}.")


if __name__ == "__main__":
    main()
