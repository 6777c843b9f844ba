"""A hydindex with one more schema revision, to test upgrades of the index."""

import shutil
from importlib.resources import as_file
from pathlib import Path

from hydindex.store import migration, schema

OLD, NEW = schema.REVISION, "0002"
SHIPPED = migration.MIGRATIONS


def write_migrations(folder: Path, *upgrade_lines: str) -> Path:
    """Copy the shipped migrations and add a newer one."""
    copy = folder / "migrations"
    with as_file(SHIPPED) as shipped:
        shutil.copytree(shipped, copy, ignore=shutil.ignore_patterns("__pycache__"))
    body = "\n    ".join(upgrade_lines)
    (copy / "versions" / f"{NEW}_newer.py").write_text(
        f"from alembic import op\nrevision = {NEW!r}\ndown_revision = {OLD!r}\n"
        f"def upgrade() -> None:\n    {body}\n",
        encoding="utf-8",
    )
    return copy


def install(migrations: Path) -> None:
    """Let the commands of this process have the newer schema, until `uninstall`."""
    migration.REVISION = NEW
    migration.MIGRATIONS = migrations


def uninstall() -> None:
    """Undo `install`."""
    migration.REVISION = OLD
    migration.MIGRATIONS = SHIPPED
