"""The tests of `hydindex check`, from the config to the index."""

import os
import shutil
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from hydindex.commands.connection import connect, find_port
from hydindex.commands.popup import HOW_TO_PERMIT
from hydindex.common.errors import ConfigError, ExitCode, HydindexError, IndexOutdated
from hydindex.config import config_file
from hydindex.config.key_exposure import exposures
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.permissions import MANAGE_POPUPS, REQUIRED, SEARCH_FILES
from hydindex.hydrus.thumbnails import ThumbnailSource
from hydindex.matching.method import method_for
from hydindex.matching.recipe import Recipe, recipe_of, require_same_recipe
from hydindex.pipeline.frame_verification import require_decoder
from hydindex.pipeline.posting import VERSION_THAT_DROPS_VIDEO_PAIRS
from hydindex.pipeline.search import search
from hydindex.records.files import FetchFailure, FileMetadata, SearchResult, Thumbnail
from hydindex.store.lock import holder, require_folder
from hydindex.store.store import open_for_reading, require_not_lost

SUBJECTS: Final = (
    "config",
    "address",
    "version",
    "key",
    "permissions",
    "search",
    "thumbnail",
    "index",
    "disk",
    "lock",
    "decoder",
)
"""What is checked, in this order; the decoder only if frames.enabled."""

# A schema upgrade needs up to this multiple of the size of the index.
_UPGRADE_FACTOR: Final = 3
# Some videos have no thumbnail; it is an error only if none of these has one.
_THUMBNAILS_TRIED: Final = 5


class Severity(StrEnum):
    """How bad a finding is; a warning stops no run."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a subject, what to do, and the exit code of a run."""

    subject: str
    severity: Severity
    message: str
    remedy: str = ""
    exit_code: ExitCode = ExitCode.DONE


def check_setup(config_path: Path) -> Iterator[Finding]:
    """Check everything that a run needs. An error hides nothing that can still be checked."""
    config, left_out, recipe = yield from _check_config(config_path)
    if config is None:
        return
    files: SearchResult | None = None
    if left_out.isdisjoint({"api_key", "api_url", "api_port", "tls"}):
        files = yield from _check_client(config, config_path, searches="tags" not in left_out)
    if "index" not in left_out:
        yield from _check_index(config, config_path, recipe, files)
    if config.frames.enabled:
        yield _check_decoder(config)


def _ok(subject: str, message: str) -> Finding:
    return Finding(subject, Severity.OK, message)


def _warning(subject: str, message: str, remedy: str = "") -> Finding:
    return Finding(subject, Severity.WARNING, message, remedy)


def _error(subject: str, error: HydindexError) -> Finding:
    return Finding(subject, Severity.ERROR, error.message, error.remedy, error.exit_code)


def _check_config(
    config_path: Path,
) -> Generator[Finding, None, tuple[Config | None, frozenset[str], Recipe | None]]:
    """Return the usable part of the config, the unusable keys, and the recipe."""
    try:
        config = config_file.load(config_path)
    except ConfigError as error:
        yield _error("config", error)
        valid_part = config_file.load_valid_part(config_path)
        return (None, frozenset(), None) if valid_part is None else (*valid_part, None)
    try:
        recipe = recipe_of(config)
    except ConfigError as error:  # the model of the decision
        yield _error("config", error)
        return config, frozenset(), None
    yield _ok("config", f"{config_path.absolute()} (decision.method: {config.decision.method})")
    return config, frozenset(), recipe


def _check_client(
    config: Config, config_path: Path, *, searches: bool
) -> Generator[Finding, None, SearchResult | None]:
    """Return the search result, if the client can be asked."""
    answers = yield from _check_address(config, config_path)
    try:
        key = config.require_key()
    except ConfigError as error:
        yield _error("key", error)
        return None
    for exposure in exposures(config, config_path):
        yield _warning("key", exposure)
    if not answers:
        return None
    with connect(config, config_path, key=key, retry=False) as client:
        try:
            may_search = client.permits(SEARCH_FILES)
            may_pop_up = not config.popup.enabled or client.permits(MANAGE_POPUPS)
        except HydindexError as error:
            yield _error("key", error)
            return None
        yield _ok("key", "the client accepts it")
        try:
            client.require_permissions()
        except HydindexError as error:
            yield _error("permissions", error)
        else:
            yield _ok("permissions", " and ".join(REQUIRED.values()))
        if not may_pop_up:
            yield _warning(
                "permissions",
                "The access key lacks the permission 'manage popups' "
                f"({MANAGE_POPUPS}); without it, popup.enabled has no effect",
                HOW_TO_PERMIT,
            )
        if not (may_search and searches):
            return None
        return (yield from _check_files(client, config))


def _check_address(config: Config, config_path: Path) -> Generator[Finding, None, bool]:
    """Return whether a Hydrus client answers."""
    try:
        with connect(config, config_path, key=None, retry=False) as client:
            version = client.version()
    except HydindexError as error:
        port = find_port(config, config_path)
        if port is not None and port != config.api_port:
            error.remedy = f"A Hydrus client answers on port {port}: set api_port to {port}."
        yield _error("address", error)
        return False
    yield _ok("address", f"a Hydrus client answers at {config.base_url}")
    if version == VERSION_THAT_DROPS_VIDEO_PAIRS:
        yield _warning(
            "version",
            f"Hydrus v{version} accepts potential duplicates between videos, but keeps none",
            "Update Hydrus to v683 or later; until then pairs stay queued.",
        )
    else:
        yield _ok("version", f"Hydrus v{version}")
    return True


