"""Measure nightly runs in libraries of growing size: 200 new files, and nothing new.

    python benchmarks/scale.py --files 10000 100000 --plot docs/images/scale.png

Libraries are generated and put into an index directly (see `scale_library.py`). The stand-in that
serves them answers searches with prepared replies. Runs use the shipped config, except that the
method `threshold` has a threshold of 0.9; `--hamming` sets `ahash.hammingMax`. One unmeasured run
comes first, so the page cache is warm; of the nights with new files, the median in time is shown.

Filled indexes stay in the folder and grow by the new files of each night; one that has grown by a
tenth is filled again. A million files take 7 GB of disk with the method `calibrated`, 30 GB with
`threshold`; filling takes minutes then.
"""

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

from measure import Cost, print_table, run_hydindex, write_config
from scale_library import NEW_FILES, Files, Pool, fill_index, index_of_pool, prepare_search, serve

METHODS: Final = ("calibrated", "threshold")
STAGES: Final = ("search", "fetch", "prepare", "compare", "post")
POOL_PICTURES: Final = 20_000
WITHIN_MS: Final = 1000  # the shipped candidate_generation.tolSeconds
MAX_GROWTH: Final = 0.1


@dataclass(frozen=True, slots=True)
class Night:
    """The report of a run and its cost."""

    report: dict[str, Any]
    cost: Cost


@dataclass(frozen=True, slots=True)
class Measured:
    """A library with its median runs; the size of the index is per file."""

    method: str
    files: int
    index_bytes: int
    with_new_files: Night
    with_nothing_new: Night


def main() -> None:
    options = _options()
    pool = Pool(options.folder / f"pool-{options.pictures}.pickle", options.pictures)
    all_measured = []
    for count, method in product(options.files, options.method):
        print(f"{count:,} files, {method}", flush=True)
        changes: dict[str, Any] = {"decision": {"method": method}, "similarity_threshold": 0.9}
        if options.hamming is not None:
            changes["ahash"] = {"hammingMax": options.hamming}
        home = options.folder / f"{method}-{options.hamming}-{options.pictures}" / str(count)
        all_measured.append(measure(home, pool, count, changes, options.nights))
    limit = "shipped" if options.hamming is None else options.hamming
    show(all_measured, f"ahash.hammingMax: {limit}")
    if options.plot is not None:
        draw(options.plot, all_measured)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--method", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--hamming", type=int, help="ahash.hammingMax, if not the shipped one")
    parser.add_argument("--folder", type=Path, default=Path("build/scale"))
    parser.add_argument("--nights", type=int, default=3, help="runs of each kind")
    parser.add_argument("--pictures", type=int, default=POOL_PICTURES, help="distinct pictures")
    parser.add_argument("--plot", type=Path, help="draw time and memory against size, as PNG")
    return parser.parse_args()


def measure(home: Path, pool: Pool, count: int, changes: dict[str, Any], nights: int) -> Measured:
    """Run nights on a library of this size."""
    index_path, past_path = home / "hydindex.db", home / "nights"
    library = pool.library(count)
    past = int(past_path.read_text()) if past_path.exists() else 0
    if not index_path.exists() or past * NEW_FILES > count * MAX_GROWTH:
        past = 0
        fill(home, pool, library, changes)
    with serve(pool.hydrus_files(library, range(1, past + 1))) as client:
        write_config(home, client.port, client.FULL_KEY, changes)
        run_hydindex(home, "update")
        with_new_files = []
        for night in range(past + 1, past + 1 + nights):
            past_path.write_text(str(night))  # before the run: an interrupted night has begun, too
            client.add(pool.new_files(library, night))
            prepare_search(client)
            with_new_files.append(Night(*run_hydindex(home, "update")))
        nothing_new = [Night(*run_hydindex(home, "update")) for _ in range(nights)]
    return Measured(
        method=changes["decision"]["method"],
        files=count,
        index_bytes=index_path.stat().st_size,
        with_new_files=_median(with_new_files),
        with_nothing_new=_median(nothing_new),
    )


def fill(home: Path, pool: Pool, library: Files, changes: dict[str, Any]) -> None:
    """Fill an index with a library; its folder holds nothing else afterwards."""
    pool_index = index_of_pool(home.parent / "pool", pool, changes)
    home.mkdir(parents=True, exist_ok=True)
    for old in home.iterdir():
        if old.is_file():
            old.unlink()
    fill_index(home / "hydindex.db", pool_index, pool, library, WITHIN_MS)


def _median(nights: list[Night]) -> Night:
    middle_s = median(night.cost.wall_s for night in nights)
    return min(nights, key=lambda night: abs(night.cost.wall_s - middle_s))


def show(all_measured: list[Measured], setting: str) -> None:
    print_table(
        f"Nightly runs with {NEW_FILES} new files and with nothing new. Stages in seconds; compare "
        f"includes\nimporting torch with the method threshold. {setting}.",
        (
            "files",
            "method",
            "new",
            "seconds",
            "CPU s",
            "MB memory",
            *STAGES,
            "candidates",
            "matched",
        ),
        [
            (
                *(f"{each.files:,}", each.method, night.report["files"]["new"]),
                *(night.cost.wall_s, night.cost.cpu_s, round(night.cost.peak_bytes / 1e6)),
                *(float(night.report["seconds"][stage]) for stage in STAGES),
                *(night.report["pairs"][key] for key in ("candidates", "matched")),
            )
            for each in all_measured
            for night in (each.with_new_files, each.with_nothing_new)
        ],
    )
    print_table(
        "The index.",
        ("files", "method", "MB", "KB per file"),
        [
            (
                *(f"{each.files:,}", each.method, each.index_bytes / 1e6),
                each.index_bytes / each.with_nothing_new.report["files"]["found"] / 1e3,
            )
            for each in all_measured
        ],
    )


def draw(path: Path, all_measured: list[Measured]) -> None:
    """Draw nights with new files for each method, and nights with nothing new for the first."""
    from charts import draw_growth

    by_size = sorted(all_measured, key=lambda each: each.files)
    methods = list(dict.fromkeys(each.method for each in all_measured))
    nights = {
        method: [each.with_new_files for each in by_size if each.method == method]
        for method in methods
    }
    nights["nothing new"] = [e.with_nothing_new for e in by_size if e.method == methods[0]]
    counts = sorted({each.files for each in by_size})
    draw_growth(
        path,
        counts,
        {
            label: [(night.cost.wall_s, night.cost.peak_bytes / 1e6) for night in some]
            for label, some in nights.items()
        },
    )


if __name__ == "__main__":
    main()
