"""What a Hydrus client remembers: its files, where they are, relationships and access keys."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from threading import RLock
from typing import Any

from hydindex.standin import services
from hydindex.standin.relationships import Relationship, Relationships

# v682 drops potentials between files without a perceptual hash, which videos don't have. v683
# accepts them again.
_VERSION_WITHOUT_VIDEO_POTENTIALS = 682


@dataclass(frozen=True, slots=True)
class HydrusFile:
    """A file of a library.

    `hash` is the SHA-256 (64 hex digits), `size` is in bytes, `thumbnail` is a JPEG or PNG, `video`
    is the path of the file itself, if there is one. Files that share a label in `base` are
    duplicates: the ground truth for measurements, which the client does not know.
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

    @property
    def is_still_image(self) -> bool:
        """Whether it is an image that does not move; in Hydrus, an animated GIF is no image."""
        return self.mime.startswith("image/") and not self.duration_ms


def load_folder(path: Path, tags: Iterable[str]) -> list[HydrusFile]:
    """Load a labelled library from a folder and give every file the `tags`.

    The folder holds `files.json`, a list of objects with the client's basic metadata and a list
    `base`; the thumbnails as `thumbs/HASH`; and optionally the videos as `videos/HASH.ext`.

    Raises:
        ValueError: the folder has another layout; the text says what is wrong.
    """
    try:
        rows = json.loads((path / "files.json").read_bytes())
        return [_load_file(row, path, frozenset(tags)) for row in rows]
    except KeyError as error:
        raise ValueError(f"{path}: a row of files.json lacks the field {error}") from error
    except OSError as error:
        raise ValueError(f"{error.filename} can't be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path / 'files.json'} is not a list of files: {error}") from error


def _load_file(row: Any, folder: Path, tags: frozenset[str]) -> HydrusFile:
    copied = ("hash", "size", "mime", "ext", "width", "height", "num_frames", "has_audio")
    video = folder / "videos" / f"{row['hash']}{row['ext']}"
    return HydrusFile(
        **{name: row[name] for name in copied},
        duration_ms=row["duration"],
        tags=tags,
        thumbnail=(folder / "thumbs" / row["hash"]).read_bytes(),
        base=frozenset(row["base"]),
        video=video if video.exists() else None,
    )


def true_pairs(files: Iterable[HydrusFile]) -> frozenset[frozenset[str]]:
    """Return the duplicate pairs: the hashes of all files that share a label in `base`."""
    hashes_of_base: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        for base in file.base:
            hashes_of_base[base].add(file.hash)
    return frozenset(
        frozenset(pair) for hashes in hashes_of_base.values() for pair in combinations(hashes, 2)
    )


# Permissions of access keys, by their number in the Client API.
ADD_FILES, SEARCH, RELATIONSHIPS, POPUPS, LOCAL_PATHS = 1, 3, 8, 10, 13
EVERY_PERMISSION = frozenset(range(14))


@dataclass(frozen=True, slots=True)
class Access:
    """What an access key permits, and the name of the program that holds it.

    A key that is restricted by tags may only use ids of its last search. The stand-in lets it
    search for all tags.
    """

    name: str
    permissions: frozenset[int]
    is_restricted: bool = False


# The file domains of a file, by where it is. The client still knows a deleted file.
_LIBRARY = frozenset({services.MY_FILES, services.LOCAL_MEDIA, services.LOCAL_STORAGE})
_TRASH = frozenset({services.TRASH, services.LOCAL_STORAGE})
_DELETED = frozenset[str]()