def _check_files(
    client: HydrusClient, config: Config
) -> Generator[Finding, None, SearchResult | None]:
    try:
        files = search(client, config.tags)
    except HydindexError as error:
        yield _error("search", error)
        return None
    if len(files) == 0:
        yield _warning(
            "search",
            "Hydrus finds no file with all tags of the config",
            "Fix `tags` in the config; they use the syntax of Hydrus's own search box.",
        )
        return files
    yield _ok("search", f"{len(files):,} files found")
    try:
        yield _check_thumbnails(client, config, files)
    except HydindexError as error:
        yield _error("thumbnail", error)
    return files


def _check_thumbnails(client: HydrusClient, config: Config, files: SearchResult) -> Finding:
    """Fetch and decode thumbnails of a few files until one is usable."""
    source = ThumbnailSource(client)
    not_fetched = ""
    reason = ""
    for file in source.describe(files.select(np.arange(len(files)) < _THUMBNAILS_TRIED)):
        outcome = source.thumbnail(file) if isinstance(file, FileMetadata) else file
        if isinstance(outcome, FetchFailure):
            not_fetched = outcome.reason
            continue
        if isinstance(outcome, Thumbnail):
            prepared = method_for(config).prepare(outcome.picture)
            if not isinstance(prepared, str):
                return _ok("thumbnail", f"fetched and decoded ({len(outcome.picture):,} bytes)")
            reason = prepared
        else:
            reason = outcome.reason
    if not_fetched:
        return Finding(
            "thumbnail",
            Severity.ERROR,
            f"No thumbnail could be fetched: {not_fetched}",
            "See Hydrus's own log.",
            ExitCode.HYDRUS,
        )
    return _warning(
        "thumbnail",
        f"None of the first {_THUMBNAILS_TRIED} files has a usable thumbnail: {reason}",
        "In Hydrus: database > file maintenance > manage scheduled jobs, 'regenerate thumbnail'.",
    )


def _check_index(
    config: Config, config_path: Path, recipe: Recipe | None, files: SearchResult | None
) -> Iterator[Finding]:
    try:
        path = config_file.index_path(config, config_path)
        require_folder(path)
    except HydindexError as error:
        yield _error("index", error)
        return
    is_outdated = False
    try:
        require_not_lost(path)
        if not path.exists() or path.stat().st_size == 0:
            yield _ok("index", f"none yet; the first update creates {path}")
        else:
            yield _ok("index", _describe_index(path, config, recipe))
    except IndexOutdated as error:
        is_outdated = True
        yield _warning("index", error.message, error.remedy)
    except HydindexError as error:
        yield _error("index", error)
    yield _check_disk(path, config, files, migrates=is_outdated)
    try:
        yield _check_lock(path)
    except HydindexError as error:
        yield _error("lock", error)


def _describe_index(path: Path, config: Config, recipe: Recipe | None) -> str:
    """Check the whole index, and describe it.

    Raises:
        HydindexError: it is damaged, has another schema, or was built with another config.
    """
    with open_for_reading(path) as index:
        index.require_sound()
        if recipe is not None:
            require_same_recipe(index, config)
        comparable, unusable = index.files.present_counts()
    return f"{path} is undamaged and holds {comparable + unusable:,} files"


def _check_disk(
    path: Path, config: Config, files: SearchResult | None, *, migrates: bool
) -> Finding:
    for needed in (path.parent, path):
        if needed.exists() and not os.access(needed, os.W_OK):
            return Finding(
                "disk",
                Severity.ERROR,
                f"{needed} is not writable",
                "Change its permissions, or set index.path to a file in a writable folder.",
                ExitCode.INDEX,
            )
    size_bytes = path.stat().st_size if path.exists() else 0
    free_bytes = shutil.disk_usage(path.parent).free
    expected_bytes = 0 if files is None else len(files) * method_for(config).bytes_per_file
    needed_bytes = max(0, expected_bytes - size_bytes)
    if migrates:
        needed_bytes += _UPGRADE_FACTOR * size_bytes
    space = f"{_gigabytes(free_bytes)} free"
    if files is not None:
        space += f", about {_gigabytes(needed_bytes)} needed for {len(files):,} files"
    if migrates:
        space += ", including the schema upgrade"
    if free_bytes < needed_bytes:
        return Finding(
            "disk",
            Severity.ERROR,
            f"Too little space for the index in {path.parent}: {space}",
            "Free some space, or set index.path to a file on another disk.",
            ExitCode.INDEX,
        )
    return _ok("disk", space)


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"


def _check_lock(path: Path) -> Finding:
    found = holder(path)
    if found is None:
        return _ok("lock", "no run holds the index")
    if found.is_running:
        return _warning(
            "lock",
            f"Another run of hydindex holds the index: {found.name}",
            "Wait until it ends before you run update or rebuild.",
        )
    return _warning(
        "lock",
        f"The last run was interrupted: {found.name}",
        "Nothing is lost; the next update checks the index for damage first.",
    )


def _check_decoder(config: Config) -> Finding:
    try:
        require_decoder(config)
    except ConfigError as error:
        return _error("decoder", error)
    return _ok("decoder", "PyAV is installed")
