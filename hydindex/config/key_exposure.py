"""Detect who else can read the access key."""

import json
import os
import shlex
import socket
import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from hydindex.config.settings import PLACEHOLDER_KEY, Config


def exposures(config: Config, config_path: Path) -> Iterator[str]:
    """Yield a warning for each way in which others can read the access key."""
    mode = config_path.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH) and _holds_key(config_path):
        yield (
            f"Other users of this machine can read the access key in {config_path}. "
            f"Run: chmod 600 {shlex.quote(str(config_path))}"
        )
    address = urlsplit(config.api_url)
    host = address.hostname or ""
    if address.scheme == "http" and _is_on_the_internet(host):
        yield (
            f"The access key crosses the internet unencrypted to {host}. Use a tunnel, or https "
            "(with tls.ca_bundle for Hydrus's own certificate)."
        )
    if address.scheme == "https" and not config.tls.verify:
        yield (
            f"tls.verify is false, so anyone who can impersonate {host} gets the access key. "
            "Use tls.ca_bundle for Hydrus's own certificate instead."
        )


def _holds_key(config_path: Path) -> bool:
    # `config.api_key` may come from the environment; only the file matters here.
    values = json.loads(config_path.read_text(encoding="utf-8-sig"))
    return str(values.get("api_key", "")).strip() not in ("", PLACEHOLDER_KEY)


def _is_on_the_internet(host: str) -> bool:
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:  # an unknown host gets no key
        return False
    return any(ip_address(str(address).partition("%")[0]).is_global for address in addresses)
