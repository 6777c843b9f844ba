"""`hydindex check`: goes through the set-up, from the config to the index, and changes nothing."""

import os
import shutil
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from hydindex.common.errors import ConfigError, ExitCode, HydindexError, IndexOutdated
from hydindex.config import config_file
from hydindex.config.key_exposure import exposures
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.permissions import MANAGE_POPUPS, REQUIRED, SEARCH_FILES
from hydindex.hydrus.thumbnails import ThumbnailSource
from hydindex.matching.preparation import Preparation, prepare
from hydindex.matching.recipe import Recipe, recipe_of
from hydindex.pipeline.connect import connect, find_port
from hydindex.pipeline.frame_verification import require_decoder
from hydindex.pipeline.popup import HOW_TO_PERMIT
from hydindex.pipeline.posting import VERSION_THAT_KEEPS_NO_VIDEO_PAIRS
from hydindex.pipeline.search import find
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
"""What is looked at, in this order; the decoder only where frames.enabled."""

BYTES_PER_FILE: Final = {"calibrated": 8_000, "threshold": 32_000}
"""What a file of the library takes in an index, by decision.method."""
# A migration needs up to so many times the size of the index beside it.
_MIGRATION_FACTOR: Final = 3
# Some videos have no thumbnail; that is no trouble unless none of these has.
_THUMBNAILS_TRIED: Final = 5


class Verdict(StrEnum):
    """What is to be thought of a finding; a warning stops no run."""

    OK = "ok"
    WARNING = "warning"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class Finding:
    """What there is to say of one of the SUBJECTS, what to do about it, and how a run would end."""

    subject: str
    verdict: Verdict
    message: str
    remedy: str = ""
    exit_code: ExitCode = ExitCode.DONE


def check(config_path: Path) -> Iterator[Finding]:
    """Look at everything that a run needs, one after the other.

    What is wrong with one thing hides no other that can still be looked at.
    """
    config, left_out, recipe = yield from _look_at_config(config_path)
    if config is None:
        return
    files: SearchResult | None = None
    if left_out.isdisjoint({"api_key", "api_url", "api_port", "tls"}):
        files = yield from _look_at_client(config, config_path, searches="tags" not in left_out)
    if "index" not in left_out:
        yield from _look_at_index(config, config_path, recipe, files)
    if config.frames.enabled:
        yield _look_at_decoder(config)


def _ok(subject: str, message: str) -> Finding:
    return Finding(subject, Verdict.OK, message)


def _warning(subject: str, message: str, remedy: str = "") -> Finding:
    return Finding(subject, Verdict.WARNING, message, remedy)


def _trouble(subject: str, error: HydindexError) -> Finding:
    return Finding(subject, Verdict.TROUBLE, error.message, error.remedy, error.exit_code)


def _look_at_config(
    config_path: Path,
) -> Generator[Finding, None, tuple[Config | None, frozenset[str], Recipe | None]]:
    """Give the config as far as it can be used, the keys that cannot, and the recipe."""
    try:
        config = config_file.load(config_path)
    except ConfigError as error:
        yield _trouble("config", error)
        sound_part = config_file.load_valid_part(config_path)
        return (None, frozenset(), None) if sound_part is None else (*sound_part, None)
    try:
        recipe = recipe_of(config)
    except ConfigError as error:  # the model of the decision
        yield _trouble("config", error)
        return config, frozenset(), None
    yield _ok("config", f"{config_path.absolute()} (decision.method: {config.decision.method})")
    return config, frozenset(), recipe


def _look_at_client(
    config: Config, config_path: Path, *, searches: bool
) -> Generator[Finding, None, SearchResult | None]:
    """Give what the search finds, if it comes to that."""
    answers = yield from _look_at_address(config, config_path)
    try:
        key = config.require_key()
    except ConfigError as error:
        yield _trouble("key", error)
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
            yield _trouble("key", error)
            return None
        yield _ok("key", "the client knows it")
        try:
            client.require_permissions()
        except HydindexError as error:
            yield _trouble("permissions", error)
        else:
            yield _ok("permissions", " and ".join(REQUIRED.values()))
        if not may_pop_up:
            yield _warning(
                "permissions",
                "The access key lacks the permission 'manage popups' "
                f"({MANAGE_POPUPS}), without which popup.enabled has no effect",
                HOW_TO_PERMIT,
            )
        if not (may_search and searches):
            return None
        return (yield from _look_at_files(client, config))


def _look_at_address(config: Config, config_path: Path) -> Generator[Finding, None, bool]:
    """Give whether a Hydrus client answers."""
    try:
        with connect(config, config_path, key=None, retry=False) as client:
            version = client.version()
    except HydindexError as error:
        port = find_port(config, config_path)
        if port is not None and port != config.api_port:
            error.remedy = f"But a Hydrus client answers on port {port}: set api_port to {port}."
        yield _trouble("address", error)
        return False
    yield _ok("address", f"a Hydrus client answers at {config.base_url}")
    if version == VERSION_THAT_KEEPS_NO_VIDEO_PAIRS:
        yield _warning(
            "version",
            f"Hydrus v{version} says that it takes potential duplicates between videos, and keeps "
            "none of them",
            "Update Hydrus to v683 or later; until then the pairs wait in the queue.",
        )
    else:
        yield _ok("version", f"Hydrus v{version}")
    return True


