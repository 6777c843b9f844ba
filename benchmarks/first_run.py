"""Measure whole runs of `hydindex update` on a labelled library, by both ways to decide.

    python benchmarks/first_run.py PATH

PATH is a folder with `files.json` and `thumbs/` (see `hydindex.standin.library_files.load_folder`); without
it, the demo's generated library is served. Prints, for a first run, a night with nothing new and a
night with 20 new files: seconds of the whole process and by stage, pairs scored, requests,
thumbnails fetched; then bytes per file, and precision and recall of what was posted. First with the
shipped config, then with the threshold rule in place of the calibrated decision; and how long
pytorch-msssim takes for the pairs of that rule, one by one.
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

from hydindex.config import config_file
from hydindex.demo.generated_library import generate_library
from hydindex.standin.library_files import HydrusFile, load_folder, true_pairs
from hydindex.standin.server import StandIn
from hydindex.store.store import open_for_reading

HELD_BACK: Final = 20
WARM_UP_PAIRS: Final = 100
STAGES: Final = ("search", "fetch", "prepare", "compare", "post")


def main() -> None:
    files = load_folder(Path(sys.argv[1]), tags=()) if len(sys.argv) > 1 else generate_library()
    first_s: dict[str, float] = {}
    for method in ("calibrated", "threshold"):
        with tempfile.TemporaryDirectory() as folder, StandIn(files[:-HELD_BACK]) as client:
            home = Path(folder)
            config = write_config(
                home,
                client.port,
                client.FULL_KEY,
                tags=["system:filetype is video"],
                decision={"method": method},
            )
            first_s[method] = measure_nights(files, home, client, method)
            if method == "threshold":
                one_by_one_s = score_one_by_one(config)
    print(f"\none by one: {one_by_one_s:.1f} s for pytorch-msssim alone, as long as")
    for method, seconds in first_s.items():
        print(f"  {one_by_one_s / seconds:.1f} first runs ({method})")


def measure_nights(files: list[HydrusFile], home: Path, client: StandIn, method: str) -> float:
    """Run three nights and show what they cost and found; give the seconds of the first."""
    first = measure(home, client)
    quiet = measure(home, client)
    client.add(files[-HELD_BACK:])
    later = measure(home, client)
    print_table(
        f"Whole runs, and by stage, in seconds ({method}).",
        ("", "whole run", *STAGES, "pairs scored", "requests", "thumbnails"),
        [["first run", *first], ["nothing new", *quiet], [f"{HELD_BACK} new files", *later]],
    )
    bytes_per_file = (home / "hydindex.db").stat().st_size / len(files)
    print(f"{len(files)} files, {bytes_per_file / 1e3:.1f} KB of index a file")
    show_accuracy(files, client)
    return first[0]


def measure(home: Path, client: StandIn) -> list[float]:
    """Run one update and give its figures, the seconds of the whole process first."""
    client.clear_log()
    report, cost = run_measured(home, "update")
    thumbnails = sum("file_id" in request.query for request in client.requests)
    seconds = [float(report["seconds"][stage]) for stage in STAGES]
    return [cost.wall_s, *seconds, report["pairs"]["scored"], len(client.requests), thumbnails]


def score_one_by_one(config_path: Path) -> float:
    """Score the candidates of an index of the threshold rule as the library offers it; in seconds.

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
