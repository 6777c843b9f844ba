"""The checks of `hydindex check`, from the config to the lock."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hydindex.commands.connection import connect, find_port
from hydindex.commands.popup import HOW_TO_PERMIT
from hydindex.common.errors import (
    ExitCode,
    HydindexError,
    HydrusBadReply,
    IndexOutdated,
    IndexUnusable,
)
from hydindex.config import config_file
from hydindex.config.key_exposure import exposures
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.permissions import MANAGE_POPUPS, REQUIRED, SEARCH_FILES
from hydindex.hydrus.thumbnails import ThumbnailSource, describe
from hydindex.matching.method import method_for
from hydindex.matching.recipe import recipe_of, require_same_recipe
from hydindex.pipeline.frame_verification import require_decoder
from hydindex.pipeline.posting import VERSION_THAT_DROPS_VIDEO_PAIRS
from hydindex.pipeline.search import HOW_TO_FIX_TAGS, search
from hydindex.records.files import FetchFailure, FileMetadata, FileRef, Thumbnail
from hydindex.store.lock import holder, require_folder
from hydindex.store.store import open_for_reading, require_no_orphaned_backups

# A schema upgrade needs up to this multiple of the size of the index.
_UPGRADE_FACTOR: Final = 3
# Some videos have no thumbnail; it is an error only if none of these has one.
_THUMBNAILS_TRIED: Final = 5


Severity = Literal["ok", "warning", "error"]
"""How bad a finding is; a warning stops no run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, what to do, and the exit code of a run."""

    severity: Severity
    message: str
    remedy: str = ""
    exit_code: ExitCode = ExitCode.DONE


def check_setup(config_path: Path) -> Iterator[tuple[str, Finding]]:
    """Check everything that a run needs; yield findings with their subjects.

    After an error in the config nothing else is checked. Any other error hides only what depends
    on it.
    """
    try:
        config = config_file.load(config_path)
        recipe_of(config)  # reads decision.model
        method_for(config).require_usable()
        if config.frames.enabled:
            require_decoder(config)
        config_file.trusted_certificates(config, config_path)
    except HydindexError as error:
        yield "config", _error(error)
        return
    yield "config", _ok(f"{config_path.absolute()} (decision.method: {config.decision.method})")
    with ExitStack() as connections:
        setup = _Setup(config, config_path, connections)
        for subject, check in _CHECKS.items():
            try:
                finding = check(setup)
            except HydindexError as error:
                finding = _error(error)
            if finding is not None:
                yield subject, finding


def _ok(message: str) -> Finding:
    return Finding("ok", message)


def _warning(message: str, remedy: str) -> Finding:
    return Finding("warning", message, remedy)


def _error(error: HydindexError) -> Finding:
    return Finding("error", error.message, error.remedy, error.exit_code)


class _Setup:
    """A setup, and what the checks so far have found out about it.

    A check returns None if an earlier error rules it out. It may raise any HydindexError.
    """

    def __init__(self, config: Config, config_path: Path, connections: ExitStack) -> None:
        self.config = config
        self.config_path = config_path
        self.connections = connections
        self.version: int | None = None
        self.client: HydrusClient | None = None
        self.hydrus_ids: NDArray[np.int64] | None = None
        self.index_path: Path | None = None
        self.index_is_outdated = False

    def check_address(self) -> Finding:
        try:
            with connect(self.config, self.config_path, key=None, retry=False) as client:
                self.version = client.version()
        except HydindexError as error:
            port = find_port(self.config, self.config_path)
            if port is None or port == self.config.api_port:
                raise
            remedy = f"A Hydrus client answers on port {port}: set api_port to {port}."
            return Finding("error", error.message, remedy, error.exit_code)
        return _ok(f"a Hydrus client answers at {self.config.base_url}")

    def check_version(self) -> Finding | None:
        if self.version is None:
            return None
        if self.version == VERSION_THAT_DROPS_VIDEO_PAIRS:
            return _warning(
                f"Hydrus v{self.version} accepts potential duplicates between videos, "
                "but keeps none",
                "Update Hydrus to v683 or later; the next update then posts the pairs.",
            )
        return _ok(f"Hydrus v{self.version}")

    def check_key(self) -> Finding | None:
        key = self.config.require_key()
        if self.version is not None:
            connection = connect(self.config, self.config_path, key=key, retry=False)
            client = self.connections.enter_context(connection)
            client.permits(SEARCH_FILES)  # raises if the key is refused
            self.client = client
        if exposed := list(exposures(self.config, self.config_path)):
            return _warning("Others could get the access key", "\n".join(exposed))
        return None if self.client is None else _ok("the client accepts it")

    def check_permissions(self) -> Finding | None:
        if self.client is None:
            return None
        self.client.require_permissions()
        if self.config.popup.enabled and not self.client.permits(MANAGE_POPUPS):
            return _warning(
                f"The access key lacks the permission 'manage popups' ({MANAGE_POPUPS}); "
                "without it, popup.enabled has no effect",
                HOW_TO_PERMIT,
            )
        return _ok(" and ".join(REQUIRED.values()))

    def check_search(self) -> Finding | None:
        if self.client is None:
            return None
        self.hydrus_ids = search(self.client, self.config.tags)
        if len(self.hydrus_ids) == 0:
            return _warning("Hydrus finds no file with all tags of the config", HOW_TO_FIX_TAGS)
        return _ok(f"{len(self.hydrus_ids):,} files found")

    def check_thumbnail(self) -> Finding | None:
        """Fetch and decode thumbnails of a few files until one is usable."""
        if self.client is None or self.hydrus_ids is None or len(self.hydrus_ids) == 0:
            return None
        method = method_for(self.config)
        source = ThumbnailSource(self.client)
        hashes = self.client.identifiers(self.hydrus_ids[:_THUMBNAILS_TRIED].tolist())
        first_files = [FileRef(each, sha256) for each, sha256 in hashes.items()]
        fetch_failure = unusable_reason = ""
        for file in describe(self.client, first_files):
            outcome = source.thumbnail(file) if isinstance(file, FileMetadata) else file
            if isinstance(outcome, FetchFailure):
                fetch_failure = outcome.reason
            elif isinstance(outcome, Thumbnail):
                prepared = method.prepare(outcome.picture)
                if not isinstance(prepared, str):
                    return _ok(f"fetched and decoded ({len(outcome.picture):,} bytes)")
                unusable_reason = prepared
            else:
                unusable_reason = outcome.reason
        if fetch_failure:
            raise HydrusBadReply(
                f"No thumbnail could be fetched: {fetch_failure}", "See Hydrus's own log."
            )
        return _warning(
            f"None of the first {_THUMBNAILS_TRIED} files has a usable thumbnail: "
            f"{unusable_reason}",
            "In Hydrus: database > file maintenance > manage scheduled jobs, 'regenerate "
            "thumbnail'.",
        )

    def check_index(self) -> Finding:
        path = config_file.index_path(self.config, self.config_path)
        require_folder(path)
        self.index_path = path
        require_no_orphaned_backups(path)
        if not path.exists() or path.stat().st_size == 0:
            return _ok(f"none yet; the first update creates {path}")
        try:
            with open_for_reading(path) as store:
                store.require_undamaged()
                require_same_recipe(store, self.config)
                comparable, unusable = store.files.present_counts()
        except IndexOutdated as error:
            self.index_is_outdated = True
            return _warning(error.message, error.remedy)
        return _ok(f"{path} is undamaged and holds {comparable + unusable:,} files")

    def check_disk(self) -> Finding | None:
        path = self.index_path
        if path is None:
            return None
        for needed in (path.parent, path):
            if needed.exists() and not os.access(needed, os.W_OK):
                raise IndexUnusable(
                    f"{needed} is not writable",
                    "Change its permissions, or set index.path to a file in a writable folder.",
                )
        size_bytes = path.stat().st_size if path.exists() else 0
        free_bytes = shutil.disk_usage(path.parent).free
        files = 0 if self.hydrus_ids is None else len(self.hydrus_ids)
        needed_bytes = max(0, files * method_for(self.config).bytes_per_file - size_bytes)
        if self.index_is_outdated:
            needed_bytes += _UPGRADE_FACTOR * size_bytes
        space = f"{_gigabytes(free_bytes)} free, about {_gigabytes(needed_bytes)} needed"
        if free_bytes < needed_bytes:
            raise IndexUnusable(
                f"Too little space for the index in {path.parent}: {space}",
                "Free some space, or set index.path to a file on another disk.",
            )
        return _ok(space)

    def check_lock(self) -> Finding | None:
        if self.index_path is None:
            return None
        run = holder(self.index_path)
        if run is None:
            return _ok("no run is using the index")
        if run.is_running:
            return _warning(
                f"Another run of hydindex is using the index: {run.name}",
                "Wait until it ends before you run update or rebuild.",
            )
        return _warning(
            f"The last run was interrupted: {run.name}",
            "Nothing is lost; the next update checks the index for damage first.",
        )


_CHECKS: Final[Mapping[str, Callable[[_Setup], Finding | None]]] = {
    "address": _Setup.check_address,
    "version": _Setup.check_version,
    "key": _Setup.check_key,
    "permissions": _Setup.check_permissions,
    "search": _Setup.check_search,
    "thumbnail": _Setup.check_thumbnail,
    "index": _Setup.check_index,
    "disk": _Setup.check_disk,
    "lock": _Setup.check_lock,
}
SUBJECTS: Final = ("config", *_CHECKS)
"""What is checked, in this order."""


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"
