"""The record of runs: time, config, report and result of each."""

import os
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import func, insert, select, update

from hydindex import __version__
from hydindex.common import clock
from hydindex.store.queries import StorePart
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


class RunLog(StorePart):
    """Reads and writes the record of runs."""

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

    def latest(self, limit: int) -> list[RecordedRun]:
        """List the latest runs, the newest first."""
        columns = [run.c[field.name] for field in fields(RecordedRun)]
        query = select(*columns).order_by(run.c.id.desc()).limit(limit)
        return [RecordedRun(*row) for row in self._rows(query)]

    def last_good_update(self) -> str | None:
        """Return when an update, not a dry run, last ended without an error."""
        query = select(func.max(run.c.finished_at)).where(
            run.c.command == "update", ~run.c.dry_run, run.c.error.is_(None)
        )
        finished_at: str | None = self._values(query)[0]
        return finished_at
