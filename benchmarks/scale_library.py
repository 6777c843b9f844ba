"""A library of any size, made by recipe: the same files for the same seed, and few pictures.

Pictures come from a pool of scenes and altered copies of them, as the demo's library has them
(`hydindex.demo.generated_library`), each prepared once by hydindex itself, for both ways to decide. A file of
the library is one of these pictures and a duration:

- a tenth of all files is exactly 10 s long: the hot bucket;
- 15 % have one of six round lengths;
- the others are log-normal, with a median of 45 s.

Some files are true copies of others: a picture of the same scene, at the same length or up to
0.3 s off it. Nothing else keeps two files of one picture at lengths of their own.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from hydindex.matching.preparation import Preparation
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.demo.generated_library import generate_library
from hydindex.pipeline.ingest import prepare_and_pack
from hydindex.records.pictures import Packed, Signature
from hydindex.standin.library_files import HydrusFile

SEED: Final = 20_001
NEW_FILES: Final = 200
"""How many files a night brings."""

POOL_PICTURES: Final = 20_000
_PICTURES_A_TASK: Final = 500

HOT_DURATION_MS: Final = 10_000
_HOT_SHARE: Final = 0.1
_ROUND_DURATIONS_MS: Final = (5_000, 6_000, 10_000, 15_000, 30_000, 60_000)
_ROUND_SHARE: Final = 0.15
_MEDIAN_DURATION_MS: Final = 45_000
_DURATION_SIGMA: Final = 1.1  # of the logarithm
_SHORTEST_MS: Final = 500

_COPIED_SHARE: Final = 0.05
_NEW_COPIED_SHARE: Final = 0.1
_EXACT_COPY_SHARE: Final = 0.6  # of the copies, those of exactly the same length
_COPY_DRIFT_MS: Final = 300

# What Hydrus says of a file and hydindex only stores.
TAGS: Final = frozenset({"meta:pd"})  # that the shipped config asks for
_FRAMES_PER_S: Final = 25
_BYTES_PER_S: Final = 250_000


@dataclass(frozen=True, slots=True)
class Blobs:
    """Many byte strings as one array, and where each of them ends."""

    content: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[bytes]) -> Self:
        """Join byte strings."""
        content = np.frombuffer(b"".join(parts), np.uint8)
        return cls(content, np.cumsum([len(part) for part in parts], dtype=np.int64))

    def split(self) -> list[bytes]:
        """Give the byte strings, each an object of its own."""
        return [
            self.content[start:end].tobytes() for start, end in pairwise([0, *self.ends.tolist()])
        ]


@dataclass(frozen=True, slots=True)
class Pool:
    """The distinct pictures: parallel, those of one scene one after the other.

    `scene` int64: the position of the first picture of the same scene. Both hashes int64, as the
    index keeps them: the same 64 bits, signed. `pixels` and `sums` are for the threshold rule;
    `content_shape` float64, `content_hash` and `views` for the calibrated decision.
    """

    thumbnails: list[bytes]
    width_px: NDArray[np.int64]
    height_px: NDArray[np.int64]
    scene: NDArray[np.int64]
    average_hash: NDArray[np.int64]
    pixels: list[bytes]
    sums: list[bytes]
    content_shape: NDArray[np.float64]
    content_hash: NDArray[np.int64]
    views: list[bytes]

    def __len__(self) -> int:
        return len(self.thumbnails)

    @property
    def pictures_of_scene(self) -> NDArray[np.int64]:
        """How many pictures the scene of each picture has."""
        _, scene_number, counts = np.unique(self.scene, return_inverse=True, return_counts=True)
        return counts[scene_number]


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a library: their numbers, counted on from night to night, pictures and lengths."""

    number: NDArray[np.int64]
    picture: NDArray[np.int64]
    duration_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.number)

    def __add__(self, later: "Files") -> "Files":
        return Files(
            np.concatenate((self.number, later.number)),
            np.concatenate((self.picture, later.picture)),
            np.concatenate((self.duration_ms, later.duration_ms)),
        )


