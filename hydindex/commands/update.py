"""`hydindex update`: index what is new, and post what looks alike."""

from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.commands.options import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Quiet,
    Verbose,
    WaitForClient,
)
from hydindex.commands.session import open_session

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.pipeline.run_report import RunReport


def update(
    config_path: ConfigPath = DEFAULT_CONFIG,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing in Hydrus; show what would be posted."),
    ] = False,
    wait_for_client_minutes: WaitForClient = 0,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Index new files, and post matching pairs.

    Run it every night (see hydindex schedule). A dry run queues matching pairs for the next
    update.

    Example: hydindex update --config ~/hydrus/hydrus_config.json
    """
    from hydindex.commands.connection import wait_for_client
    from hydindex.commands.popup import popup_on_error, popup_on_result
    from hydindex.matching.recipe import adopt_recipe
    from hydindex.pipeline.run_record import run_and_record
    from hydindex.pipeline.update import update as run_update
    from hydindex.store.store import open_for_writing

    session = open_session(
        config_path, as_json=as_json, verbose=verbose, quiet=quiet, write_log=True
    )
    wait_for_client(session.config, config_path, minutes=wait_for_client_minutes)
    with (
        popup_on_error(session, dry_run=dry_run),
        session.connect() as client,
        open_for_writing(session.index_path, "update") as store,
    ):
        adopt_recipe(store, session.config)
        steps = run_update(store, client, session.config, session.console.progress, dry_run=dry_run)
        result = run_and_record(store, "update", session.config, steps, dry_run=dry_run)
    show_report(
        session.console,
        result,
        "update",
        posting=_posting_text(result, dry_run=dry_run),
        left_over=result.left_over(posts=not dry_run),
        dry_run=dry_run,
    )
    popup_on_result(session, result, dry_run=dry_run)


def show_report(
    console: "Console",
    report: "RunReport",
    command: str,
    *,
    posting: str,
    left_over: dict[str, int],
    dry_run: bool = False,
) -> None:
    """Show what an update or a rebuild did.

    `left_over` counts what the next update retries: files and videos not fetched, pairs refused or
    still queued. A rebuild leaves nothing over.
    """
    from hydindex.commands.console import log_run

    files, pairs, seconds = report.files, report.pairs, report.seconds
    log_run(
        f"{command} exit=0 found={files.found} new={files.new} matched={pairs.matched} "
        f"posted={pairs.posted} queued={pairs.queued} left_over={sum(left_over.values())} "
        f"seconds={seconds.total:.1f}"
    )
    console.print_json(command, dry_run=dry_run, **report.to_json(), left_over=left_over)
    console.print(f"Files: {report.files_text()}")
    console.print(f"Pairs: {pairs.scored:,} scored, {pairs.matched:,} matched")
    console.print(posting)
    frames, held_back = report.frame_verification, report.held_back
    if frames.verified or frames.unverifiable or frames.waiting:
        console.print(
            f"Frames: {frames.verified:,} doubtful pairs verified, {frames.unverifiable:,} without "
            f"usable frames, {frames.waiting:,} left for the next run; {frames.matched:,} matched; "
            f"{frames.sampled:,} videos sampled, {frames.bytes / 1e6:,.1f} MB fetched"
        )
    if held_back.total > held_back.shared_picture:
        console.print(
            f"Held back: {held_back.over_limit:,} pairs over post.max_per_run, "
            f"{held_back.implied:,} redundant (post.pairs), "
            f"{held_back.improbable:,} below post.min_probability_to_post"
        )
    if held_back.shared_picture:
        console.print(
            f"Held back: {held_back.shared_picture:,} pairs of a picture that many files share "
            "(see hydindex report)"
        )
    if left_over:
        counts = (f"{count:,} {name.replace('_', ' ')}" for name, count in left_over.items())
        console.print(f"Left for the next run: {', '.join(counts)}")
    console.print(
        f"Time: {seconds.total:.1f} s (search {seconds.search:.1f}, fetch {seconds.fetch:.1f}, "
        f"prepare {seconds.prepare:.1f}, compare {seconds.compare:.1f}, "
        f"verify frames {seconds.verify_frames:.1f}, post {seconds.post:.1f})"
    )


def _posting_text(report: "RunReport", *, dry_run: bool) -> str:
    if not dry_run:
        return f"Hydrus: {report.posting_text()}"
    pairs = report.pairs
    return (
        f"Hydrus: would post {pairs.queued - report.held_back.total:,} pairs; "
        f"{pairs.known:,} already known (dry run: nothing was posted)"
    )
