"""Preselect candidates: the files whose descriptors are similar.

A product of two descriptors is a sum of at most 512 products of int8 numbers, below 2**24: float32
holds it exactly, in whatever order it is summed. So the same stored descriptors give the same
result on every machine and device, with any number of threads and any size of blocks.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from hydindex.common.batches import slices
from hydindex.config.sections import Device
from hydindex.matching.calibrated.descriptor import UNIT_LENGTH, Vectors
from hydindex.matching.candidates import CandidateRules, Positions
from hydindex.matching.torch_device import torch_device
from hydindex.records.files import ComparableFiles

# 256 rows of 16,384 products take 16 MB; 4,096 rows, 256 MB of a GPU.
_BLOCK_ROWS: Final = 256
_GPU_BLOCK_ROWS: Final = 4096
_BLOCK_COLUMNS: Final = 16_384


def similar_files(
    vectors: Vectors,
    files: ComparableFiles,
    positions: Positions,
    rules: CandidateRules,
    min_similarity: float,
    gpu: Device | None = None,
) -> Iterator[Positions]:
    """Yield the positions of similar files for each of some files, in ascending order.

    `vectors` (int8) are those of the files, in the order of their durations. Files far beyond the
    tolerance in duration are left out. `gpu`: where torch computes the products; None: numpy.

    Raises:
        ConfigError: torch finds no such device.
    """
    device = None if gpu is None else torch_device(gpu)
    min_product = math.ceil(min_similarity * UNIT_LENGTH**2)
    ranges = rules.duration_ranges(files, positions)
    for block in slices(len(positions), _BLOCK_ROWS if device is None else _GPU_BLOCK_ROWS):
        left = vectors[positions[block]]
        starts, stops = np.array([(each.start, each.stop) for each in ranges[block]]).T
        first, last = int(starts[0]), int(stops[-1])  # both are sorted
        similar: list[tuple[Positions, Positions]] = []
        for part in slices(last - first, _BLOCK_COLUMNS):
            start, stop = first + part.start, min(first + part.stop, last)
            # The rows whose ranges reach into this part.
            row, end_row = np.searchsorted(stops, start, "right"), np.searchsorted(starts, stop)
            rows, columns = similar_vectors(
                left[row:end_row], vectors[start:stop], min_product, device
            )
            rows, columns = rows + row, columns + start
            in_range = (starts[rows] <= columns) & (columns < stops[rows])
            similar.append((rows[in_range], columns[in_range]))
        rows, columns = (np.concatenate(each) for each in zip(*similar, strict=True))
        order = np.argsort(rows, kind="stable")
        ends = np.searchsorted(rows[order], np.arange(1, len(left)))
        yield from np.split(columns[order], ends)


def similar_vectors(
    left: Vectors, right: Vectors, min_product: int, device: str | None
) -> tuple[Positions, Positions]:
    """Return the positions of the pairs whose product reaches a limit, sorted.

    `device`: what torch computes on; None: numpy, which needs no torch.
    """
    if device is None:
        products = left.astype(np.float32) @ right.astype(np.float32).T
        # Twice as fast as `nonzero` in two dimensions.
        rows, columns = np.divmod(np.flatnonzero(products >= min_product), len(right))
        return rows, columns
    import torch

    one, other = (torch.from_numpy(each).to(device).float() for each in (left, right))
    similar = torch.nonzero(one @ other.T >= min_product).T.cpu().numpy()
    return similar[0], similar[1]
