"""Record a run in the index, however it ends."""

import time
from collections.abc import Generator
from contextlib import closing, suppress

from hydindex.common.errors import HydindexError, IndexUnusable, Interrupted, UnexpectedError
from hydindex.config.settings import Config
from hydindex.pipeline.run_report import RunReport, seconds_of
from hydindex.store.store import Store


def run_and_record(
    store: Store,
    command: str,
    config: Config,
    steps: Generator[RunReport, None, None],
    *,
    dry_run: bool,
) -> RunReport:
    """Carry out the steps of a run and record their sum, the config, and how the run ended.

    Raises:
        HydindexError: what ended the run early; anything else becomes one.
    """
    # The key must never be written anywhere.
    settings = config.model_dump(mode="json", by_alias=True, exclude={"api_key"})
    run_id = store.runs.start(command, dry_run=dry_run, config=settings)
    report, started = RunReport(), time.perf_counter()

    def total() -> RunReport:
        return report + seconds_of("total", time.perf_counter() - started)

    def record_failure(error: HydindexError) -> HydindexError:
        with suppress(IndexUnusable):  # if the index itself broke, show that error
            store.runs.finish(
                run_id,
                exit_code=error.exit_code,
                report=total().to_json(),
                error=error.message,
            )
        return error

    try:
        with closing(steps):
            for step in steps:
                report += step
    except HydindexError as error:
        record_failure(error)
        raise
    except KeyboardInterrupt as error:
        raise record_failure(Interrupted(report.progress_text())) from error
    except Exception as error:
        raise record_failure(UnexpectedError(error)) from error
    report = total()
    store.runs.finish(run_id, exit_code=0, report=report.to_json())
    return report
