"""`hydindex demo`: the real command against the stand-in, told step by step."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Final

from hydindex.demo.generated_library import generate_library
from hydindex.standin.library_files import HydrusFile, load_folder, true_pairs
from hydindex.standin.server import StandIn

CONFIG_NAME: Final = "hydrus_config.json"
INDEX_NAME: Final = "hydindex.db"
# Of every ten files, one is imported only after the first run.
HELD_BACK_SHARE: Final = 10


class DemoError(ValueError):
    """The folder named for the demo cannot be used, or a night went wrong."""


def run_demo(folder: Path | None, *, stay: bool = False) -> None:
    """Show two nights and a third one with nothing new, and say what each had to do.

    A folder that holds a library (`files.json` and `thumbs/`) is served; any other is where the
    demo keeps its config and index. Without one, the library is generated, and config and index
    go to a new temporary folder, which stays. The stand-in ends with the demo, or stays until
    Ctrl-C.

    Raises:
        DemoError: the folder is neither empty nor a library that is laid out as it must be, or an
            update failed.
    """
    files, home = _library_and_home(folder)
    held_back = files[::HELD_BACK_SHARE]
    imported_first = [file for file in files if file not in held_back]
    with StandIn(imported_first) as client:
        config = home / CONFIG_NAME
        _write_config(config, client)
        print(f"A stand-in for a Hydrus client answers at {client.url}:{client.port}.")
        print(f"It holds {len(imported_first)} videos; of some there are altered copies.")

        _night("The first night: everything is new.", config)
        _show_requests(client)

        client.add(held_back)
        _night(f"The second night: {len(held_back)} videos were imported since.", config)
        _show_requests(client)

        _night("The third night: nothing is new.", config)
        _show_requests(client)
        _show_findings(files, client)
        if stay:
            print("\nThe stand-in stays until you press Ctrl-C here. In another terminal:")
            print(f"  hydindex check --config {config}", flush=True)
            with suppress(KeyboardInterrupt):
                Event().wait()
    print(f"\nThe index lies at {home / INDEX_NAME}; to look inside:")
    print(f"  hydindex stats --config {config}")


def _library_and_home(folder: Path | None) -> tuple[list[HydrusFile], Path]:
    if folder is not None and (folder / "files.json").exists():
        try:
            return load_folder(folder, tags=()), _temporary_home()
        except ValueError as error:
            raise DemoError(str(error)) from error
    home = _temporary_home() if folder is None else folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        if any(home.iterdir()):
            raise DemoError(f"{home} is not empty, and holds no library")
    except OSError as error:
        raise DemoError(f"{home} cannot be used: {error}") from error
    return generate_library(), home


def _temporary_home() -> Path:
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


def _night(title: str, config: Path) -> None:
    """Run the real command, in a process of its own, as a timer would."""
    print(f"\n{title}\n$ hydindex update --config {config}", flush=True)
    command = [sys.executable, "-m", "hydindex", "update", "--config", str(config)]
    # A key for the user's own client must not override the stand-in's.
    environment = {name: value for name, value in os.environ.items() if name != "HYDINDEX_API_KEY"}
    ended = subprocess.run(command, env=environment, check=False)
    if ended.returncode != 0:
        raise DemoError(f"hydindex update ended with exit code {ended.returncode}")


def _show_requests(client: StandIn) -> None:
    """Say what the night asked of the client, and start counting anew."""
    paths = Counter(request.path for request in client.requests)
    thumbnails = max(0, paths["/get_files/thumbnail"] - 1)  # the first asks for the placeholder
    print(f"-> {len(client.requests)} requests, {thumbnails} thumbnails fetched.", flush=True)
    client.clear_log()


def _show_findings(files: Sequence[HydrusFile], client: StandIn) -> None:
    """Compare the pairs that Hydrus now holds with the copies that were hidden in the library."""
    hidden = true_pairs(files)
    posted = client.potentials
    found = hidden & posted
    twice = len(client.posted_rows) - len({frozenset(row) for row in client.posted_rows})
    print("\nWhat the user of this library now sees in Hydrus:")
    print(f"  {len(posted):4} potential duplicates, {twice} of them posted twice")
    print(f"  {len(found):4} of the {len(hidden)} pairs of copies that are hidden in it")
    print(f"  {len(posted - hidden):4} pairs that only look alike")
    missed = _missed_alterations(files, hidden - posted)
    if missed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in missed.most_common(3))
        print(f"Missed are mostly pairs with a copy that was altered so: {kinds}.")


def _missed_alterations(
    files: Sequence[HydrusFile], missed: frozenset[frozenset[str]]
) -> Counter[str]:
    """Count, over missed pairs, how their files had been altered."""
    alterations = {
        file.hash: tag.removeprefix("copy:")
        for file in files
        for tag in file.tags
        if tag.startswith("copy:") and tag != "copy:original"
    }
    return Counter(
        alterations[sha256]
        for pair in sorted(map(sorted, missed))  # of equal counts, the same ones every time
        for sha256 in pair
        if sha256 in alterations
    )
