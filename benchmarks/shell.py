"""Measure how long commands take that a user waits for at a terminal.

    python benchmarks/shell.py

Times whole processes: help, shell completion, `stats`, and an update that finds nothing new. The
commands take turns. The library is that of `scale.py`, with the shipped config; the index has pairs
of files up to ten seconds apart, so that there are more pairs.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from measure import print_table, run_hydindex, write_config
from scale_library import Pool, fill_home, serve

HYDINDEX: Final = Path(sys.executable).with_name("hydindex")
HOME: Final = Path("build/shell")
FILES: Final = 100_000
TIMES: Final = 11
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
    pool = Pool()
    library = pool.library(FILES)
    fill_home(HOME, pool, library, within_ms=WITHIN_MS)
    with serve(pool.hydrus_files(library)) as client:
        write_config(HOME, client.port, client.FULL_KEY, {})
        run_hydindex(HOME, "update")  # asks about pairs that the stand-in has never seen
        seconds = [[timed(*command) for command in COMMANDS.values()] for _ in range(TIMES)]
    pairs = len(run_hydindex(HOME, "pairs").report["pairs"])
    rows = [
        {"command": command, "seconds": median(column)}
        for command, column in zip(COMMANDS, zip(*seconds, strict=True), strict=True)
    ]
    print_table(f"Medians of {TIMES} runs; {FILES:,} files, {pairs:,} pairs.", rows)


def timed(words: list[str], variables: dict[str, str]) -> float:
    """Run a command; return the seconds of its process."""
    started = time.perf_counter()
    environment = {**os.environ, **variables}
    subprocess.run([HYDINDEX, *words], cwd=HOME, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
