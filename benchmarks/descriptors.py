"""Measure how well descriptors alone tell duplicates from other pairs.

    python benchmarks/descriptors.py PATH

PATH is a labelled library: a folder with files.json and thumbs/. Durations and aspect ratios are
ignored.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from labelled import LabelledPairs, load_labelled
from measure import print_table

from hydindex.matching.calibrated.descriptor import MIN_SIMILARITY, UNIT_LENGTH, embed
from hydindex.matching.decoding import decode_thumbnail

SIMILARITIES = (0.3, 0.35, MIN_SIMILARITY, 0.45, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    files = load_labelled(path)
    pairs = LabelledPairs.of(files)
    pictures = [decode_thumbnail(each.file.thumbnail) for each in files]
    embed(pictures[:1])  # loads the network
    started = time.perf_counter()
    vectors = np.concatenate([embed([picture]) for picture in pictures]).astype(np.float64)
    picture_ms = 1000 * (time.perf_counter() - started) / len(pictures)
    products = np.einsum("ij,ij->i", vectors[pairs.first], vectors[pairs.second])
    similarity = products / UNIT_LENGTH**2
    sources = np.array([each.source for each in files])
    same_source = sources[pairs.first] == sources[pairs.second]
    duplicate, unrelated = pairs.is_duplicate, ~pairs.is_duplicate & ~same_source
    print_table(
        f"{path.name}: the share of pairs whose descriptors are similar. "
        f"One picture takes {picture_ms:.1f} ms on one core.",
        [
            {
                "similarity": limit,
                "duplicates": f"{np.mean(similarity[duplicate] >= limit):.1%}",
                "others": f"{np.mean(similarity[~duplicate] >= limit):.1%}",
                "others of another source": f"{np.mean(similarity[unrelated] >= limit):.1%}",
            }
            for limit in SIMILARITIES
        ],
    )


if __name__ == "__main__":
    main()
