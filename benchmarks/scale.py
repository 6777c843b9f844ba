"""Measure runs in libraries of growing size: nights, and the first comparison of all files.

    python benchmarks/scale.py --files 10000 100000 1000000 [--plot docs/images/scale.png]

Libraries are generated and put into an index directly (see `scale_library.py`). The stand-in that
serves them answers searches with prepared replies. All runs use the shipped config:

- updates with 200 new files, and with nothing new. Before a cold one, the index leaves the page
  cache. One unmeasured update comes first. Of three of each kind, the median in time is shown.
- `rebuild` of an index whose files are indexed, but none compared: the first comparison of all
  files, from stored descriptors and signatures. It runs once.
- updates with 200 new still images, in an index of still images.

Filling an index of a million files takes minutes, and 7 GB of disk.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from measure import Cost, Run, drop_page_cache, print_table, run_hydindex, write_config
from scale_library import (
    INDEX,
    NEW_FILES,
    Pool,
    fill_home,
    forget_comparisons,
    remove_durations,
    serve,
)

from hydindex.standin.state import HydrusFile

TIMES: Final = 3
HOME: Final = Path("build/scale")
VIDEOS: Final = f"{NEW_FILES} new"
VIDEOS_COLD: Final = f"{NEW_FILES} new, cold"
NOTHING: Final = "nothing new"
NOTHING_COLD: Final = "nothing new, cold"
FIRST: Final = "first comparison"
STILL: Final = f"{NEW_FILES} new still images"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--plot", type=Path, help="draw time and memory against size, as PNG")
    options = parser.parse_args()
    pool = Pool()
    sizes = sorted(options.files)
    lines: dict[str, list[Cost]] = {
        kind: [] for kind in (VIDEOS, VIDEOS_COLD, NOTHING, FIRST, STILL)
    }
    for size in sizes:
        runs = measure(pool, size)
        for kind, costs in lines.items():
            costs.append(runs[kind].cost)
        index_mb = (HOME / INDEX).stat().st_size / 1e6
        print_table(
            f"{size:,} files, an index of {index_mb:,.0f} MB; stages in seconds",
            [_row(kind, run) for kind, run in runs.items()],
        )
    if options.plot is not None:
        from charts import draw_growth

        draw_growth(options.plot, sizes, lines)


def measure(pool: Pool, size: int) -> dict[str, Run]:
    """Return a run of each kind in a library of this size."""
    library = pool.library(size)
    fill_home(HOME, pool, library)
    nights = count(1)
    with serve(pool.hydrus_files(library)) as client:
        write_config(HOME, client.port, client.FULL_KEY, {})

        def add_files(*, still: bool = False) -> None:
            files = pool.hydrus_files(pool.new_files(library, next(nights)))
            client.add(map(_still_image, files) if still else files)
            client.prepare_search()

        def update() -> Run:
            return run_hydindex(HOME, "update")

        def cold_update() -> Run:
            drop_page_cache(HOME / INDEX)
            return update()

        update()
        runs = {
            VIDEOS: _median(update, before=add_files),
            VIDEOS_COLD: _median(cold_update, before=add_files),
            NOTHING: _median(update),
            NOTHING_COLD: _median(cold_update),
        }
        forget_comparisons(HOME)
        runs[FIRST] = run_hydindex(HOME, "rebuild")
        remove_durations(HOME)
        update()
        return runs | {STILL: _median(update, before=partial(add_files, still=True))}


def _median(measured: Callable[[], Run], *, before: Callable[[], None] | None = None) -> Run:
    """Return the run with the median time, of TIMES; `before` each, do something unmeasured."""
    runs = []
    for _ in range(TIMES):
        if before is not None:
            before()
        runs.append(measured())
    return sorted(runs, key=lambda run: run.cost.wall_s)[TIMES // 2]


def _still_image(file: HydrusFile) -> HydrusFile:
    return replace(file, mime="image/jpeg", ext=".jpg", duration_ms=None, num_frames=None)


def _row(kind: str, run: Run) -> dict[str, object]:
    report, cost = run
    return {
        "run": kind,
        "seconds": cost.wall_s,
        "CPU s": cost.cpu_s,
        "MB memory": round(cost.peak_bytes / 1e6),
        **{stage: report["seconds"][stage] for stage in ("search", "fetch", "compare")},
        "candidates": report["pairs"]["candidates"],
        "matches": report["pairs"]["matched"],
    }


if __name__ == "__main__":
    main()