def _look_at_files(
    client: HydrusClient, config: Config
) -> Generator[Finding, None, SearchResult | None]:
    try:
        files = find(client, config.tags)
    except HydindexError as error:
        yield _trouble("search", error)
        return None
    if len(files) == 0:
        yield _warning(
            "search",
            "Hydrus finds no file with all tags of the config",
            "Mend `tags`, unless there is nothing to be found yet; what works in Hydrus's own "
            "search box works there too.",
        )
        return files
    yield _ok("search", f"{len(files):,} files found")
    try:
        yield _look_at_thumbnails(client, config, files)
    except HydindexError as error:
        yield _trouble("thumbnail", error)
    return files


def _look_at_thumbnails(client: HydrusClient, config: Config, files: SearchResult) -> Finding:
    """Fetch and decode thumbnails of a few files until there is a good one."""
    source = ThumbnailSource(client)
    not_fetched = ""
    reason = ""
    for file in source.describe(files.chosen(np.arange(len(files)) < _THUMBNAILS_TRIED)):
        outcome = source.thumbnail(file) if isinstance(file, FileMetadata) else file
        if isinstance(outcome, FetchFailure):
            not_fetched = outcome.reason
            continue
        if isinstance(outcome, Thumbnail):
            prepared = prepare(outcome.picture, Preparation.of(config))
            if not isinstance(prepared, str):
                return _ok("thumbnail", f"fetched and decoded ({len(outcome.picture):,} bytes)")
            reason = prepared
        else:
            reason = outcome.reason
    if not_fetched:
        return Finding(
            "thumbnail",
            Verdict.TROUBLE,
            f"No thumbnail could be fetched: {not_fetched}",
            "See Hydrus's own log.",
            ExitCode.HYDRUS,
        )
    return _warning(
        "thumbnail",
        f"None of the first files has a thumbnail that can be compared: {reason}",
        "In Hydrus: database > file maintenance > manage scheduled jobs, 'regenerate thumbnail'.",
    )


def _look_at_index(
    config: Config, config_path: Path, recipe: Recipe | None, files: SearchResult | None
) -> Iterator[Finding]:
    try:
        path = config_file.index_path(config, config_path)
        require_folder(path)
    except HydindexError as error:
        yield _trouble("index", error)
        return
    is_outdated = False
    try:
        require_not_lost(path)
        if not path.exists() or path.stat().st_size == 0:
            yield _ok("index", f"none yet; the first update makes {path}")
        else:
            yield _ok("index", _describe_index(path, recipe))
    except IndexOutdated as error:
        is_outdated = True
        yield _warning("index", error.message, error.remedy)
    except HydindexError as error:
        yield _trouble("index", error)
    yield _look_at_disk(path, config, files, migrates=is_outdated)
    try:
        yield _look_at_lock(path)
    except HydindexError as error:
        yield _trouble("lock", error)


def _describe_index(path: Path, recipe: Recipe | None) -> str:
    """Look through an index, and say what it holds.

    Raises:
        HydindexError: it is damaged, of another schema, or made with other settings.
    """
    with open_for_reading(path) as index:
        index.require_sound()
        if recipe is not None:
            index.require_made_with(recipe)
        comparable, unusable = index.files.present_counts()
    return f"{path} is sound, of the present schema, and holds {comparable + unusable:,} files"


def _look_at_disk(
    path: Path, config: Config, files: SearchResult | None, *, migrates: bool
) -> Finding:
    for needed in (path.parent, path):
        if needed.exists() and not os.access(needed, os.W_OK):
            return Finding(
                "disk",
                Verdict.TROUBLE,
                f"You may not write to {needed}",
                "Change its permissions, or set index.path to a file in a folder of your own.",
                ExitCode.INDEX,
            )
    size_bytes = path.stat().st_size if path.exists() else 0
    free_bytes = shutil.disk_usage(path.parent).free
    expected_bytes = 0 if files is None else len(files) * BYTES_PER_FILE[config.decision.method]
    needed_bytes = max(0, expected_bytes - size_bytes)
    if migrates:
        needed_bytes += _MIGRATION_FACTOR * size_bytes
    space = f"{_gigabytes(free_bytes)} free"
    if files is not None:
        space += f", about {_gigabytes(needed_bytes)} needed for {len(files):,} files"
    if migrates:
        space += ", the change to the present schema included"
    if free_bytes < needed_bytes:
        return Finding(
            "disk",
            Verdict.TROUBLE,
            f"Too little room for the index in {path.parent}: {space}",
            "Free some space, or set index.path to a file on a larger disk.",
            ExitCode.INDEX,
        )
    return _ok("disk", space)


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"


def _look_at_lock(path: Path) -> Finding:
    found = holder(path)
    if found is None:
        return _ok("lock", "nobody holds the index")
    if found.is_running:
        return _warning(
            "lock",
            f"Another run of hydindex holds the index: {found.name}",
            "Wait until it has ended, before you run update or rebuild.",
        )
    return _warning(
        "lock",
        f"The last run was cut short: {found.name}",
        "Nothing is lost; the next update looks through the index for damages first.",
    )


def _look_at_decoder(config: Config) -> Finding:
    try:
        require_decoder(config)
    except ConfigError as error:
        return _trouble("decoder", error)
    return _ok("decoder", "PyAV is installed")
