"""The wheel contains all modules, migrations and data files, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from hydindex.store.schema import REVISION

CHECKOUT = Path(__file__).parents[2]
# What a release is built from, and what must not get into it.
SOURCES = ["pyproject.toml", "README.md", "LICENSE", "hydindex", "migrations"]
BYSTANDERS = ["tests", "benchmarks", "docs"]


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


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel without dependencies into its own folder."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-index", "--no-deps", "--no-warn-script-location"]
    run(["-m", "pip", "install", *options, "--target", target, wheel], target)
    return target


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_every_module_and_migration_is_in_the_wheel(wheel: Path) -> None:
    modules = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "hydindex").rglob("*.py")
        if "migrations" not in path.parts
    }
    migrations = {
        f"hydindex/{path.relative_to(CHECKOUT).as_posix()}"
        for path in (CHECKOUT / "migrations").rglob("*.py")
    }
    revisions = [int(path.name[:4]) for path in (CHECKOUT / "migrations").rglob("[0-9]*.py")]
    assert sorted(revisions) == list(range(1, int(REVISION) + 1))
    others = {
        "hydindex/matching/calibrated/calibrated_model.json",
        "hydindex/config/starter_config.json",
        "hydindex/migrations/script.py.mako",
        "hydindex/commands/report_page/page.css",
        "hydindex/commands/report_page/page.html",
        "hydindex/commands/report_page/page.js",
        "hydindex/py.typed",
        "hydindex/standin/services.json",
    }
    assert contents(wheel) == modules | migrations | others


def test_twine_accepts_the_release(dist: Path) -> None:
    kinds = sorted(path.suffix for path in dist.iterdir())
    assert kinds == [".gz", ".whl"]
    checked = run(["-m", "twine", "--no-color", "check", "--strict", *dist.iterdir()], dist)
    assert checked.count("PASSED") == 2


def test_the_wheel_contains_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


OPEN_AN_INDEX = """
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
target, index_file = map(Path, sys.argv[1:])
sys.path.insert(0, str(target))
import hydindex
import hydindex.migrations
from hydindex.store.store import open_for_writing

for module in (hydindex, hydindex.migrations):
    assert Path(module.__file__).is_relative_to(target), module.__file__
with open_for_writing(index_file) as store:
    store.summary()
for name, module in sys.modules.items():
    if name.partition(".")[0] == "hydindex" and module.__file__:
        assert Path(module.__file__).is_relative_to(target), module.__file__
with closing(sqlite3.connect(index_file)) as connection:
    print(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
"""


def test_an_installed_hydindex_creates_an_index_with_its_own_migrations(
    installed: Path, tmp_path: Path
) -> None:
    # -I: neither the working folder nor PYTHONPATH leads to the checkout.
    printed = run(["-I", "-c", OPEN_AN_INDEX, installed, tmp_path / "hydindex.db"], tmp_path)
    assert printed.strip() == REVISION


START_THE_COMMAND = """
import sys
from importlib.metadata import distributions
target = sys.argv.pop(1)
sys.path.insert(0, target)
(hydindex,) = distributions(name="hydindex", path=[target])
(command,) = hydindex.entry_points.select(group="console_scripts", name="hydindex")
command.load()()
"""


def test_an_installed_hydindex_has_its_command(installed: Path, tmp_path: Path) -> None:
    assert "update" in run(["-I", "-c", START_THE_COMMAND, installed, "--help"], tmp_path)
