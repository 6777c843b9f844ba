"""The record of runs: time, config, report and result of each."""

import os
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, func, insert, select, update

from hydindex import __version__
from hydindex.common import clock
from hydindex.store.schema import run


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recorded run. `finished_at` is None while it is running, or if it was killed."""

    id: int
    command: str
    version: str
    process_id: int
    dry_run: bool
    started_at: str
    finished_at: str | None
    exit_code: int | None
    report: dict[str, Any] | None
    error: str | None


class RunLog:
    """Reads and writes the record of runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, command: str, *, dry_run: bool, config: dict[str, Any]) -> int:
        """Record the start of a run; `config` must not contain the access key."""
        statement = insert(run).values(
            command=command,
            version=__version__,
            process_id=os.getpid(),
            dry_run=dry_run,
            config=config,
            started_at=clock.now(),
        )
        with self._engine.begin() as connection:
            return int(connection.execute(statement.returning(run.c.id)).scalar_one())

    def finish(
        self, run_id: int, *, exit_code: int, report: dict[str, Any], error: str | None = None
    ) -> None:
        """Record the end of a run."""
        statement = (
            update(run)
            .where(run.c.id == run_id)
            .values(finished_at=clock.now(), exit_code=exit_code, report=report, error=error)
        )
        with self._engine.begin() as connection:
            connection.execute(statement)

    def latest(self, limit: int = 1) -> list[RecordedRun]:
        """List the latest runs, the newest first."""
        columns = [run.c[name] for name in RecordedRun.__dataclass_fields__]
        query = select(*columns).order_by(run.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_recorded(row) for row in connection.execute(query)]

    def last_good_update(self) -> str | None:
        """Return when an update, not a dry run, last ended without an error."""
        query = select(func.max(run.c.finished_at)).where(
            run.c.command == "update", ~run.c.dry_run, run.c.error.is_(None)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()


def _recorded(row: Row[Any]) -> RecordedRun:
    return RecordedRun(**row._asdict())
