"""`hydindex demo`: run the real command against the stand-in and explain each step."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Final

from hydindex.common.errors import ConfigError
from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile, load_folder, true_pairs

_IMPORTED_LATER_STEP: Final = 10  # every tenth file is imported after the first night


def run_demo(folder: Path | None, *, stay: bool) -> None:
    """Run three nightly updates against the stand-in and print what each had to do.

    Raises:
        ConfigError: the folder can't be used.
        SystemExit: an update failed; it has told why.
    """
    files, home = _library_and_home(folder)
    config = home / "hydrus_config.json"
    later = files[::_IMPORTED_LATER_STEP]
    with StandIn(file for file in files if file not in later) as client:
        _write_config(config, client)
        print(f"A stand-in for a Hydrus client runs at {client.url}:{client.port}.")
        print(f"It holds {len(files) - len(later)} videos; some are altered copies of others.")
        _night("First night: all videos are new.", config, client)
        client.add(later)
        _night(f"Second night: {len(later)} videos were imported since.", config, client)
        _night("Third night: nothing is new.", config, client)
        _show_result(files, client)
        if stay:
            print("\nThe stand-in runs until you press Ctrl-C here. In another terminal, try:")
            print(f"  hydindex check --config {config}", flush=True)
            with suppress(KeyboardInterrupt):
                Event().wait()
    print(f"\nThe index is {home / 'hydindex.db'}. To look at it:")
    print(f"  hydindex stats --config {config}")


def _library_and_home(folder: Path | None) -> tuple[list[HydrusFile], Path]:
    """Return the files to serve, and the folder for config and index."""
    try:
        if folder is None:
            return generate_library(), _temporary_folder()
        if (folder / "files.json").exists():
            return load_folder(folder, tags=()), _temporary_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no library")
        return generate_library(), folder
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The demo cannot run: {error}", "Name an empty folder, or one with a library."
        ) from error


def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="hydindex-demo-"))


def _write_config(path: Path, client: StandIn) -> None:
    values = {
        "api_key": client.SEARCH_AND_RELATIONSHIPS_KEY,
        "api_url": client.url,
        "api_port": client.port,
        "tags": ["system:filetype is video"],
        "decision": {"method": "calibrated"},
    }
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    path.chmod(0o600)  # it holds a key


def _night(title: str, config: Path, client: StandIn) -> None:
    """Run the real command in its own process and print what it asked of the client."""
    print(f"\n{title}\n$ hydindex update --config {config}", flush=True)
    earlier = len(client.requests)
    command = [sys.executable, "-m", "hydindex", "update", "--config", str(config)]
    # The key of the user's own client must not override the stand-in's.
    environment = {name: value for name, value in os.environ.items() if name != "HYDINDEX_API_KEY"}
    exit_code = subprocess.run(command, env=environment, check=False).returncode
    if exit_code != 0:
        sys.exit(exit_code)
    requests = client.requests[earlier:]
    thumbnails = sum(request.path == "/get_files/thumbnail" for request in requests)
    fetched = max(0, thumbnails - 1)  # the first one asks for the icon of unknown files
    print(f"-> {len(requests)} requests, {fetched} thumbnails fetched.", flush=True)


def _show_result(files: Sequence[HydrusFile], client: StandIn) -> None:
    """Compare the pairs in the client with the copies in the library."""
    copies, posted, rows = true_pairs(files), client.potentials, client.posted_rows
    twice = len(rows) - len(set(map(frozenset, rows)))
    print("\nPotential duplicates in the client:")
    print(f"  {len(posted):4} pairs, {twice} of them posted twice")
    print(f"  {len(copies & posted):4} of the {len(copies)} pairs of copies in the library")
    print(f"  {len(posted - copies):4} pairs that are not copies")
