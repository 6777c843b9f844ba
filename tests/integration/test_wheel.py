"""The wheel contains all modules, migrations and data files, and nothing else."""

import json
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hydindex.store.schema import REVISION

CHECKOUT = Path(__file__).parents[2]
# What a release is built from, and what must not get into it.
LICENCES = ["LICENSE", "LICENSE-APACHE", "NOTICE"]
SOURCES = ["pyproject.toml", "README.md", *LICENCES, "hydindex", "migrations"]
BYSTANDERS = ["tests", "benchmarks", "docs"]
DATA_FILES = {
    "hydindex/matching/calibrated/descriptor.onnx",
    "hydindex/matching/calibrated/calibrated_model.json",
    "hydindex/config/starter_config.json",
    "hydindex/migrations/script.py.mako",
    "hydindex/commands/report_page/page.css",
    "hydindex/commands/report_page/page.html",
    "hydindex/commands/report_page/page.js",
    "hydindex/py.typed",
    "hydindex/standin/services.json",
}
START_THE_COMMAND = """
import atexit
import sys
from importlib.metadata import distributions
from pathlib import Path

def require_own_modules():
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "hydindex" and not module.__file__.startswith(target):
            print("imported from elsewhere:", name)

target = sys.argv.pop(1)
sys.path.insert(0, target)
(hydindex,) = distributions(name="hydindex", path=[target])
(command,) = hydindex.entry_points.select(group="console_scripts", name="hydindex")
atexit.register(require_own_modules)
command.load()()
"""


def run(arguments: Sequence[str | Path], folder: Path) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive, and from it the wheel, in a copy: builds leave files behind."""
    folder = tmp_path_factory.mktemp("release")
    copy = folder / "checkout"
    copy.mkdir()
    for name in SOURCES + BYSTANDERS:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy)
    run(["-m", "build", "--no-isolation", "--outdir", folder / "dist", copy], folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


def test_the_wheel_contains_all_modules_migrations_data_files_and_the_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for licence in LICENCES:
        assert any(name.endswith(f".dist-info/licenses/{licence}") for name in names)
    modules = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "hydindex").rglob("*.py")
        if "migrations" not in path.parts
    }
    migrations = {
        f"hydindex/{path.relative_to(CHECKOUT).as_posix()}"
        for path in (CHECKOUT / "migrations").rglob("*.py")
    }
    packaged = {name for name in names if ".dist-info/" not in name}
    assert packaged == modules | migrations | DATA_FILES


def test_twine_accepts_the_release(dist: Path) -> None:
    kinds = sorted(path.suffix for path in dist.iterdir())
    assert kinds == [".gz", ".whl"]
    checked = run(["-m", "twine", "--no-color", "check", "--strict", *dist.iterdir()], dist)
    assert checked.count("PASSED") == 2


def test_an_installed_hydindex_creates_an_index_with_its_own_migrations(
    wheel: Path, tmp_path: Path
) -> None:
    target, record = tmp_path / "installed", tmp_path / "posted.jsonl"
    options = ["--quiet", "--no-index", "--no-deps", "--no-warn-script-location"]
    run(["-m", "pip", "install", *options, "--target", target, wheel], tmp_path)
    record.touch()
    (tmp_path / "hydrus_config.json").write_text(json.dumps({"api_key": "c" * 64}))
    # -I: neither the working folder nor PYTHONPATH leads to the checkout.
    printed = run(["-I", "-c", START_THE_COMMAND, target, "import-posted", record], tmp_path)
    assert "elsewhere" not in printed
    with closing(sqlite3.connect(tmp_path / "hydindex.db")) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert rows == [(REVISION,)]
