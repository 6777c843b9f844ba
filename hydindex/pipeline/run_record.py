"""Record a run in the index, however it ends."""

import time
from contextlib import closing, suppress

from hydindex.common.errors import HydindexError, IndexUnusable, Interrupted, UnexpectedError
from hydindex.config.settings import Config
from hydindex.pipeline.run_report import RunReport, Steps, seconds_of
from hydindex.store.store import Store


def run_and_record(
    store: Store,
    command: str,
    config: Config,
    steps: Steps,
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
    failure: HydindexError | None = None
    try:
        with closing(steps):
            for step in steps:
                report += step
    except HydindexError as error:
        failure = error
    except KeyboardInterrupt:
        failure = Interrupted(report.progress_text())
    except Exception as error:
        failure = UnexpectedError(error)
    report += seconds_of("total", time.perf_counter() - started)
    if failure is None:
        store.runs.finish(run_id, exit_code=0, report=report.to_json())
        return report
    with suppress(IndexUnusable):  # if the index itself broke, show that error
        store.runs.finish(
            run_id, exit_code=failure.exit_code, report=report.to_json(), error=failure.message
        )
    raise failure
