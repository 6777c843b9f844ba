"""Preselect candidates: the files whose descriptors are similar.

A product of two descriptors is a sum of 128 products of whole numbers, below 2**24: float32 holds
it exactly, in whatever order it is summed. So the result is the same on every machine, with any
number of threads and any size of blocks.
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
    windows = rules.duration_ranges(files, positions)
    for block in slices(len(positions), _BLOCK_ROWS):
        rows = vectors[positions[block]].astype(np.float32)
        first = min(window.start for window in windows[block])
        last = max(window.stop for window in windows[block])
        found_rows, found_columns = [], []
        for part in slices(last - first, _BLOCK_COLUMNS):
            columns = vectors[first:last][part].astype(np.float32)
            row, column = np.nonzero(rows @ columns.T >= min_product)
            found_rows.append(row)
            found_columns.append(column + (first + part.start))
        row, column = np.concatenate(found_rows), np.concatenate(found_columns)
        order = np.argsort(row, kind="stable")
        ends = np.searchsorted(row[order], np.arange(1, len(rows)))
        yield from np.split(column[order], ends)
