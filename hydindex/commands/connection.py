"""Connect to the client that the config names, wait for it, or find its port."""

import logging
import time
from pathlib import Path
from typing import Final

from hydindex.common.errors import HydindexError, HydrusUnreachable
from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.retry import Retries
from hydindex.hydrus.transport import Transport

log = logging.getLogger(__name__)

USUAL_PORTS: Final = (45869, 42001)
"""Hydrus's default, and the port in the shipped config."""
_PROBE_TIMEOUT_S: Final = 5.0
_PROBE_INTERVAL_S: Final = 5.0


def connect(
    config: Config,
    config_path: Path,
    *,
    key: str | None,
    retry: bool = True,
    api_timeout_s: float | None = None,
) -> HydrusClient:
    """Open the client that a config names, with or without an access key.

    Without `retry`, failed reads aren't retried: for a user who waits at a terminal.

    Raises:
        ConfigError: `tls.ca_bundle` is not a file of certificates.
    """
    timeouts = config.timeouts
    if api_timeout_s is not None:
        timeouts = timeouts.model_copy(update={"api": api_timeout_s})
    transport = Transport(
        config.base_url,
        key,
        connections=config.max_connections,
        verify=config_file.trusted_certificates(config, config_path),
        server_name=config.tls.server_name,
        retries=Retries(config.network.backoff_factor) if retry else None,
    )
    return HydrusClient(transport, timeouts)


def version_of(config: Config, config_path: Path) -> int:
    """Ask once, with a short timeout, which Hydrus version answers."""
    with connect(
        config, config_path, key=None, retry=False, api_timeout_s=_PROBE_TIMEOUT_S
    ) as client:
        return client.version()


def wait_for_client(config: Config, config_path: Path, *, minutes: float) -> None:
    """Wait until a client answers, at most this many minutes."""
    ends_at = time.monotonic() + 60 * minutes
    while time.monotonic() < ends_at:
        try:
            version_of(config, config_path)
            return
        except HydrusUnreachable as error:
            log.info("waiting for Hydrus: %s", error.message)
            time.sleep(_PROBE_INTERVAL_S)


def find_port(config: Config, config_path: Path) -> int | None:
    """Return the usual port on which a client answers at the config's address, if any."""
    for port in USUAL_PORTS:
        try:
            version_of(config.model_copy(update={"api_port": port}), config_path)
            return port
        except HydindexError:
            continue
    return None
