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
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Final
from unittest.mock import patch

import torch
from measure import SHIPPED_CONFIG, print_table, write_config

from hydindex.commands.app import main as hydindex
from hydindex.config import config_file
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.preprocessing import preprocess
from hydindex.records.pictures import Picture
from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile, load_folder

THRESHOLDS: Final = (0.6, 0.0)
REPEATS: Final = 3
WARM_UP_PAIRS: Final = 100
LIBRARIES: Final[dict[str, tuple[str, Callable[[Picture, Picture], float]]]] = {
    "MS-SSIM": ("pytorch-msssim", reference.ms_ssim),
    "SSIM": ("scikit-image", reference.ssim),
}

Scores = dict[tuple[str, str], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    path = parser.parse_args().path
    if path is None:
        print("\nscoring: skipped (it needs a labelled library: make bench CORPUS=PATH)")
        return
    for metric, (library, _) in LIBRARIES.items():
        rows = []
        for threads in sorted({1, os.cpu_count() or 1}):
            # A process of its own, because threads can only be limited before they start.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                rows += process.submit(_measure, path, metric, threads).result()
        print_table(f"{metric} by {library} and by hydindex, in pairs per second.", rows)


def _measure(path: Path, metric: str, threads: int) -> list[dict[str, object]]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    files = load_folder(path, tags=())
    with (
        tempfile.TemporaryDirectory() as folder,
        StandIn(files) as client,
        patch("os.cpu_count", return_value=threads),
    ):

        def run(command: str, *words: str, threshold: float) -> dict[str, Any]:
            changes = {
                "tags": ["system:filetype is video"],
                "decision": {"method": "threshold"},
                "similarity_threshold": threshold,
                "preprocessing": {"useMSSSIM": metric == "MS-SSIM"},
            }
            config_path = write_config(Path(folder), client.port, client.FULL_KEY, changes)
            return _run_here(command, "--config", str(config_path), *words)

        run("update", "--dry-run", threshold=0.0)
        pairs = list(_scores(run("pairs", threshold=0.0)))
        pictures = _preprocessed(files)
        score = LIBRARIES[metric][1]
        library_s: list[float] = []
        own_s: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
        own_scores: dict[float, Scores] = {}
        for one, other in pairs[:WARM_UP_PAIRS]:
            score(pictures[one], pictures[other])
        for _ in range(REPEATS):
            torch.set_num_threads(threads)  # hydindex sets it to 1 and has its own threads
            started = time.perf_counter()
            expected = {(one, other): score(pictures[one], pictures[other]) for one, other in pairs}
            library_s.append(time.perf_counter() - started)
            for threshold in THRESHOLDS:
                report = run("rebuild", threshold=threshold)
                candidates = report["pairs"]["candidates"]
                own_s[threshold].append(report["seconds"]["compare"])
                own_scores[threshold] = _scores(run("pairs", threshold=threshold))
    library_rate = len(pairs) / median(library_s)
    rows: list[dict[str, object]] = []
    for threshold, scores in own_scores.items():
        own_rate = candidates / median(own_s[threshold])
        matching = {pair for pair, value in expected.items() if value >= threshold}
        difference = max(abs(value - expected[pair]) for pair, value in scores.items())
        rows.append(
            {
                "threads": threads,
                "threshold": f"{threshold:g}",
                "candidates": candidates,
                "library": library_rate,
                "hydindex": own_rate,
                "ratio": own_rate / library_rate,
                "differ": len(matching ^ scores.keys()),
                "largest difference": f"{difference:.1e}",
            }
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


def _scores(listed: dict[str, Any]) -> Scores:
    return {(each["sha256_a"], each["sha256_b"]): each["score"] for each in listed["pairs"]}


def _preprocessed(files: list[HydrusFile]) -> dict[str, Picture]:
    settings = config_file.load(SHIPPED_CONFIG).preprocessing
    return {each.hash: preprocess(decode_thumbnail(each.thumbnail), settings) for each in files}


if __name__ == "__main__":
    main()
