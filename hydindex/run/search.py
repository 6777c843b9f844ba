"""Asks Hydrus which files there are."""

from hydindex.config import Config
from hydindex.errors import ConfigError, HydrusRejected
from hydindex.hydrus.client import HydrusClient
from hydindex.model import FoundFile
from hydindex.run.report import Report


def search_library(client: HydrusClient, config: Config, report: Report) -> list[FoundFile]:
    """Find the files that carry the config's tags.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    try:
        with report.timed("search"):
            return client.search(config.tags)
    except HydrusRejected as error:
        raise ConfigError(
            f"Hydrus cannot search for the tags of the config: {error.message}",
            "Mend `tags`; what works in Hydrus's own search box works there too.",
        ) from None
