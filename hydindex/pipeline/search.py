"""Asks Hydrus which files there are."""

import json
import logging
from collections.abc import Sequence

from hydindex.common.errors import ConfigError, HydrusRejected
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.run_report import Report
from hydindex.records.files import SearchResult

log = logging.getLogger(__name__)


def search_library(client: HydrusClient, config: Config, report: Report) -> SearchResult:
    """Find the files that carry the config's tags.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    with report.timed("search"):
        found = find(client, config.tags)
    if len(found) == 0:
        log.warning("Hydrus finds no file with all of these tags: %s", json.dumps(config.tags))
    return found


def find(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> SearchResult:
    """Find the files that carry all tags.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    try:
        return client.search(tags)
    except HydrusRejected as error:
        raise ConfigError(
            f"Hydrus cannot search for the tags of the config: {error.message}",
            "Mend `tags`; what works in Hydrus's own search box works there too.",
        ) from None
