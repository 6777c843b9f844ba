"""Measure whole runs of `hydindex update` on a labelled library, with the shipped config.

    python benchmarks/first_run.py PATH

PATH is a folder with `files.json` and `thumbs/` (see `hydindex.demo.files.load_folder`); without
it, the demo's generated library is served. Prints, for a first run, a night with nothing new and a
night with 20 new files: seconds by stage, pairs scored, requests, thumbnails fetched; then bytes
per file, and precision and recall of what was posted.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydindex.demo.files import HydrusFile, load_folder, true_pairs
from hydindex.demo.library import generate_library
from hydindex.demo.standin import StandIn

SHIPPED_CONFIG = Path(__file__).parents[1] / "hydrus_config.json"
HELD_BACK = 20
STAGES = ("search", "fetch", "prepare", "compare", "post", "total")
COLUMNS = (*STAGES, "scored", "requests", "thumbnails")


def main() -> None:
    files = load_folder(Path(sys.argv[1]), tags=()) if len(sys.argv) > 1 else generate_library()
    with tempfile.TemporaryDirectory() as folder, StandIn(files[:-HELD_BACK]) as client:
        home = Path(folder)
        config = json.loads(SHIPPED_CONFIG.read_text(encoding="utf-8"))
        config |= {"api_port": client.port, "api_key": client.FULL_KEY}
        config["tags"] = ["system:filetype is video"]
        (home / "hydrus_config.json").write_text(json.dumps(config), encoding="utf-8")

        print(f"{'':18}" + "".join(f"{column:>11}" for column in COLUMNS))
        measure("first run", home, client)
        measure("nothing new", home, client)
        client.add(files[-HELD_BACK:])
        measure(f"{HELD_BACK} new files", home, client)
        bytes_per_file = (home / "hydindex.db").stat().st_size / len(files)
        print(f"\n{len(files)} files, {bytes_per_file / 1024:.1f} KB of index a file")
        show_accuracy(files, client)


def measure(label: str, home: Path, client: StandIn) -> None:
    """Run one update and print its row."""
    client.clear_log()
    command = [sys.executable, "-m", "hydindex", "update", "--json"]
    ended = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(ended.stdout)
    thumbnails = sum("file_id" in request.query for request in client.requests)
    figures = [f"{report['seconds'][stage]:.2f}" for stage in STAGES]
    figures += [str(report["pairs"]["scored"]), str(len(client.requests)), str(thumbnails)]
    print(f"{label:18}" + "".join(f"{figure:>11}" for figure in figures))


def show_accuracy(files: list[HydrusFile], client: StandIn) -> None:
    """Compare what was posted with the labels."""
    labelled, posted = true_pairs(files), client.potentials
    right = len(labelled & posted)
    print(
        f"{len(posted)} pairs posted, {right} of them true: precision {right / len(posted):.3f}, "
        f"recall {right / len(labelled):.3f} of {len(labelled)} labelled pairs"
    )


if __name__ == "__main__":
    main()
