"""One file of a library as its Hydrus client describes it, and folders of such files."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class HydrusFile:
    """A file of a library: its metadata, its tags, its thumbnail, and what it is a copy of.

    `hash` is the SHA-256 as 64 hex digits, `size` is in bytes, `thumbnail` holds the bytes
    of a JPEG or PNG, `video` is where the file itself lies, if anywhere. Two files that share a
    label in `base` are duplicates of each other; Hydrus knows nothing of `base`, it is there to
    measure with.
    """

    hash: str
    size: int
    mime: str
    ext: str
    width: int | None
    height: int | None
    duration_ms: float | int | None
    num_frames: int | None
    has_audio: bool
    tags: frozenset[str]
    thumbnail: bytes
    base: frozenset[str] = frozenset()
    video: Path | None = None


def load_folder(path: Path, tags: Iterable[str]) -> list[HydrusFile]:
    """Read a labelled library from a folder, in the order of its file ids.

    The folder holds `files.json`, a list of objects with the client's basic metadata and a
    list `base`, and the thumbnails as `thumbs/HASH`; perhaps the files themselves as
    `videos/HASH.ext`. Every file is given the `tags`.

    Raises:
        ValueError: the folder is not laid out like that; the text names what is wrong.

    """
    listing = path / "files.json"
    try:
        rows = json.loads(listing.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} is no library folder: {listing} can't be read") from error
    except ValueError as error:
        raise ValueError(f"{path} is no library folder: {listing} is not JSON") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} is no library folder: {listing} is not a list of files")
    given = frozenset(tags)
    return [_file_of(row, path, given) for row in rows]


def _file_of(row: Any, folder: Path, tags: frozenset[str]) -> HydrusFile:
    try:
        video = folder / "videos" / f"{row['hash']}{row['ext']}"
        return HydrusFile(
            hash=row["hash"],
            size=row["size"],
            mime=row["mime"],
            ext=row["ext"],
            width=row["width"],
            height=row["height"],
            duration_ms=row["duration"],
            num_frames=row["num_frames"],
            has_audio=row["has_audio"],
            tags=tags,
            thumbnail=(folder / "thumbs" / row["hash"]).read_bytes(),
            base=frozenset(row["base"]),
            video=video if video.exists() else None,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}: a row of files.json lacks a field: {row!r}") from error
    except OSError as error:
        raise ValueError(f"{folder}: no thumbnail at thumbs/{row['hash']}") from error


def true_pairs(files: Iterable[HydrusFile]) -> frozenset[frozenset[str]]:
    """Every pair of hashes whose files share a base: the duplicates that are there to find."""
    hashes_of_base: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        for base in file.base:
            hashes_of_base[base].add(file.hash)
    return frozenset(
        frozenset(pair) for hashes in hashes_of_base.values() for pair in combinations(hashes, 2)
    )
