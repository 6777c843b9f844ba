"""Records a run in the index, whatever ends it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hydindex.common.errors import HydindexError, IndexUnusable, Interrupted, UnexpectedError
from hydindex.config.settings import Config
from hydindex.pipeline.run_report import Report
from hydindex.store.store import Store


@contextmanager
def recorded(
    index: Store, command: str, config: Config, report: Report, *, dry_run: bool, posts: bool
) -> Iterator[None]:
    """Record when a run began and ended, what it found, and under which config.

    What ends the run early leaves as an error of hydindex.
    """
    # The key must never be written anywhere.
    settings = config.model_dump(mode="json", by_alias=True, exclude={"api_key"})
    run_id = index.runs.start(command, dry_run=dry_run, config=settings)

    def finish(error: HydindexError) -> HydindexError:
        with suppress(IndexUnusable):  # where the index itself broke, that is the error to show
            index.runs.finish(
                run_id, exit_code=error.exit_code, report=report.to_json(), error=error.message
            )
        return error

    try:
        with report.timed("total"):
            yield
    except HydindexError as error:
        finish(error)
        raise
    except KeyboardInterrupt as error:
        raise finish(Interrupted(report.done())) from error
    except Exception as error:
        raise finish(UnexpectedError.of(error)) from error
    index.runs.finish(run_id, exit_code=report.exit_code(posts=posts), report=report.to_json())
