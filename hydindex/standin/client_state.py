"""What a Hydrus client remembers: its files, where each of them is, and how they are related."""

from collections.abc import Callable, Iterable
from enum import Enum

from hydindex.standin import services
from hydindex.standin.access import AccessKeys
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.relationships import Relationship, Relationships
from hydindex.standin.search_tags import Predicate

# Hydrus 682 drops every potential between files without a perceptual hash, and videos have
# none; 683 takes them again.
_VERSION_WITHOUT_VIDEO_POTENTIALS = 682


class Place(Enum):
    """Where a file is; a deleted file is still known, by the id that it always had."""

    LIBRARY = "library"
    TRASH = "trash"
    DELETED = "deleted"


_PLACES_OF_DOMAIN = {
    services.MY_FILES: {Place.LIBRARY},
    services.LOCAL_MEDIA: {Place.LIBRARY},
    services.LOCAL_STORAGE: {Place.LIBRARY, Place.TRASH},
    services.TRASH: {Place.TRASH},
}


class ClientState:
    """The memory of one client; a file's `file_id` counts from 1 in the order of import.

    `posted_rows` holds, in order, the two hashes of every potential that was posted, kept or not;
    `popups` what each popup says.
    `hydrus_version` may change: a client that was updated remembers what it did before.
    """

    def __init__(self, hydrus_version: int) -> None:
        self.hydrus_version = hydrus_version
        self.access_keys = AccessKeys()
        self.relationships = Relationships(self._takes_potentials)
        self.posted_rows: list[tuple[str, str]] = []
        self.popups: list[str] = []
        self._files: dict[str, HydrusFile] = {}
        self._places: dict[str, Place] = {}
        self._ids: dict[str, int] = {}
        self._hashes: dict[int, str] = {}

    def add(self, files: Iterable[HydrusFile]) -> None:
        """Import files; one that the client knows already is back under its old id."""
        for file in files:
            if file.hash not in self._ids:
                self._ids[file.hash] = len(self._ids) + 1
                self._hashes[self._ids[file.hash]] = file.hash
            self._files[file.hash] = file
            self._places[file.hash] = Place.LIBRARY

    def trash(self, file_hash: str) -> None:
        """Move a file of the library to the trash; leave any other file where it is."""
        if self._places.get(file_hash) is Place.LIBRARY:
            self._places[file_hash] = Place.TRASH

    def delete(self, file_hash: str) -> None:
        """Delete a file physically, and with a king the potentials of its group."""
        if file_hash in self._places:
            self._places[file_hash] = Place.DELETED
            everything = self.visible_in(services.ALL_KNOWN_FILES)
            if self.relationships.relationships_of(file_hash, everything).king == file_hash:
                self.relationships.remove_potentials(file_hash)

    def restore(self, file_hash: str) -> None:
        """Put a known file back into the library, from the trash or by importing it again.

        Raises:
            KeyError: the client has never had the file.

        """
        self.add([self._files[file_hash]])

    def set_relationship(self, a: str, b: str, relationship: Relationship) -> None:
        """Take a row of a POST to heart."""
        if relationship is Relationship.POTENTIAL:
            self.posted_rows.append((a, b))
        self.relationships.set_relationship(a, b, relationship)

    def file_of(self, file_hash: str) -> HydrusFile | None:
        """Look up a file that the client knows, deleted or not."""
        return self._files.get(file_hash)

    def file_id_of(self, file_hash: str) -> int | None:
        """Look up the id that a file has in this client."""
        return self._ids.get(file_hash)

    def hash_of(self, file_id: int) -> str | None:
        """Look up the file that an id stands for."""
        return self._hashes.get(file_id)

    def is_deleted(self, file_hash: str) -> bool:
        """Tell whether a file was here once and is physically gone."""
        return self._places.get(file_hash) is Place.DELETED

    def visible_in(self, domain: str) -> Callable[[str], bool]:
        """Give the test whether a file is in a file domain, named by its service key."""
        if domain == services.ALL_KNOWN_FILES:
            return lambda _hash: True
        places = _PLACES_OF_DOMAIN.get(domain, set())
        return lambda file_hash: self._places.get(file_hash) in places

    def search(self, predicate: Predicate, domain: str) -> list[HydrusFile]:
        """Find the files of a file domain that a predicate lets through, in order of file id."""
        visible = self.visible_in(domain)
        return [file for file in self._files.values() if visible(file.hash) and predicate(file)]

    @property
    def potentials(self) -> frozenset[frozenset[str]]:
        """The potential pairs that a client shows: by king, and both kings still on its disk.

        Hydrus 681 also stores a pair with a file that it does not have. Nobody sees that
        pair until the file is imported.
        """
        on_disk = self.visible_in(services.LOCAL_STORAGE)
        return frozenset(pair for pair in self.relationships.potentials if all(map(on_disk, pair)))

    def _takes_potentials(self, king: str) -> bool:
        takes_all = self.hydrus_version != _VERSION_WITHOUT_VIDEO_POTENTIALS
        return takes_all or self._has_perceptual_hash(king)

    def _has_perceptual_hash(self, file_hash: str) -> bool:
        file = self._files.get(file_hash)
        is_still = file is not None and file.mime.startswith("image/") and not file.duration_ms
        return is_still and not self.is_deleted(file_hash)
