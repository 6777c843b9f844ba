"""Measure nightly runs in libraries of growing size: 200 new files, and nothing new.

    python benchmarks/scale.py --files 10000 100000

Libraries are generated and put into an index directly (see `scale_library.py`). The stand-in that
serves them answers searches with prepared replies. Runs use the shipped config, except that the
method `threshold` has a threshold of 0.9. One unmeasured run comes first, so the page cache is
warm; of three nights of each kind, the median in time is shown.

Filling an index of a million files takes minutes, and 7 GB of disk with the method `calibrated`,
30 GB with `threshold`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from measure import Cost, Run, print_table, run_hydindex, write_config
from scale_library import Pool, fill_home, serve

METHODS: Final = ("calibrated", "threshold")
NIGHTS: Final = 3
WITHIN_MS: Final = 1000  # the shipped candidate_generation.tolSeconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--plot", type=Path, help="draw time and memory against size, as PNG")
    options = parser.parse_args()
    pool = Pool()
    rows: list[dict[str, object]] = []
    lines: dict[str, list[Cost]] = {"calibrated": [], "threshold": [], "nothing new": []}
    for count in sorted(options.files):
        for method in METHODS:
            home = Path("build/scale") / method
            changes = {"decision": {"method": method}, "similarity_threshold": 0.9}
            with_new_files, nothing_new = measure(home, pool, count, changes)
            index_mb = (home / "hydindex.db").stat().st_size / 1e6
            for night in (with_new_files, nothing_new):
                rows.append({"files": count, "method": method, **_row(night), "MB index": index_mb})
            lines[method].append(with_new_files.cost)
            if method == "calibrated":
                lines["nothing new"].append(nothing_new.cost)
    print_table(
        "Nightly runs. Stages in seconds; compare includes importing torch with the method "
        "threshold.",
        rows,
    )
    if options.plot is not None:
        from charts import draw_growth

        draw_growth(options.plot, sorted(options.files), lines)


def measure(home: Path, pool: Pool, count: int, changes: dict[str, Any]) -> tuple[Run, Run]:
    """Return the median night with new files and the median night with nothing new."""
    library = pool.library(count)
    fill_home(home, pool, library, changes=changes, within_ms=WITHIN_MS)
    with serve(pool.hydrus_files(library)) as client:
        write_config(home, client.port, client.FULL_KEY, changes)
        run_hydindex(home, "update")
        with_new_files = []
        for night in range(1, NIGHTS + 1):
            client.add(pool.hydrus_files(pool.new_files(library, night)))
            client.prepare_search()
            with_new_files.append(run_hydindex(home, "update"))
        nothing_new = [run_hydindex(home, "update") for _ in range(NIGHTS)]
    return _median(with_new_files), _median(nothing_new)


def _median(nights: Sequence[Run]) -> Run:
    by_time = sorted(nights, key=lambda night: night.cost.wall_s)
    return by_time[len(by_time) // 2]


def _row(night: Run) -> dict[str, object]:
    report, cost = night
    return {
        "new": report["files"]["new"],
        "seconds": cost.wall_s,
        "CPU s": cost.cpu_s,
        "MB memory": round(cost.peak_bytes / 1e6),
        **{stage: report["seconds"][stage] for stage in ("search", "fetch", "compare")},
        "candidates": report["pairs"]["candidates"],
    }


if __name__ == "__main__":
    main()
