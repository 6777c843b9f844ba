"""Pictures as planes of a tensor, and pairs of them: shared by MS-SSIM and SSIM."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydindex.common.batches import slices
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.matching.threshold.pyramid import Sums

# A part this large fits into the cache of one core.
_PIXELS_AT_ONCE: Final = 1 << 18
# Indexing copies the planes of pairs; above this size, one call per pair is cheaper.
_GATHERED_PX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Pairs:
    """The planes of some files, and pairs of them.

    Each channel of a file is a plane: `planes` is (planes, height, width). `left` and `right` are
    the planes of each pair by number, channel by channel.
    """

    planes: Tensor
    left: NDArray[np.intp]
    right: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        sums: Sums,
        first: NDArray[np.intp],
        second: NDArray[np.intp],
        device: str,
        dtype: torch.dtype,
    ) -> Self:
        """Copy to the device only those `sums` that these pairs need."""
        # Pairs are scored in threads of our own, beside others that fetch and prepare. torch's
        # threads wait for each other at every step: with one core busy elsewhere they were 30 times
        # as slow.
        torch.set_num_threads(1)
        used, first_at, second_at = files_of_pairs(first, second)
        planes = torch.from_numpy(np.ascontiguousarray(sums[used])).to(device, dtype)
        channels = sums.shape[1]
        left, right = (
            (positions[:, None] * channels + np.arange(channels)).ravel()
            for positions in (first_at, second_at)
        )
        return cls(planes.flatten(0, 1), left, right)

    def plane_parts(self) -> Iterator[slice]:
        """Divide the planes into parts that fit into a core's cache."""
        return self._parts(len(self.planes))

    def pair_parts(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], slice]]:
        """Divide the pairs likewise: yield left planes, right planes and the slice of pairs."""
        for part in self._parts(len(self.left)):
            yield self.left[part], self.right[part], part

    def _parts(self, count: int) -> Iterator[slice]:
        return slices(count, max(1, _PIXELS_AT_ONCE // self.planes[0].numel()))


def combined(
    operation: Callable[..., Tensor], maps: Tensor, left: NDArray[np.intp], right: NDArray[np.intp]
) -> Tensor:
    """Combine maps left[n] and right[n] for every n."""
    if maps[0].numel() <= _GATHERED_PX:
        i, j = torch.from_numpy(left).to(maps.device), torch.from_numpy(right).to(maps.device)
        return operation(maps[i], maps[j])
    results = torch.empty((len(left), *maps.shape[1:]), device=maps.device, dtype=maps.dtype)
    for result, i, j in zip(results, left.tolist(), right.tolist(), strict=True):
        operation(maps[i], maps[j], out=result)
    return results
