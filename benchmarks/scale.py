"""Measure a night with 200 new files, and one with nothing new, in libraries of growing size.

    python benchmarks/scale.py --files 10000 100000 --plot docs/images/scale.png
    python benchmarks/scale.py --files 10000 100000 --method calibrated threshold

Each library is made by recipe (see `scale_library`) and put into an index directly; a stand-in for
the Hydrus client serves it from a process of its own. Then `hydindex update` runs as it does every
night, with the shipped config but for `hammingMax` 12 and a threshold of 0.9, and by the decision
that `--method` says.

What was filled stays in the folder: the next time only the nights are run, each with 200 further
files. A library that has grown by a tenth that way is filled anew. A file takes 30 KB by the
threshold rule, so a million need 30 GB of disk; filling takes some minutes then, and the stand-in
2 GB of memory. The calibrated decision takes a quarter of that disk.

One update that is not measured runs first, so figures are those of a warm page cache.
"""

import argparse
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from measured import SHIPPED_CONFIG, Cost, run_measured, write_config
from scale_client import ACCESS_KEY, ScaleClient, scale_client
from scale_index import fill_index
from scale_library import (
    HOT_DURATION_MS,
    NEW_FILES,
    Files,
    Pool,
    draw_library,
    draw_night,
    draw_nights,
    load_pool,
)
from table import print_table

from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.matching.candidates import CandidateRules

METHODS: Final = ("calibrated", "threshold")
CONFIG_CHANGES: Final = {"ahash": {"hammingMax": 12}, "similarity_threshold": 0.9}
STAGES: Final = ("search", "fetch", "prepare", "compare", "post")
LEVELS: Final = ("5", "4", "3", "2", "1")
MEGABYTE: Final = 1e6
MOST_GROWTH: Final = 0.1
"""By what part of its size a library may have grown through earlier nights."""


@dataclass(frozen=True, slots=True)
class Sieve:
    """How many pairs of a night's files pass the candidate rules, one after the other.

    Counted here, by comparing every new file with every file.
    """

    near_in_duration: int
    of_one_shape: int
    of_near_hashes: int


@dataclass(frozen=True, slots=True)
class Night:
    """What a night brought and cost; `sieve` only where there was something new."""

    files: int
    report: dict[str, Any]
    cost: Cost
    requests: dict[str, int]
    hot_files: int = 0
    sieve: Sieve | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """A filled index and all that was measured on it."""

    method: str
    files: int
    index_bytes: int
    known_pairs: int
    with_new_files: Night
    with_nothing_new: Night


def main() -> None:
    options = _options()
    pool_path = options.folder / "pictures.npz"
    pool = load_pool(pool_path)
    libraries = []
    for count, method in product(options.files, options.method):
        _say(f"{count:,} files, {method}")
        home = options.folder / method / str(count)
        libraries.append(_measure(home, pool_path, pool, count, method, options.nights))
    for method in options.method:
        _show(method, [each for each in libraries if each.method == method])
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in libraries], indent=2))
    if options.plot is not None:
        from scale_plot import draw_growth

        draw_growth(options.plot, libraries)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    shipped_method = config_file.load(SHIPPED_CONFIG).decision.method
    parser.add_argument("--method", choices=METHODS, nargs="+", default=[shipped_method])
    parser.add_argument("--folder", type=Path, default=Path("build/scale"))
    parser.add_argument("--nights", type=int, default=3, help="nights with new files to run")
    parser.add_argument("--plot", type=Path, help="draw the growth curves as PNG")
    parser.add_argument("--json", type=Path, help="write all figures")
    return parser.parse_args()


def _measure(
    home: Path, pool_path: Path, pool: Pool, count: int, method: str, nights: int
) -> Library:
    """Run nights on a library of this size; of those with new files the median in time counts."""
    home.mkdir(parents=True, exist_ok=True)
    library = draw_library(pool, count)
    changes = CONFIG_CHANGES | {"decision": {"method": method}}
    config_path = write_config(home, 1, ACCESS_KEY, **changes)
    config = config_file.load(config_path)
    index_path = config_file.index_path(config, config_path)
    if not index_path.exists() or _past_nights(home) * NEW_FILES > count * MOST_GROWTH:
        _say("  filling the index")
        _note_past_nights(home, 0)
        fill_index(index_path, config, pool, library)
    past_nights = _past_nights(home)

    _say("  starting the stand-in")
    with scale_client(pool_path, count, past_nights) as client:
        write_config(home, client.port, ACCESS_KEY, **changes)
        run_measured(home, "update")
        measured = []
        for night in range(past_nights + 1, past_nights + 1 + nights):
            _say(f"  night {night}")
            known = draw_nights(pool, library, night - 1)
            new = draw_night(pool, library, night)
            _note_past_nights(home, night)  # before it is: a night cut short must be served, too
            client.import_night(night)
            sieve = _sift(pool, known, new, config)
            measured.append(_run_night(home, client, new, sieve))
        _say("  a night with nothing new")
        quiet = [_run_night(home, client) for _ in range(nights)]
    return Library(
        method=method,
        files=count,
        index_bytes=index_path.stat().st_size,
        known_pairs=_pairs_in(index_path),
        with_new_files=_median_night(measured),
        with_nothing_new=_median_night(quiet),
    )