class ClientState:
    """The memory of one client, and what its user does and sees there.

    Methods and properties may be used from any thread; the endpoints run while `lock` is held. A
    new file's id is the highest so far plus 1. `posted_rows` has the hashes of every potential
    in an accepted POST, kept or not, and `popups` the text of each popup.
    """

    FULL_KEY = "f0" * 32
    SEARCH_ONLY_KEY = "5e" * 32
    SEARCH_AND_RELATIONSHIPS_KEY = "38" * 32
    LOCAL_PATHS_KEY = "1d" * 32
    POPUPS_KEY = "90" * 32
    RESTRICTED_KEY = "7a" * 32

    def __init__(self, hydrus_version: int) -> None:
        basic = frozenset({SEARCH, RELATIONSHIPS})
        self.access_of_key = {
            self.FULL_KEY: Access("full", EVERY_PERMISSION),
            self.SEARCH_ONLY_KEY: Access("search only", frozenset({SEARCH})),
            self.SEARCH_AND_RELATIONSHIPS_KEY: Access("hydindex", basic),
            self.LOCAL_PATHS_KEY: Access("beside Hydrus", basic | {LOCAL_PATHS}),
            self.POPUPS_KEY: Access("with popups", basic | {POPUPS}),
            self.RESTRICTED_KEY: Access("restricted", basic, is_restricted=True),
        }
        self.dialog_is_open = False
        self.requested_access: tuple[str, Access] | None = None
        self.hydrus_version = hydrus_version
        self.lock = RLock()
        self.files: dict[str, HydrusFile] = {}
        self.ids: dict[str, int] = {}
        self.hashes: dict[int, str] = {}
        self.relationships = Relationships(self._takes_potentials)
        self.posted_rows: list[tuple[str, str]] = []
        self.popups: list[str] = []
        self.last_search_of: dict[str, frozenset[int]] = {}
        self._domains: dict[str, frozenset[str]] = {}

    def add(self, files: Iterable[HydrusFile]) -> None:
        """Import files. A known file keeps its id."""
        with self.lock:
            next_id = max(self.hashes, default=0) + 1
            for file in files:
                if file.hash not in self.ids:
                    self.ids[file.hash] = next_id
                    self.hashes[next_id] = file.hash
                    next_id += 1
                self.files[file.hash] = file
                self._domains[file.hash] = _LIBRARY

    def replace_database(self, ids: Mapping[str, int]) -> None:
        """Give files other ids, by hash, as in another database. Other files are unknown in it."""
        with self.lock:
            self.ids = dict(ids)
            self.hashes = {file_id: file_hash for file_hash, file_id in ids.items()}
            self.files = {each: self.files[each] for each in ids}
            self._domains = {each: self._domains[each] for each in ids}

    def trash(self, file_hash: str) -> None:
        """Move a file from the library to the trash."""
        with self.lock:
            if self._domains.get(file_hash) == _LIBRARY:
                self._domains[file_hash] = _TRASH

    def delete(self, file_hash: str) -> None:
        """Delete a file physically. If it is a king, its group loses its potentials."""
        with self.lock:
            if file_hash in self._domains:
                self._domains[file_hash] = _DELETED
                if self.relationships.king_of(file_hash) == file_hash:
                    self.relationships.remove_potentials(file_hash)

    def is_deleted(self, file_hash: str) -> bool:
        """Return whether a known file is physically gone."""
        with self.lock:
            return self._domains.get(file_hash) == _DELETED

    def restore(self, file_hash: str) -> None:
        """Bring a known file back, from the trash or by importing it again."""
        self.add([self.files[file_hash]])

    def visible_in(self, domain: str) -> Callable[[str], bool]:
        """Return a test for whether a file is in a file domain, given by its service key."""
        everything = domain == services.ALL_KNOWN_FILES
        return lambda file_hash: everything or domain in self._domains.get(file_hash, _DELETED)

    def decide(self, a: str, b: str, relationship: int) -> None:
        """Set a relationship as the user does, by its number in the Client API."""
        with self.lock:
            self.relationships.set_relationship(a, b, Relationship(relationship))

    def remove_potentials(self, *hashes: str) -> None:
        """Remove every potential pair of these files' groups."""
        with self.lock:
            for file_hash in hashes:
                self.relationships.remove_potentials(file_hash)

    @property
    def potentials(self) -> frozenset[frozenset[str]]:
        """The potential pairs that the client shows: by king, both on disk.

        v681 also stores a pair with a file that it does not have, and shows it once the file is
        imported.
        """
        with self.lock:
            on_disk = self.visible_in(services.LOCAL_STORAGE)
            stored = self.relationships.potentials
            return frozenset(pair for pair in stored if all(map(on_disk, pair)))

    def open_permission_dialog(self) -> None:
        """Open *add > from api request* and forget earlier requests.

        While it is open a program gets a key at once; the client knows it only after `approve`.
        """
        with self.lock:
            self.dialog_is_open, self.requested_access = True, None

    def approve(self, permissions: Collection[int] | None = None) -> None:
        """Approve the latest request, with other `permissions` if given, and close the dialog.

        A second call edits the key.
        """
        with self.lock:
            assert self.requested_access is not None, "there is no request to approve"
            key, access = self.requested_access
            if permissions is not None:
                access = Access(access.name, frozenset(permissions))
            self.access_of_key[key] = access
            self.dialog_is_open = False

    def _takes_potentials(self, king: str) -> bool:
        if self.hydrus_version != _VERSION_WITHOUT_VIDEO_POTENTIALS:
            return True
        file = self.files.get(king)
        return file is not None and file.is_still_image and not self.is_deleted(king)
