"""Run hydindex as a timer does, in its own process, and measure what the run takes.

As a script, run a command and write its cost as JSON. This launcher is small because the peak
memory of a process can include that of the process which started it.

    python benchmarks/measure.py COST.json python -m hydindex update --json
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

SHIPPED_CONFIG: Final = Path(__file__).parents[1] / "hydrus_config.json"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took from start to end; `peak_bytes` is its largest resident memory."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


class Run(NamedTuple):
    """What a command printed as JSON, and its cost."""

    report: dict[str, Any]
    cost: Cost


def write_config(
    home: Path,
    port: int,
    access_key: str,
    changes: Mapping[str, Any],
    *,
    base: Path = SHIPPED_CONFIG,
) -> Path:
    """Write a copy of a config with another address, another key and some changed sections."""
    values = json.loads(base.read_text(encoding="utf-8"))
    values |= {"api_url": "http://127.0.0.1", "api_port": port, "api_key": access_key}
    for key, change in changes.items():
        values[key] = values.get(key, {}) | change if isinstance(change, dict) else change
    home.mkdir(parents=True, exist_ok=True)
    path = home / "hydrus_config.json"
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


def run_hydindex(home: Path, *words: str) -> Run:
    """Run `hydindex WORDS --json` in a folder.

    Raises:
        RuntimeError: the command failed.
    """
    # An access key for the user's own client would override the stand-in's.
    environment = {name: value for name, value in os.environ.items() if name != "HYDINDEX_API_KEY"}
    with tempfile.TemporaryDirectory() as folder:
        cost = Path(folder) / "cost.json"
        ended = subprocess.run(
            [sys.executable, __file__, cost, sys.executable, "-m", "hydindex", *words, "--json"],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit code {ended.returncode}\n{ended.stderr}")
        return Run(json.loads(ended.stdout), Cost(**json.loads(cost.read_text())))


def drop_page_cache(path: Path) -> None:
    """Remove a file from the page cache of the operating system, so that it is read from disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # changed pages would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def print_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows by column name: the first column left-aligned, the others right-aligned."""
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}\n")
    for first, *others in lines:
        aligned = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        print("  ".join([first.ljust(widths[0]), *aligned]), flush=True)


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"
    return str(value)


def _run_and_measure(command: list[str]) -> tuple[int, Cost]:
    started = time.perf_counter()
    process_id = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(process_id, 0)
    cost = Cost(
        wall_s=time.perf_counter() - started,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )
    return os.waitstatus_to_exitcode(status), cost


if __name__ == "__main__":
    exit_code, cost_of_command = _run_and_measure(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(asdict(cost_of_command)))
    sys.exit(exit_code)