def load_pool(path: Path) -> Pool:
    """Load the pool of pictures; make it first where there is none."""
    if not path.exists():
        _save_pool(path, _made_pictures())
    with np.load(path) as stored:

        def blobs(name: str) -> list[bytes]:
            return Blobs(stored[name], stored[f"{name}_ends"]).split()

        return Pool(
            thumbnails=blobs("thumbnails"),
            width_px=stored["width_px"],
            height_px=stored["height_px"],
            scene=stored["scene"],
            average_hash=stored["average_hash"],
            pixels=blobs("pixels"),
            sums=blobs("sums"),
            content_shape=stored["content_shape"],
            content_hash=stored["content_hash"],
            views=blobs("views"),
        )


def draw_library(pool: Pool, count: int) -> Files:
    """Draw the library as it is when the first measured night begins."""
    rng = np.random.default_rng((SEED, count))
    drawn = Files(np.arange(count), *_independent(rng, pool, count))
    is_copy = rng.random(count) < _COPIED_SHARE
    (originals,) = np.nonzero(~is_copy)
    (copies,) = np.nonzero(is_copy)
    _make_copies(rng, pool, drawn, copies, drawn, originals)
    return drawn


def draw_night(pool: Pool, library: Files, night: int) -> Files:
    """Draw the files that come in the `night`-th night, counted from 1."""
    rng = np.random.default_rng((SEED, len(library), night))
    first_number = len(library) + (night - 1) * NEW_FILES
    numbers = np.arange(first_number, first_number + NEW_FILES)
    drawn = Files(numbers, *_independent(rng, pool, NEW_FILES))
    (copies,) = np.nonzero(rng.random(NEW_FILES) < _NEW_COPIED_SHARE)
    _make_copies(rng, pool, drawn, copies, library, np.arange(len(library)))
    return drawn


def draw_nights(pool: Pool, library: Files, nights: int) -> Files:
    """Draw a library with all that came in its first nights."""
    files = library
    for night in range(1, nights + 1):
        files += draw_night(pool, library, night)
    return files


def sha256_of(number: int) -> bytes:
    """Give the SHA-256 of a file."""
    return hashlib.sha256(f"{SEED} {number}".encode()).digest()


def size_bytes(duration_ms: int) -> int:
    """Say how large a file of this length is."""
    return duration_ms * _BYTES_PER_S // 1000


