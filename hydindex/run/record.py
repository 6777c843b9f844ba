"""Records a run in the index, whatever ends it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hydindex.config import Config
from hydindex.errors import ExitCode, HydindexError, IndexUnusable
from hydindex.index.index import Index
from hydindex.run.report import Report


@contextmanager
def recorded(
    index: Index, command: str, config: Config, report: Report, *, dry_run: bool, posts: bool
) -> Iterator[None]:
    """Record when a run began and ended, what it found, and under which config."""
    # The key must never be written anywhere.
    settings = config.model_dump(mode="json", by_alias=True, exclude={"api_key"})
    run_id = index.runs.start(command, dry_run=dry_run, config=settings)
    try:
        with report.timed("total"):
            yield
    except BaseException as error:
        exit_code = error.exit_code if isinstance(error, HydindexError) else ExitCode.PARTLY_DONE
        message = error.message if isinstance(error, HydindexError) else type(error).__name__
        with suppress(IndexUnusable):  # where the index itself broke, that is the error to show
            index.runs.finish(run_id, exit_code=exit_code, report=report.to_json(), error=message)
        raise
    index.runs.finish(run_id, exit_code=report.exit_code(posts=posts), report=report.to_json())
