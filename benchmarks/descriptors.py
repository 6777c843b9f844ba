"""Measure how well descriptors alone tell duplicates from other pairs.

    python benchmarks/descriptors.py PATH [--descriptor sscd [--sscd-model FILE]]

PATH is a labelled library: a folder with files.json and thumbs/. Durations and aspect ratios are
ignored.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from labelled import LabelledPairs, load_labelled
from measure import print_table

from hydindex.config.sections import Compare
from hydindex.matching.calibrated.calibrated_method import descriptor_for
from hydindex.matching.calibrated.descriptor import UNIT_LENGTH
from hydindex.matching.decoding import decode_thumbnail

SIMILARITIES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--descriptor", default="efficientnet-lite0", help="as compare.descriptor")
    parser.add_argument("--sscd-model", type=Path, help="as compare.sscd_model")
    options = parser.parse_args()
    path = options.path
    descriptor = descriptor_for(
        Compare(descriptor=options.descriptor, sscd_model=options.sscd_model)
    )
    files = load_labelled(path)
    pairs = LabelledPairs.of(files)
    pictures = [decode_thumbnail(each.file.thumbnail) for each in files]
    descriptor.load()
    started = time.perf_counter()
    vectors = np.concatenate([descriptor.embed([picture]) for picture in pictures])
    picture_ms = 1000 * (time.perf_counter() - started) / len(pictures)
    products = np.einsum(
        "ij,ij->i", *(vectors[side].astype(int) for side in (pairs.first, pairs.second))
    )
    similarity = products / UNIT_LENGTH**2
    sources = np.array([each.source for each in files])
    same_source = sources[pairs.first] == sources[pairs.second]
    duplicate, unrelated = pairs.is_duplicate, ~pairs.is_duplicate & ~same_source
    print_table(
        f"{path.name}, {descriptor.fingerprint}: the share of pairs whose descriptors are similar. "
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
