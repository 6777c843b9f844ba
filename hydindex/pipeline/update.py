"""`hydindex update` on one page: index what is new, compare it, post what matches."""

from contextlib import closing
from typing import Final

from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.compare import compare
from hydindex.pipeline.frame_verification import require_decoder, verify_doubtful
from hydindex.pipeline.ingest import ingest, is_last_step, prepare_stored
from hydindex.pipeline.posting import Poster
from hydindex.pipeline.run_context import RunContext, run_context
from hydindex.pipeline.run_report import (
    FileCounts,
    PairCounts,
    Progress,
    RunReport,
    Steps,
    timed,
)
from hydindex.pipeline.search import search_and_diff
from hydindex.pipeline.user_decisions import record_decisions
from hydindex.records.files import FileRef
from hydindex.store.store import Store

# Files ingested before they are compared, while the next ones are fetched. Each comparison reads
# the descriptors of the whole index, so the interval is at least this share of the files in it.
_COMPARE_INTERVAL: Final = 256
_COMPARE_SHARE: Final = 1 / 32


def update(
    store: Store, client: HydrusClient, config: Config, progress: Progress, *, dry_run: bool
) -> Steps:
    """Search, ingest new files, compare them, verify doubtful pairs, and post what matches.

    Yields what each step did. Every step saves its result, so that after an interruption the next
    run continues. A dry run does the same, but changes nothing in Hydrus: pairs stay queued.

    Raises:
        HydrusUnreachable, HydrusAccessDenied, HydrusBadReply: Hydrus can't be used.
        ConfigError: Hydrus can't parse the tags, or PyAV is missing.
    """
    require_decoder(config)
    hydrus_version = client.version()
    client.require_permissions()
    poster = Poster(store, client, config.post, dry_run=dry_run)
    with run_context(store, config, progress) as run:
        yield from timed("post", poster.recover_interrupted())
        to_ingest = yield from timed("search", search_and_diff(run, client))
        yield from _ingest_and_compare(to_ingest, run, client)
        yield from timed("post", record_decisions(store, client))
        if config.frames.enabled:
            if not dry_run:  # certain pairs need not wait for videos
                yield from timed("post", poster.post_queued())
            yield from timed("verify_frames", verify_doubtful(run, client))
        held_back = yield from timed("post", poster.post_queued())

    indexed, unusable = store.files.present_counts()
    yield RunReport(
        files=FileCounts(indexed=indexed, unusable=unusable),
        pairs=PairCounts(queued=poster.count_queued()),
        held_back=held_back,
    )
    poster.warn_if_refused(hydrus_version)


def _ingest_and_compare(files: list[FileRef], run: RunContext, client: HydrusClient) -> Steps:
    """Ingest files, and compare those already saved while others are being fetched."""
    indexed, _ = run.store.files.present_counts()
    uncompared = 0
    with closing(timed("fetch", ingest(files, run, client))) as ingested:
        for step in ingested:
            yield step
            uncompared += step.files.ingested
            interval = max(_COMPARE_INTERVAL, indexed * _COMPARE_SHARE)
            if uncompared >= interval and not is_last_step(step):
                indexed += uncompared
                uncompared = 0
                yield from timed("compare", compare(run))
    yield from timed("prepare", prepare_stored(run))
    yield from timed("compare", compare(run))
