"""Measure what somebody at a terminal waits for, in a library of 100,000 files and more pairs.

    python benchmarks/shell.py

Times whole processes, from their start to their end: the help, the completion of a word (as a
shell asks for it), `stats`, and an update that finds nothing new. The commands take turns, so that
what else the machine does hits all of them alike, and the median counts. Then tells which modules
each of them takes longest to import.

The library is that of `benchmarks/scale.py`, put into an index directly and served by a stand-in in
a process of its own. Its durations may differ by ten seconds here, which makes ten times the pairs.
What was filled stays in the folder.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from measured import write_config
from scale_client import ACCESS_KEY, scale_client
from scale_index import fill_index
from scale_library import draw_library, load_pool
from table import print_table

from hydindex.config import config_file
from hydindex.store.store import open_for_reading

HYDINDEX: Final = Path(sys.executable).with_name("hydindex")
CONFIG_CHANGES: Final = {"ahash": {"hammingMax": 12}, "candidate_generation": {"tolSeconds": 10.0}}
MODULES_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Wait:
    """A command, with what a shell adds to its environment, and how long it may take, if said."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    aim_s: float | None


WAITS: Final = (
    Wait("--help", ["--help"], {}, 0.4),
    Wait("update --help", ["update", "--help"], {}, 0.4),
    Wait(
        "completion of a word",
        [],
        {"_HYDINDEX_COMPLETE": "complete_bash", "COMP_WORDS": "hydindex up", "COMP_CWORD": "1"},
        None,
    ),
    Wait("stats", ["stats"], {}, 0.6),
    Wait("update, nothing new", ["update", "--quiet"], {}, 1.0),
)


def main() -> None:
    options = _options()
    home = options.folder / str(options.files)
    home.mkdir(parents=True, exist_ok=True)
    pool = load_pool(options.pool)
    config_path = write_config(home, 1, ACCESS_KEY, **CONFIG_CHANGES)
    config = config_file.load(config_path)
    index_path = config_file.index_path(config, config_path)
    if not index_path.exists():
        fill_index(index_path, config, pool, draw_library(pool, options.files))
    with open_for_reading(index_path) as index:
        pairs = index.posted.count()
    with scale_client(options.pool, options.files, 0) as client:
        write_config(home, client.port, ACCESS_KEY, **CONFIG_CHANGES)
        _run(home, WAITS[-1])  # asks about pairs that Hydrus has never heard of
        seconds = [[_run(home, wait) for wait in WAITS] for _ in range(options.times)]
        print_table(
            f"{options.times} runs of each; {options.files:,} files, {pairs:,} pairs.",
            ("command", "median s", "fastest s", "slowest s", "aim s"),
            list(map(_row, WAITS, zip(*seconds, strict=True))),
        )
        for wait in WAITS:
            print_table(f"Imports: {wait.name}", ("module", "ms"), _slowest_imports(home, wait))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=11, help="how often each command is run")
    parser.add_argument("--folder", type=Path, default=Path("build/shell"))
    parser.add_argument("--pool", type=Path, default=Path("build/scale/pictures.npz"))
    return parser.parse_args()


def _run(home: Path, wait: Wait) -> float:
    """Run a command; give the seconds of its process."""
    started = time.perf_counter()
    _ended(home, wait, [str(HYDINDEX)])
    return time.perf_counter() - started


def _ended(home: Path, wait: Wait, command: list[str]) -> str:
    """Run a command to its end; give what it said on stderr."""
    ended = subprocess.run(
        [*command, *wait.words],
        cwd=home,
        env={**os.environ, **wait.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stderr


def _row(wait: Wait, seconds: Sequence[float]) -> tuple[object, ...]:
    return wait.name, median(seconds), min(seconds), max(seconds), wait.aim_s


def _slowest_imports(home: Path, wait: Wait) -> list[tuple[str, float]]:
    """Tell which modules took longest to import, without those that they import themselves."""
    told = _ended(home, wait, [sys.executable, "-X", "importtime", str(HYDINDEX)])
    lines = re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", told)
    own_ms = sorted(((int(us) / 1e3, module) for us, module in lines), reverse=True)
    total = ("all", sum(ms for ms, _ in own_ms))
    return [total, *((module, ms) for ms, module in own_ms[:MODULES_SHOWN])]


if __name__ == "__main__":
    main()