def num_frames(duration_ms: int) -> int:
    """Say how many frames a file of this length has."""
    return max(1, duration_ms * _FRAMES_PER_S // 1000)


def hydrus_files(pool: Pool, files: Files) -> Iterator[HydrusFile]:
    """Describe files as the stand-in wants them; files of one picture share its bytes."""
    widths_px, heights_px = pool.width_px.tolist(), pool.height_px.tolist()
    for number, picture, duration_ms in _rows(files):
        yield HydrusFile(
            hash=sha256_of(number).hex(),
            size=size_bytes(duration_ms),
            mime="video/mp4",
            ext=".mp4",
            width=widths_px[picture],
            height=heights_px[picture],
            duration_ms=duration_ms,
            num_frames=num_frames(duration_ms),
            has_audio=True,
            tags=TAGS,
            thumbnail=pool.thumbnails[picture],
        )


def pairs_of_one_picture(files: Files, within_ms: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find, by position, all pairs of files that show the same picture at lengths so near."""
    order = np.lexsort((files.duration_ms, files.picture))
    # One axis on which pictures lie further apart than files of one picture can be paired.
    apart = int(files.duration_ms.max()) + within_ms + 1
    place = files.picture[order] * apart + files.duration_ms[order]
    end = np.searchsorted(place, place + within_ms, side="right")
    later = end - np.arange(len(place)) - 1
    one = np.repeat(np.arange(len(place)), later)
    nth = np.arange(len(one)) - np.repeat(np.cumsum(later) - later, later)
    return order[one], order[one + 1 + nth]


def _rows(files: Files) -> Iterable[tuple[int, int, int]]:
    columns = (files.number.tolist(), files.picture.tolist(), files.duration_ms.tolist())
    return zip(*columns, strict=True)


def _independent(
    rng: np.random.Generator, pool: Pool, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw pictures and durations of files that have nothing to do with each other."""
    pictures = rng.integers(len(pool), size=count)
    natural_ms = rng.lognormal(np.log(_MEDIAN_DURATION_MS), _DURATION_SIGMA, count)
    durations_ms = np.rint(natural_ms).astype(np.int64).clip(_SHORTEST_MS)
    kind = rng.random(count)
    is_hot, is_round = kind < _HOT_SHARE, kind >= 1 - _ROUND_SHARE
    durations_ms[is_hot] = HOT_DURATION_MS
    durations_ms[is_round] = rng.choice(_ROUND_DURATIONS_MS, np.count_nonzero(is_round))
    return pictures, durations_ms


def _make_copies(
    rng: np.random.Generator,
    pool: Pool,
    files: Files,
    copies: NDArray[np.intp],
    library: Files,
    originals: NDArray[np.intp],
) -> None:
    """Turn some files, by position, into copies of any of the originals."""
    original = originals[rng.integers(len(originals), size=len(copies))]
    picture = library.picture[original]
    variant = rng.random(len(copies)) * pool.pictures_of_scene[picture]
    files.picture[copies] = pool.scene[picture] + variant.astype(np.int64)
    drift_ms = rng.integers(-_COPY_DRIFT_MS, _COPY_DRIFT_MS + 1, len(copies))
    drift_ms[rng.random(len(copies)) < _EXACT_COPY_SHARE] = 0
    files.duration_ms[copies] = (library.duration_ms[original] + drift_ms).clip(_SHORTEST_MS)


def _made_pictures() -> list[tuple[HydrusFile, Packed, Signature]]:
    """Draw and prepare the pictures of the pool, on all cores."""
    seeds = range(POOL_PICTURES // _PICTURES_A_TASK)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        return [made for task in processes.map(_pictures_of, seeds) for made in task]


def _pictures_of(seed: int) -> list[tuple[HydrusFile, Packed, Signature]]:
    by_threshold = replace(Preparation.of(Config()), calibrated=False)  # else as shipped
    calibrated = replace(by_threshold, calibrated=True)
    made = []
    for file in generate_library(SEED + seed, _PICTURES_A_TASK):
        packed = prepare_and_pack(file.thumbnail, by_threshold)
        signature = prepare_and_pack(file.thumbnail, calibrated)
        if not isinstance(packed, Packed) or not isinstance(signature, Signature):
            raise TypeError(packed, signature)
        made.append((file, packed, signature))
    return made


def _save_pool(path: Path, pictures: Sequence[tuple[HydrusFile, Packed, Signature]]) -> None:
    files, packed, signatures = zip(*pictures, strict=True)
    _, first_of_scene, scene_number = np.unique(
        [next(iter(file.base)) for file in files], return_index=True, return_inverse=True
    )
    columns: dict[str, Any] = {
        "width_px": np.array([file.width for file in files]),
        "height_px": np.array([file.height for file in files]),
        "scene": first_of_scene[scene_number],
        "average_hash": _signed([each.average_hash for each in packed]),
        "content_shape": np.array([each.content_shape for each in signatures]),
        "content_hash": _signed([each.content_hash for each in signatures]),
    }
    for name, parts in (
        ("thumbnails", [file.thumbnail for file in files]),
        ("pixels", [each.pixels for each in packed]),
        ("sums", [each.sums for each in packed]),
        ("views", [each.views.tobytes() for each in signatures]),
    ):
        blobs = Blobs.of(parts)
        columns[name], columns[f"{name}_ends"] = blobs.content, blobs.ends
    content = io.BytesIO()
    np.savez(content, **columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    half_written = path.with_suffix(".part")
    half_written.write_bytes(content.getbuffer())
    half_written.rename(path)


def _signed(hashes: Sequence[int]) -> NDArray[np.int64]:
    return np.array(hashes, np.uint64).view(np.int64)