def _run_night(
    home: Path, client: ScaleClient, new: Files | None = None, sieve: Sieve | None = None
) -> Night:
    client.clear_log()
    report, cost = run_measured(home, "update")
    hot = 0 if new is None else int(np.count_nonzero(new.duration_ms == HOT_DURATION_MS))
    if sieve is not None and report["pairs"]["candidates"] != sieve.of_near_hashes:
        raise RuntimeError(f"{report['pairs']['candidates']} candidates, expected {sieve}")
    return Night(
        files=report["files"]["found"],
        report=report,
        cost=cost,
        requests=dict(client.requests()),
        hot_files=hot,
        sieve=sieve,
    )


def _median_night(nights: list[Night]) -> Night:
    middle_s = median(night.cost.wall_s for night in nights)
    return min(nights, key=lambda night: abs(night.cost.wall_s - middle_s))


def _past_nights(home: Path) -> int:
    return int((home / "nights").read_text())


def _note_past_nights(home: Path, nights: int) -> None:
    (home / "nights").write_text(f"{nights}\n")


def _sift(pool: Pool, known: Files, new: Files, config: Config) -> Sieve:
    """Compare each new file with all known ones and with the new ones before it.

    By the threshold rule a file looks like its picture; by the calibrated decision it may look like
    that or like its content, and one of the two has to agree with one of the other file's.
    """
    rules = CandidateRules.of(config)
    files = known + new
    ratio = pool.width_px / pool.height_px
    looks = [(ratio, pool.average_hash.view(np.uint64))]
    if config.decision.method == "calibrated":
        looks.append((ratio * pool.content_shape, pool.content_hash.view(np.uint64)))
    ratios, hashes = (np.stack(each)[:, files.picture] for each in zip(*looks, strict=True))

    def passing(position: int) -> Iterator[int]:
        others = slice(0, position)
        gap_ms = np.abs(files.duration_ms[others] - files.duration_ms[position])
        (near,) = np.nonzero(gap_ms <= rules.duration_tolerance_ms)
        yield len(near)
        own, other = ratios[:, None, position, None], ratios[None, :, near]
        largest = (rules.aspect_ratio_tolerance or 0) * np.maximum(own, other)
        near = near[(np.abs(own - other) <= largest).any(axis=(0, 1))]
        yield len(near)
        differing_bits = np.bitwise_count(hashes[:, None, position, None] ^ hashes[None, :, near])
        yield int(np.count_nonzero((differing_bits <= (rules.hamming_max or 0)).any(axis=(0, 1))))

    counts = np.array([list(passing(n)) for n in range(len(known), len(files))])
    return Sieve(*counts.sum(axis=0).tolist())


def _pairs_in(index_path: Path) -> int:
    with closing(sqlite3.connect(index_path)) as database:
        return int(database.execute("SELECT count(*) FROM pair").fetchone()[0])


def _show(method: str, libraries: list[Library]) -> None:
    print_table(
        f"A night with {NEW_FILES} new files, and one with nothing new ({method}). Memory is the "
        "peak; read is\nwhat the process read from files (page cache and Python modules included, "
        "the network not). Stages\nin seconds; prepare is the time of its threads divided by their "
        "number; compare includes loading torch\nwhere it is needed.",
        ("files", "new", "seconds", "CPU s", "MB memory", "MB read", *STAGES, "requests"),
        [
            _night_row(night, library.files)
            for library in libraries
            for night in (library.with_new_files, library.with_nothing_new)
        ],
    )
    print_table(
        f"Pairs of the new files ({method}): near in duration, then of about the same shape, then "
        "of near\nhashes: these are the candidates. Then how many were looked at more closely, and "
        "what matched. Hot: new\nfiles in the hot bucket.",
        (
            *("files", "hot", "near", "shape", "candidates"),
            *_looked_at(libraries[0]),
            *("matched", "posted"),
        ),
        [_pairs_row(library) for library in libraries],
    )
    print_table(
        f"The index ({method}).",
        ("files", "MB", "KB a file", "pairs"),
        [
            (
                each.files,
                each.index_bytes / MEGABYTE,
                each.index_bytes / each.with_nothing_new.files / 1e3,
                each.known_pairs,
            )
            for each in libraries
        ],
    )


def _night_row(night: Night, files: int) -> list[object]:
    cost, seconds = night.cost, night.report["seconds"]
    return [
        f"{files:,}",
        night.report["files"]["new"],
        cost.wall_s,
        cost.cpu_s,
        _megabytes(cost.peak_bytes),
        _megabytes(cost.read_bytes),
        *(float(seconds[stage]) for stage in STAGES),
        sum(night.requests.values()),
    ]


def _pairs_row(library: Library) -> list[object]:
    night = library.with_new_files
    pairs, counted = night.report["pairs"], night.sieve
    return [
        f"{library.files:,}",
        night.hot_files,
        counted and counted.near_in_duration,
        counted and counted.of_one_shape,
        pairs["candidates"],
        *_looked_at(library).values(),
        pairs["matched"],
        pairs["posted"],
    ]


def _looked_at(library: Library) -> dict[str, int]:
    """Tell how many pairs each level of MS-SSIM was computed for and how many the library settled.

    Of the calibrated decision, how many passed the gate and were weighed.
    """
    sieve = library.with_new_files.report["sieve"]
    if library.method == "calibrated":
        return {"weighed": sieve["weighed"]}
    levels = {f"level {level}": sieve["levels"][level] for level in LEVELS}
    return {**levels, "settled": sieve["settled"]}


def _megabytes(count: int | None) -> int | None:
    return None if count is None else round(count / MEGABYTE)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
