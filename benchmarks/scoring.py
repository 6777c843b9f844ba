"""Measure scoring and preparing on a labelled library: hydindex's way against one by one.

    python benchmarks/scoring.py PATH

PATH is a folder with `files.json` and `thumbs/` (see `hydindex.standin.library_files.load_folder`).

Scored are all pairs that the shipped candidate rules let through, by the threshold rule: the
calibrated decision has no counterpart in any library. "One by one" calls
pytorch-msssim (or scikit-image) for each of them, on pictures that lie unpacked in memory.
hydindex's way is the whole stage of a run: finding the candidates, reading their pictures from the
index, unpacking them, all levels, what the library has to settle, and recording the matches. Both
are warm: torch is loaded and has been used. They take turns, and medians are printed.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final, TypeVar
from unittest.mock import patch

import numpy as np
from indexed import compare_all, indexed
from measured import SHIPPED_CONFIG
from numpy.typing import NDArray
from one_by_one import CandidatePairs
from table import print_table

from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.matching.preparation import Preparation
from hydindex.pipeline.ingest import prepare_and_pack
from hydindex.pipeline.run_report import MatcherCounts
from hydindex.standin.library_files import load_folder
from hydindex.store.store import Store

ResultT = TypeVar("ResultT")

WARM_UP_PAIRS: Final = 100
LEVELS: Final = ("5", "4", "3", "2", "1")


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures, with so many threads."""

    corpus: Path
    ms_ssim: bool
    threads: int
    repeats: int


@dataclass(slots=True)
class Measured:
    """hydindex's way at one threshold, beside one by one.

    `differing` counts pairs of which one way says that they match and the other that they do not;
    `largest_difference` is that between the scores of pairs that match.
    """

    threshold: float
    pairs: int
    one_by_one_s: list[float] = field(default_factory=list)
    own_s: list[float] = field(default_factory=list)
    sieve: MatcherCounts = field(default_factory=MatcherCounts)
    differing: int = 0
    largest_difference: float = 0.0


def main() -> None:
    options = _options()
    if options.path is None:
        print("\nscoring: skipped, because no labelled library is given (make bench CORPUS=PATH)")
        return
    threads = sorted({1, os.cpu_count() or 1})
    _show_preparing(options.path, threads, options.repeats)
    for ms_ssim, library in ((True, "pytorch-msssim"), (False, "scikit-image")):
        tasks = [Task(options.path, ms_ssim, count, options.repeats) for count in threads]
        results = [_in_own_process(task) for task in tasks]
        _show_scoring("MS-SSIM" if ms_ssim else "SSIM", library, threads, results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def _in_own_process(task: Task) -> list[Measured]:
    """Measure in a fresh process, because threads can only be limited before they start."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure_scoring, task).result()


def _measure_scoring(task: Task) -> list[Measured]:
    _keep_to_cores(task.threads)
    import torch

    config = _by_threshold(ms_ssim=task.ms_ssim)
    configs = [config, config.model_copy(update={"similarity_threshold": 0.0})]
    with (
        indexed(load_folder(task.corpus, ()), config) as index,
        patch("os.cpu_count", return_value=task.threads),
    ):
        candidates = CandidatePairs.of(index, config)
        measured = [Measured(each.similarity_threshold, len(candidates)) for each in configs]
        candidates.first(WARM_UP_PAIRS).scores(config)
        for each, its_config in zip(measured, configs, strict=True):
            _compare_all(index, its_config, each)
        for _ in range(task.repeats):
            torch.set_num_threads(task.threads)  # hydindex has its own threads, of one each
            scores, one_by_one_s = _timed(lambda: candidates.scores(config))
            for each, its_config in zip(measured, configs, strict=True):
                each.one_by_one_s.append(one_by_one_s)
                each.own_s.append(_compare_all(index, its_config, each))
                _hold_to(each, index, candidates, scores)
    return measured


def _keep_to_cores(count: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _by_threshold(*, ms_ssim: bool) -> Config:
    """Take the shipped config, but the threshold rule, on one of both kinds of score."""
    config = config_file.load(SHIPPED_CONFIG)
    decision = config.decision.model_copy(update={"method": "threshold"})
    preprocessing = config.preprocessing.model_copy(update={"use_ms_ssim": ms_ssim})
    return config.model_copy(update={"decision": decision, "preprocessing": preprocessing})


def _compare_all(index: Store, config: Config, measured: Measured) -> float:
    """Run the stage of comparing on all files; give its seconds."""
    report = compare_all(index, config)
    if report.pairs.candidates != measured.pairs:
        raise RuntimeError(f"{report.pairs.candidates} candidates, expected {measured.pairs}")
    measured.sieve = report.sieve
    return report.seconds.compare


def _hold_to(
    measured: Measured, index: Store, candidates: CandidatePairs, scores: NDArray[np.float64]
) -> None:
    """Compare what was queued with what the library says."""
    by_pair = dict(zip(candidates.pairs, scores.tolist(), strict=True))
    queued = {(each.pair.low, each.pair.high): each.score for each in index.outbox.sendable()}
    matching = {pair for pair, score in by_pair.items() if score >= measured.threshold}
    measured.differing = len(matching ^ queued.keys())
    measured.largest_difference = max(abs(score - by_pair[pair]) for pair, score in queued.items())


def _timed(work: Callable[[], ResultT]) -> tuple[ResultT, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _show_preparing(corpus: Path, threads: Sequence[int], repeats: int) -> None:
    thumbnails = [file.thumbnail for file in load_folder(corpus, ())]
    by_threshold = Preparation.of(_by_threshold(ms_ssim=True))
    ways = {"calibrated": replace(by_threshold, calibrated=True), "threshold": by_threshold}

    def prepare_all(method: str, count: int) -> None:
        with ThreadPoolExecutor(count) as executor:
            list(executor.map(lambda each: prepare_and_pack(each, ways[method]), thumbnails))

    cases = list(product(ways, threads))
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for case in cases:
        prepare_all(*case)
    for _ in range(repeats):
        for case in cases:
            seconds[case].append(_timed(lambda: prepare_all(*case))[1])  # noqa: B023
    print_table(
        "Preparing and packing.",
        ("decision", "threads", "thumbnails", "per second"),
        [(*case, len(thumbnails), len(thumbnails) / median(seconds[case])) for case in cases],
    )


def _show_scoring(
    kind: str, library: str, threads: Sequence[int], results: Sequence[Sequence[Measured]]
) -> None:
    print_table(
        f"{kind}: pairs a second, by {library} one by one, and hydindex's whole way; for how many "
        "pairs each level was\ncomputed, how many the library settled; decisions that differ, and "
        "the largest difference of a score.",
        (
            *("threads", "threshold", "pairs", "one by one", "hydindex", "ratio"),
            *(f"level {level}" for level in LEVELS),
            *("settled", "differ", "by at most"),
        ),
        [
            _scoring_row(count, each)
            for count, measured in zip(threads, results, strict=True)
            for each in measured
        ],
    )


def _scoring_row(threads: int, measured: Measured) -> list[object]:
    rounds = zip(measured.one_by_one_s, measured.own_s, strict=True)
    return [
        threads,
        f"{measured.threshold:g}",
        measured.pairs,
        measured.pairs / median(measured.one_by_one_s),
        measured.pairs / median(measured.own_s),
        median(one_by_one_s / own_s for one_by_one_s, own_s in rounds),
        *(measured.sieve.levels.get(level) for level in LEVELS),
        measured.sieve.settled,
        measured.differing,
        f"{measured.largest_difference:.1e}",
    ]


if __name__ == "__main__":
    main()
