"""Runs hydindex in a process of its own, as a timer would, and tells what that cost.

As a script it starts a command, waits for it, and writes down what the system has counted for it.
It is a small process of its own because a peak of memory includes that of the process which
starts the command.

    python benchmarks/measured.py COST.json python -m hydindex update --json
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

SHIPPED_CONFIG: Final = Path(__file__).parents[1] / "hydrus_config.json"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took, from the start of its process to the end.

    `peak_bytes` is the largest resident memory. `read_bytes` is what it read from files: those
    in the page cache and Python's own modules included, shared libraries and the network not;
    None where the system does not tell (it is Linux that does).
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    read_bytes: int | None


def write_config(home: Path, port: int, access_key: str, **changes: Any) -> Path:
    """Write the shipped config with another address and key, and the changed sections."""
    values = json.loads(SHIPPED_CONFIG.read_text(encoding="utf-8"))
    values |= {"api_port": port, "api_key": access_key}
    for key, change in changes.items():
        values[key] = values.get(key, {}) | change if isinstance(change, dict) else change
    path = home / "hydrus_config.json"
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


def run_measured(home: Path, *words: str) -> tuple[dict[str, Any], Cost]:
    """Run `hydindex WORDS --json` in a folder; give its report and its cost.

    Raises:
        RuntimeError: it failed.
    """
    # A key for the user's own client must not override the stand-in's.
    environment = {name: value for name, value in os.environ.items() if name != "HYDINDEX_API_KEY"}
    command = [sys.executable, "-m", "hydindex", *words, "--json"]
    with tempfile.TemporaryDirectory() as folder:
        cost = Path(folder) / "cost.json"
        ended = subprocess.run(
            [sys.executable, __file__, str(cost), *command],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stderr}")
        return json.loads(ended.stdout), Cost(**json.loads(cost.read_text()))


def _spend(command: list[str]) -> tuple[int, Cost]:
    """Run a command; give its exit code and what it cost."""
    started = time.perf_counter()
    process_id = os.posix_spawn(command[0], command, os.environ)
    read_bytes = _bytes_read_until_the_end(process_id)
    _, status, used = os.wait4(process_id, 0)
    cost = Cost(
        wall_s=time.perf_counter() - started,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        read_bytes=read_bytes,
    )
    return os.waitstatus_to_exitcode(status), cost


def _bytes_read_until_the_end(process_id: int) -> int | None:
    """Wait for the end of a process, and read its counts while the system still keeps them."""
    counts = Path(f"/proc/{process_id}/io")
    if not counts.exists():
        return None
    os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)
    fields = (line.split(":") for line in counts.read_text().splitlines())
    return next(int(value) for name, value in fields if name == "rchar")


if __name__ == "__main__":
    exit_code, spent = _spend(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(asdict(spent)))
    sys.exit(exit_code)
