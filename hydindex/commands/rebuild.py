"""`hydindex rebuild`: apply a changed config to the index."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath, Quiet, Verbose
from hydindex.commands.session import open_session
from hydindex.common.errors import IndexMissing

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.pipeline.rebuild import RebuildPlan


def rebuild(
    config_path: ConfigPath = DEFAULT_CONFIG,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Fetch metadata and thumbnails again first.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; show what would be redone.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Apply a changed config to the index.

    Repeats only the work that the change affects. Uses the stored thumbnails unless --refetch is
    given. The next update posts new matches.

    Example: hydindex rebuild --dry-run
    """
    from hydindex.commands.update import show_report
    from hydindex.pipeline.rebuild import plan_rebuild
    from hydindex.pipeline.rebuild import rebuild as run_rebuild
    from hydindex.pipeline.run_record import run_and_record
    from hydindex.store.store import open_for_reading, open_for_writing

    session = open_session(
        config_path, as_json=as_json, verbose=verbose, quiet=quiet, write_log=True
    )
    if dry_run:
        with open_for_reading(session.index_path) as store:
            show_plan(session.console, plan_rebuild(store, session.config, refetch=refetch))
        return
    if not session.index_path.exists():
        raise IndexMissing(session.index_path)
    with (
        session.connect() if refetch else nullcontext() as client,
        open_for_writing(session.index_path, "rebuild") as store,
    ):
        steps = run_rebuild(store, session.config, session.console.progress, refetch_from=client)
        result = run_and_record(store, "rebuild", session.config, steps, dry_run=False)
    queue_text = f"Queue: {result.pairs.queued:,} pairs, which the next update posts"
    show_report(session.console, result, "rebuild", posting=queue_text, left_over={})


def show_plan(console: "Console", plan: "RebuildPlan") -> None:
    """Show what a rebuild would redo.

    `changes`: config keys that differ from what the index was built with. `work`: what would be
    redone; `files_to_fetch` and `max_pairs_to_score` are upper bounds.
    """
    work = {
        "files_to_fetch": plan.files_to_fetch,
        "files_to_prepare": plan.files_to_prepare,
        "files_to_compare": plan.files_to_compare,
        "max_pairs_to_score": plan.max_pairs,
    }
    changes = [asdict(change) for change in plan.changes]
    console.print_json("rebuild", dry_run=True, changes=changes, work=work)
    if not plan.changes and not any(work.values()):
        console.print("Nothing to redo: the index was built with this config.")
        return
    console.table(
        "Changed config keys",
        {change.key: f"{change.old} -> {change.new}" for change in plan.changes},
    )
    shown_work = {name.replace("_", " "): count for name, count in work.items()}
    console.table("Work of a rebuild", shown_work)
    console.print("Dry run: nothing was changed.")
