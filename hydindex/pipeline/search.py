"""Ask Hydrus which files match the config's tags."""

import json
import logging
from collections.abc import Sequence

from hydindex.common.errors import ConfigError, HydrusRejected
from hydindex.hydrus.client import HydrusClient
from hydindex.records.files import SearchResult

log = logging.getLogger(__name__)


def search_library(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> SearchResult:
    """Return the files that have all tags, as `search` does; warn if there are none."""
    search_result = search(client, tags)
    if len(search_result) == 0:
        log.warning("Hydrus finds no file with all of these tags: %s", json.dumps(tags))
    return search_result


def search(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> SearchResult:
    """Return the files that have all tags.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    try:
        return client.search(tags)
    except HydrusRejected as error:
        raise ConfigError(
            f"Hydrus cannot search for `tags`: {error.message}",
            "Fix `tags` in the config; they use the syntax of Hydrus's own search box.",
        ) from None
