"""Preselect candidates: the files whose descriptors are similar.

A product of two descriptors is a sum of 128 products of whole numbers, below 2**24: float32 holds
it exactly, in whatever order it is summed. So the same stored descriptors give the same result on
every machine, with any number of threads and any size of blocks.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from hydindex.common.batches import slices
from hydindex.matching.calibrated.descriptor import MIN_SIMILARITY, UNIT_LENGTH, Vectors
from hydindex.matching.candidates import CandidateRules, Positions
from hydindex.records.files import ComparableFiles

# 256 rows of 16,384 products take 16 MB.
_BLOCK_ROWS: Final = 256
_BLOCK_COLUMNS: Final = 16_384


def similar_files(
    vectors: Vectors,
    files: ComparableFiles,
    positions: Positions,
    rules: CandidateRules,
    min_similarity: float = MIN_SIMILARITY,
) -> Iterator[Positions]:
    """Yield the positions of similar files for each of some files, in ascending order.

    `vectors` (int8) are those of the files, in the order of their durations. Files far beyond the
    tolerance in duration are left out.
    """
    min_product = min_similarity * UNIT_LENGTH**2
    ranges = rules.duration_ranges(files, positions)
    for block in slices(len(positions), _BLOCK_ROWS):
        left = vectors[positions[block]].astype(np.float32)
        starts, stops = np.array([(each.start, each.stop) for each in ranges[block]]).T
        start, stop = int(starts.min()), int(stops.max())
        similar: list[tuple[Positions, Positions]] = []
        for part in slices(stop - start, _BLOCK_COLUMNS):
            right = vectors[start:stop][part].astype(np.float32)
            rows, columns = np.nonzero(left @ right.T >= min_product)
            columns += start + part.start
            in_range = (starts[rows] <= columns) & (columns < stops[rows])
            similar.append((rows[in_range], columns[in_range]))
        rows, columns = (np.concatenate(each) for each in zip(*similar, strict=True))
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], np.arange(1, len(left)))
        yield from np.split(columns[order], ends)
