"""Measure how long commands take that a user waits for at a terminal.

    python benchmarks/shell.py

Times whole processes: help, shell completion, `stats`, and an update that finds nothing new. The
commands take turns. The library is that of `scale.py`, with the shipped config; the filled index
has pairs of files up to ten seconds apart, so that there are more pairs.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from measure import print_table, run_hydindex, write_config
from scale import POOL_PICTURES
from scale_library import Pool, fill_index, index_of_pool, serve

HYDINDEX: Final = Path(sys.executable).with_name("hydindex")
WITHIN_MS: Final = 10_000
COMPLETION: Final = {
    "_HYDINDEX_COMPLETE": "complete_bash",
    "COMP_WORDS": "hydindex up",
    "COMP_CWORD": "1",
}
COMMANDS: Final[dict[str, tuple[list[str], dict[str, str]]]] = {
    "--help": (["--help"], {}),
    "update --help": (["update", "--help"], {}),
    "shell completion": ([], COMPLETION),
    "stats": (["stats"], {}),
    "update, nothing new": (["update", "--quiet"], {}),
}
"""Arguments and environment variables by name."""


def main() -> None:
    options = _options()
    pool_path = options.folder.parent / "scale" / f"pool-{options.pictures}.pickle"
    pool = Pool(pool_path, options.pictures)
    library = pool.library(options.files)
    home = options.folder / f"{options.pictures}-{options.files}"
    home.mkdir(parents=True, exist_ok=True)
    index = home / "hydindex.db"
    if not index.exists():
        pool_index = index_of_pool(options.folder / f"pool-{options.pictures}", pool, {})
        fill_index(index, pool_index, pool, library, WITHIN_MS)
    with serve(pool.hydrus_files(library)) as client:
        write_config(home, client.port, client.FULL_KEY, {})
        run_hydindex(home, "update")  # asks about pairs that the stand-in has never seen
        seconds = [[timed(home, *each) for each in COMMANDS.values()] for _ in range(options.times)]
    pairs = len(run_hydindex(home, "pairs")[0]["pairs"])
    print_table(
        f"{options.times} runs of each command; {options.files:,} files, {pairs:,} pairs.",
        ("command", "median s", "fastest s", "slowest s"),
        [
            (name, median(column), min(column), max(column))
            for name, column in zip(COMMANDS, zip(*seconds, strict=True), strict=True)
        ],
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=11, help="how often each command runs")
    parser.add_argument("--folder", type=Path, default=Path("build/shell"))
    parser.add_argument("--pictures", type=int, default=POOL_PICTURES, help="distinct pictures")
    return parser.parse_args()


def timed(home: Path, words: list[str], variables: dict[str, str]) -> float:
    """Run a command; return the seconds of its process."""
    started = time.perf_counter()
    environment = {**os.environ, **variables}
    subprocess.run([HYDINDEX, *words], cwd=home, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
