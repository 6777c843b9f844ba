"""Measure whole runs of `hydindex update` on a labelled library, with each method.

    python benchmarks/first_run.py [PATH]

PATH is a folder with `files.json` and `thumbs/`; without it, the demo's generated library is used.
Prints a first run, a run with nothing new and a run with 20 new files: seconds of the process and
of its stages, pairs scored, requests; then the size of the index, and precision and recall of what
was posted. Everything but the method is the shipped config.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

from measure import print_table, run_hydindex, write_config

from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile, load_folder, true_pairs

NEW_FILES: Final = 20
STAGES: Final = ("search", "fetch", "prepare", "compare", "post")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    path = parser.parse_args().path
    files = load_folder(path, tags=()) if path else generate_library()
    for method in ("calibrated", "threshold"):
        with tempfile.TemporaryDirectory() as folder, StandIn(files[:-NEW_FILES]) as client:
            changes = {"tags": ["system:filetype is video"], "decision": {"method": method}}
            write_config(Path(folder), client.port, client.FULL_KEY, changes)
            measure(files, Path(folder), client, method)


def measure(files: list[HydrusFile], home: Path, client: StandIn, method: str) -> None:
    """Run three times and print what that cost and found."""
    rows = [run("first run", home, client), run("nothing new", home, client)]
    client.add(files[-NEW_FILES:])
    rows.append(run(f"{NEW_FILES} new files", home, client))
    title = f"Method {method}, {len(files)} files: seconds of the process and of its stages."
    print_table(title, rows)
    kilobytes = (home / "hydindex.db").stat().st_size / len(files) / 1e3
    labelled, posted = true_pairs(files), client.potentials
    right = len(labelled & posted)
    print(
        f"{kilobytes:.1f} KB of index per file; {len(posted)} pairs posted, precision "
        f"{right / max(1, len(posted)):.3f}, recall {right / len(labelled):.3f}"
    )


def run(name: str, home: Path, client: StandIn) -> dict[str, object]:
    """Run one update; return its row of the table."""
    client.clear_log()
    report, cost = run_hydindex(home, "update")
    return {
        "update": name,
        "process": cost.wall_s,
        **{stage: report["seconds"][stage] for stage in STAGES},
        "pairs scored": report["pairs"]["scored"],
        "requests": len(client.requests),
    }


if __name__ == "__main__":
    main()
