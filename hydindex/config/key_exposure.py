"""Where the access key may be seen by others than the client that it opens."""

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
    """Say where the access key may be seen by others."""
    mode = config_path.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH) and _holds_key(config_path):
        yield (
            f"Others on this machine can read {config_path}, which holds your access key: "
            f"chmod 600 {shlex.quote(str(config_path))}"
        )
    address = urlsplit(config.api_url)
    host = address.hostname or ""
    if address.scheme == "http" and _is_on_the_internet(host):
        yield (
            f"The access key goes to {host} unencrypted, past everyone on the way: use https "
            "(with tls.ca_bundle for Hydrus's own certificate), or a tunnel."
        )
    if address.scheme == "https" and not config.tls.verify:
        yield (
            f"tls.verify is false: whoever answers in the place of {host} gets the access key. "
            "tls.ca_bundle is the safe way for Hydrus's own certificate."
        )


def _holds_key(config_path: Path) -> bool:
    """Whether the file itself holds a key, whatever stands in the environment."""
    values = json.loads(config_path.read_text(encoding="utf-8-sig"))
    return str(values.get("api_key", "")).strip() not in ("", PLACEHOLDER_KEY)


def _is_on_the_internet(host: str) -> bool:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:  # no such name: then nothing is sent either
        return False
    return any(ip_address(str(address).partition("%")[0]).is_global for address in found)
