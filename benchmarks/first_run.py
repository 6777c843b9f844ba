"""Measure whole runs of `hydindex update` on a labelled library, with the shipped config.

    python benchmarks/first_run.py PATH

PATH is a folder with `files.json` and `thumbs/` (see `hydindex.demo.files.load_folder`); without
it, the demo's generated library is served. Prints, for a first run, a night with nothing new and a
night with 20 new files: seconds of the whole process and by stage, pairs scored, requests,
thumbnails fetched; how long pytorch-msssim takes for the pairs of the first run, one by one; then
bytes per file, and precision and recall of what was posted.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from measured import run_measured, write_config
from one_by_one import CandidatePairs
from table import print_table

from hydindex import config as config_file
from hydindex.demo.files import HydrusFile, load_folder, true_pairs
from hydindex.demo.library import generate_library
from hydindex.demo.standin import StandIn
from hydindex.index.index import open_for_reading

HELD_BACK: Final = 20
WARM_UP_PAIRS: Final = 100
STAGES: Final = ("search", "fetch", "prepare", "compare", "post")


def main() -> None:
    files = load_folder(Path(sys.argv[1]), tags=()) if len(sys.argv) > 1 else generate_library()
    with tempfile.TemporaryDirectory() as folder, StandIn(files[:-HELD_BACK]) as client:
        home = Path(folder)
        config = write_config(home, client.port, client.FULL_KEY, tags=["system:filetype is video"])

        first = measure(home, client)
        one_by_one_s = score_one_by_one(config)
        quiet = measure(home, client)
        client.add(files[-HELD_BACK:])
        later = measure(home, client)
        print_table(
            "Whole runs, and by stage, in seconds.",
            ("", "whole run", *STAGES, "pairs scored", "requests", "thumbnails"),
            [
                ["first run", *first],
                ["nothing new", *quiet],
                [f"{HELD_BACK} new files", *later],
            ],
        )
        print(
            f"\none by one: {one_by_one_s:.1f} s for pytorch-msssim alone to score the pairs of "
            f"the first run, {one_by_one_s / first[0]:.1f} times as long as all of that run"
        )
        bytes_per_file = (home / "hydindex.db").stat().st_size / len(files)
        print(f"{len(files)} files, {bytes_per_file / 1e3:.1f} KB of index a file")
        show_accuracy(files, client)


def measure(home: Path, client: StandIn) -> list[float]:
    """Run one update and give its figures, the seconds of the whole process first."""
    client.clear_log()
    report, cost = run_measured(home, "update")
    thumbnails = sum("file_id" in request.query for request in client.requests)
    seconds = [float(report["seconds"][stage]) for stage in STAGES]
    return [cost.wall_s, *seconds, report["pairs"]["scored"], len(client.requests), thumbnails]


def score_one_by_one(config_path: Path) -> float:
    """Score the candidates of all files in the index as the library offers it; give the seconds.

    The pictures lie unpacked in memory, and torch is loaded. On all cores torch is faster, or far
    slower where another program keeps one of them busy: the better of both counts.
    """
    import torch

    config = config_file.load(config_path)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        candidates = CandidatePairs.of(index, config)
    candidates.first(WARM_UP_PAIRS).scores(config)
    seconds = []
    for threads in {1, os.cpu_count() or 1}:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        candidates.scores(config)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def show_accuracy(files: list[HydrusFile], client: StandIn) -> None:
    """Compare what was posted with the labels."""
    labelled, posted = true_pairs(files), client.potentials
    right = len(labelled & posted)
    print(
        f"{len(posted)} pairs posted, {right} of them true: precision {right / len(posted):.3f}, "
        f"recall {right / len(labelled):.3f} of {len(labelled)} labelled pairs"
    )


if __name__ == "__main__":
    main()
