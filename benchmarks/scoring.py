"""Compare scoring with the method `threshold` with calling the libraries for each pair.

    python benchmarks/scoring.py PATH

PATH is a folder with `files.json` and `thumbs/`. All candidates of the shipped config are scored,
with the method `threshold`; no library has a counterpart of the method `calibrated`. The libraries
(pytorch-msssim, scikit-image) are called for each pair, on preprocessed pictures in memory.
hydindex's time is that of the stage `compare` of `hydindex rebuild`: finding candidates, reading
and unpacking pictures, scoring, saving matches. Both are warmed up and measured in turns; medians
are printed. "differ" counts verdicts that differ.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final
from unittest.mock import patch

from measure import SHIPPED_CONFIG, print_table, write_config

from hydindex.commands.app import main as hydindex
from hydindex.config import config_file
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.preprocessing import preprocess
from hydindex.records.pictures import Picture
from hydindex.standin.server import StandIn
from hydindex.standin.state import load_folder

THRESHOLDS: Final = (0.6, 0.0)
WARM_UP_PAIRS: Final = 100
LIBRARIES: Final = {"MS-SSIM": "pytorch-msssim", "SSIM": "scikit-image"}

Scores = dict[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures."""

    corpus: Path
    kind: str
    threads: int
    repeats: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.path is None:
        print("\nscoring: skipped (it needs a labelled library: make bench CORPUS=PATH)")
        return
    for kind, library in LIBRARIES.items():
        rows = []
        for threads in sorted({1, os.cpu_count() or 1}):
            # A process of its own, because threads can only be limited before they start.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                task = Task(options.path, kind, threads, options.repeats)
                rows += process.submit(_measure, task).result()
        print_table(
            f"{kind} by {library} and by hydindex, in pairs per second.",
            (
                *("threads", "threshold", "candidates", "library", "hydindex", "ratio"),
                *("differ", "largest difference"),
            ),
            rows,
        )


def _measure(task: Task) -> list[tuple[object, ...]]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    import torch

    files = load_folder(task.corpus, ())
    rows: list[tuple[object, ...]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        StandIn(files) as client,
        patch("os.cpu_count", return_value=task.threads),
    ):

        def run(command: str, *words: str, threshold: float) -> dict[str, Any]:
            changes = {
                "tags": ["system:filetype is video"],
                "decision": {"method": "threshold"},
                "similarity_threshold": threshold,
                "preprocessing": {"useMSSSIM": task.kind == "MS-SSIM"},
            }
            path = write_config(Path(folder), client.port, client.FULL_KEY, changes)
            return _run_here(command, "--config", str(path), *words)

        run("update", "--dry-run", threshold=0.0)
        listed = run("pairs", threshold=0.0)["pairs"]
        pairs = [(each["sha256_a"], each["sha256_b"]) for each in listed]
        settings = config_file.load(SHIPPED_CONFIG).preprocessing
        pictures = {
            each.hash: preprocess(decode_thumbnail(each.thumbnail), settings) for each in files
        }
        score = reference.ms_ssim if task.kind == "MS-SSIM" else reference.ssim
        _score_each(score, pictures, pairs[:WARM_UP_PAIRS])
        library_s: list[float] = []
        own_s: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
        own: dict[float, tuple[int, Scores]] = {}
        for _ in range(task.repeats):
            torch.set_num_threads(task.threads)  # hydindex sets it to 1 and has its own threads
            started = time.perf_counter()
            expected = _score_each(score, pictures, pairs)
            library_s.append(time.perf_counter() - started)
            for threshold in THRESHOLDS:
                report = run("rebuild", threshold=threshold)
                own_s[threshold].append(report["seconds"]["compare"])
                listed = run("pairs", threshold=threshold)["pairs"]
                scores = {(e["sha256_a"], e["sha256_b"]): e["score"] for e in listed}
                own[threshold] = report["pairs"]["candidates"], scores
    for threshold in THRESHOLDS:
        candidates, scores = own[threshold]
        library_rate = len(pairs) / median(library_s)
        own_rate = candidates / median(own_s[threshold])
        matching = {pair for pair, value in expected.items() if value >= threshold}
        difference = max(abs(value - expected[pair]) for pair, value in scores.items())
        rows.append(
            (
                *(task.threads, f"{threshold:g}", candidates, library_rate, own_rate),
                *(own_rate / library_rate, len(matching ^ scores.keys()), f"{difference:.1e}"),
            )
        )
    return rows


def _run_here(*words: str) -> dict[str, Any]:
    """Run a command in this process, where torch is loaded already; return its JSON."""
    output, errors = StringIO(), StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            hydindex([*words, "--json"])
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"{words}: {ended.code}\n{errors.getvalue()}") from None
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


def _score_each(
    score: Callable[[Picture, Picture], float],
    pictures: dict[str, Picture],
    pairs: list[tuple[str, str]],
) -> Scores:
    return {(one, two): score(pictures[one], pictures[two]) for one, two in pairs}


if __name__ == "__main__":
    main()
