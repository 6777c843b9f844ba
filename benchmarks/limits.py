"""Count what scoring a pair costs at the least, and how far from that the code runs.

    python benchmarks/limits.py

Counted for 230x230 grey pixels, all five levels, with all that belongs to a single file done
already: floating-point operations, and the bytes of both files' maps that a pair has to read.
Measured on one core: how fast torch multiplies matrices (as near to the processor's peak as code
gets), how fast it copies memory that no cache holds, and how fast pairs really are scored, in a
block of which every pair is scored to the end.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

import numpy as np
import torch
from table import print_table

from hydindex.matching.threshold.ms_ssim import fine_levels
from hydindex.matching.threshold.score_bounds import ScoreBounds

SIDES_PX: Final = {1: 230, 2: 115, 3: 58, 4: 29, 5: 15}
WINDOW_PX: Final = 11
FLOAT_BYTES: Final = 4
FILES: Final = 64
PAIRS: Final = 2016  # every pair of them


def main() -> None:
    torch.set_num_threads(1)
    operations = {level: _operations(side) for level, side in SIDES_PX.items()}
    bytes_read = {level: _bytes_read(side) for level, side in SIDES_PX.items()}
    print_table(
        "What one pair costs at the least",
        ("level", "side px", "kFLOP", "kB read"),
        [
            (str(level), side, operations[level] / 1e3, bytes_read[level] / 1e3)
            for level, side in SIDES_PX.items()
        ]
        + [("all", None, sum(operations.values()) / 1e3, sum(bytes_read.values()) / 1e3)],
    )

    multiplying, copying, scoring = _operations_per_s(), _bytes_per_s(), _seconds_per_pair()
    arithmetic_us = sum(operations.values()) / multiplying * 1e6
    moving_us = sum(bytes_read.values()) / copying * 1e6
    print_table(
        "One core",
        ("", "per s", "us a pair", "of what it takes"),
        [
            ("arithmetic, at the speed of a matrix product", f"{multiplying / 1e9:.0f} GFLOP",
             arithmetic_us, f"{arithmetic_us / scoring / 1e4:.0f} %"),
            ("reading, at the speed of a copy", f"{copying / 1e9:.1f} GB",
             moving_us, f"{moving_us / scoring / 1e4:.0f} %"),
            ("hydindex, levels 3 to 1", f"{1 / scoring:,.0f} pairs", scoring * 1e6, "100 %"),
        ],
    )  # fmt: skip


def _operations(side_px: int) -> int:
    """Multiply, filter along both axes, combine: a fused multiply-add counts as two."""
    filtered_px = side_px - WINDOW_PX + 1
    product = side_px * side_px
    filtering = 2 * WINDOW_PX * (side_px * filtered_px + filtered_px * filtered_px)
    combining = 6 * filtered_px * filtered_px
    return product + filtering + combining


def _bytes_read(side_px: int) -> int:
    """Both pictures, both means, both variances, as float32."""
    filtered_px = side_px - WINDOW_PX + 1
    return 2 * FLOAT_BYTES * (side_px**2 + 2 * filtered_px**2)


def _operations_per_s() -> float:
    side = 1024
    left, right = torch.rand(side, side), torch.rand(side, side)
    return 2 * side**3 / _seconds(lambda: torch.mm(left, right))


def _bytes_per_s() -> float:
    """Bytes read by a copy that is too large for any cache."""
    source = torch.rand(64 << 20)
    target = torch.empty_like(source)
    return source.numel() * FLOAT_BYTES / _seconds(lambda: target.copy_(source))


def _seconds_per_pair() -> float:
    """Score every pair of some pictures, none left early; the files' own share is in it, too."""
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (FILES, SIDES_PX[1], SIDES_PX[1])).astype(np.uint8)
    first, second = np.triu_indices(FILES, 1)
    unseen = ScoreBounds.of_unseen(PAIRS, channels=1)
    return _seconds(lambda: fine_levels(pictures, first, second, unseen, threshold=0.0)) / PAIRS


def _seconds(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return median(taken)


if __name__ == "__main__":
    main()
