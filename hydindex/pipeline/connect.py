"""Opens a Hydrus client as the config says, and finds where one listens."""

import logging
import time
from pathlib import Path
from typing import Final

from hydindex.common.errors import HydindexError, HydrusUnreachable
from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.retry import Retries

log = logging.getLogger(__name__)

USUAL_PORTS: Final = (45869, 42001)
"""Hydrus's own default, and the one that the shipped config names."""
_LOOK_S: Final = 5.0
_BETWEEN_LOOKS_S: Final = 5.0


def connect(
    config: Config,
    config_path: Path,
    *,
    key: str | None,
    retry: bool = True,
    api_timeout_s: float | None = None,
) -> HydrusClient:
    """Open the client that a config names, with an access key or without.

    Raises:
        ConfigError: `tls.ca_bundle` names no file of certificates.
    """
    return HydrusClient(
        config.base_url,
        key,
        api_timeout_s=api_timeout_s or config.timeouts.api,
        thumbnail_timeout_s=config.timeouts.thumb,
        post_timeout_s=config.timeouts.post,
        connections=config.max_connections,
        verify=config_file.trusted_certificates(config, config_path),
        server_name=config.tls.server_name,
        retries=Retries(config.network.backoff_factor) if retry else None,
    )


def version_of(config: Config, config_path: Path) -> int:
    """Ask which Hydrus version answers where a config says; once, and not for long.

    Raises:
        ConfigError, HydrusUnreachable, HydrusBadReply: none does.
    """
    with connect(config, config_path, key=None, retry=False, api_timeout_s=_LOOK_S) as client:
        return client.version()


def wait_for_client(config: Config, config_path: Path, *, minutes: float) -> None:
    """Wait until a client answers, for so many minutes at the most.

    Whether one has come in the end, the run itself finds out.
    """
    ends_at = time.monotonic() + 60 * minutes
    while time.monotonic() < ends_at:
        try:
            version_of(config, config_path)
        except HydrusUnreachable as error:
            log.info("waiting for Hydrus: %s", error.message)
            time.sleep(min(_BETWEEN_LOOKS_S, max(0.0, ends_at - time.monotonic())))
        else:
            return


def find_port(config: Config, config_path: Path) -> int | None:
    """Look on which of the usual ports a client answers, at the address of a config."""
    for port in USUAL_PORTS:
        try:
            version_of(config.model_copy(update={"api_port": port}), config_path)
        except HydindexError:
            continue
        return port
    return None
