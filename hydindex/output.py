"""The results of the commands, in words for people and as JSON for programs."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from subprocess import list2cmdline
from textwrap import indent

from hydindex.console import Console
from hydindex.errors import ExitCode
from hydindex.index.decisions import ScoreBand
from hydindex.index.repair import Repaired
from hydindex.index.runs import RecordedRun
from hydindex.run.calibrate import Calibration
from hydindex.run.rebuild import RebuildPlan
from hydindex.run.report import Report
from hydindex.run.schedule import Schedule
from hydindex.run.stats import Stats


def show_report(
    console: Console, report: Report, command: str, exit_code: ExitCode, *, dry_run: bool
) -> None:
    """Show what an update or a rebuild found and did."""
    files, pairs, seconds = report.files, report.pairs, report.seconds
    console.print_json(
        {
            "command": command,
            "exit_code": int(exit_code),
            "dry_run": dry_run,
            **report.to_json(),
        }
    )
    console.print(
        f"Files: {files.found:,} found; {files.new:,} new, {files.gone:,} gone, "
        f"{files.returned:,} returned; {files.indexed:,} indexed, {files.unusable:,} unusable"
    )
    console.print(f"Pairs: {pairs.scored:,} scored, {pairs.matched:,} match")
    if command == "rebuild":
        console.print(f"Queue: {pairs.queued:,} pairs, which the next update posts")
    elif dry_run:
        console.print(
            f"Hydrus: would post {pairs.queued - report.kept_back.total:,} pairs, "
            f"knew {pairs.known:,} already (a dry run: nothing was posted)"
        )
    else:
        console.print(
            f"Hydrus: {pairs.posted:,} posted, {pairs.known:,} known already, "
            f"{pairs.refused:,} refused, {pairs.queued:,} still queued"
        )
    if looks := _second_look(report):
        console.print(f"Second look: {looks}")
    if kept_back := _kept_back(report):
        console.print(f"Kept back: {kept_back}")
    console.print(
        f"Time: {seconds.total:.1f} s (search {seconds.search:.1f}, fetch {seconds.fetch:.1f}, "
        f"prepare {seconds.prepare:.1f}, compare {seconds.compare:.1f}, "
        f"look again {seconds.look:.1f}, post {seconds.post:.1f})"
    )


def _second_look(report: Report) -> str:
    """Say what became of doubtful pairs, where there were any."""
    looks = report.second_look
    settled = looks.looked_at + looks.unseen
    said = []
    if settled:
        said.append(
            f"{settled:,} doubtful pairs, {looks.matched:,} match; {looks.sampled:,} videos "
            f"sampled, {looks.bytes / 1e6:,.1f} MB fetched"
        )
    if looks.unseen:
        said.append(f"of {looks.unseen:,} pairs no frames were to be had")
    if looks.waiting:
        said.append(f"{looks.waiting:,} pairs wait for the next run")
    return "; ".join(said)


def _kept_back(report: Report) -> str:
    """Say which pairs were not to be posted, and which config keys say so."""
    kept_back = report.kept_back
    reasons = {
        "beyond post.max_per_run, for the next run": kept_back.later,
        "join files that others join already (post.pairs)": kept_back.implied,
        "below post.min_probability_to_post": kept_back.doubtful,
    }
    return "; ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)


def show_plan(console: Console, plan: RebuildPlan) -> None:
    """Show what a rebuild would redo."""
    work = {
        "files_to_fetch": plan.files_to_fetch,
        "files_to_prepare": plan.files_to_prepare,
        "files_to_compare": plan.files_to_compare,
        "pairs_to_score_at_most": plan.pairs,
    }
    console.print_json(
        {
            "command": "rebuild",
            "exit_code": int(ExitCode.DONE),
            "dry_run": True,
            "changes": [asdict(change) for change in plan.changes],
            "work": work,
        }
    )
    if not plan.changes and not any(work.values()):
        console.print("Nothing to redo: the index is made with this config.")
        return
    console.table(
        "Changed in the config",
        {change.key: f"{change.old} -> {change.new}" for change in plan.changes},
    )
    console.table(
        "A rebuild would",
        {
            "fetch again": f"{plan.files_to_fetch:,} files",
            "prepare again": f"{plan.files_to_prepare:,} files, from the stored thumbnails",
            "compare again": f"{plan.files_to_compare:,} files",
            "score": f"{plan.pairs:,} pairs at most",
        },
    )
    console.print("Nothing was changed (a dry run).")


def show_repair(console: Console, repaired: Repaired | None) -> ExitCode:
    """Show what was saved of a damaged index, and give the exit code."""
    complete = repaired is None or repaired.record_is_whole
    exit_code = ExitCode.DONE if complete else ExitCode.PARTLY_DONE
    saved = None if repaired is None else {**asdict(repaired), "damaged": str(repaired.damaged)}
    console.print_json({"command": "repair", "exit_code": int(exit_code), "saved": saved})
    if repaired is not None and not complete:
        console.warn(
            f"Only a part of the record of posted pairs could be read: {repaired.posted_pairs:,} "
            "pairs. The next updates ask Hydrus about every pair before they post it, but pairs "
            "that you removed there may come back once. If you have another copy of the index, or "
            "of the record, use hydindex import-posted first."
        )
    if repaired is None:
        console.print("The index is sound: there is nothing to repair.")
        return exit_code
    console.table(
        "The index was damaged. Saved",
        {"posted pairs": repaired.posted_pairs, "files, with their thumbnails": repaired.files},
    )
    console.print("The next update fetches what is missing, and compares all of them again.")
    console.print(f"The damaged file is now {repaired.damaged}. Delete it once all is well.")
    return exit_code


def show_calibration(
    console: Console, calibration: Calibration, path: Path, *, written: bool, asked: bool
) -> ExitCode:
    """Show what a model fitted to the user's decisions would do, and give the exit code."""
    before, after = calibration.before, calibration.after
    exit_code = ExitCode.DONE if written or not asked else ExitCode.PARTLY_DONE
    console.print_json(
        {
            "command": "calibrate",
            "exit_code": int(exit_code),
            "decided": {"right": calibration.right, "wrong": calibration.wrong},
            "before": {**asdict(before), "f1": before.f1},
            "after": {**asdict(after), "f1": after.f1},
            "helps": calibration.helps,
            "written": str(path) if written else None,
        }
    )
    console.print(
        f"You found {calibration.right:,} posted pairs right and {calibration.wrong:,} wrong."
    )
    console.table(
        "On these pairs, each judged by a model that was not fitted to it",
        {
            "the model in use": f"precision {before.precision:.3f}, recall {before.recall:.3f}",
            "fitted to you": f"precision {after.precision:.3f}, recall {after.recall:.3f}",
        },
    )
    if not calibration.helps:
        console.print("The model in use serves you as well or better: there is nothing to write.")
    elif written:
        console.print(f"Written to {path}.")
        console.print(
            f'Set "decision.model" to "{path.name}", if it is not yet, and run hydindex rebuild.'
        )
    else:
        console.print(f"It would help. hydindex calibrate --write writes it to {path}.")
    return exit_code


def show_schedule(planned: Schedule, *, installed: bool) -> None:
    """Show what makes a scheduler run the update, and how to end it."""
    for path, text in planned.files.items():
        print(f"{'Written' if installed else 'To write'}: {path}\n{indent(text, '    ')}")
    if planned.crontab_line is not None:
        print(f"{'Added' if installed else 'To add'} to your crontab (crontab -e):")
        print(f"    {planned.crontab_line}")
    if planned.commands:
        print("Run:" if installed else "To run:")
        for command in planned.commands:
            print(f"    {_as_typed(command)}")
    if installed:
        print("\nhydindex update now runs every day at that time. To end that:")
    else:
        print("\nhydindex schedule --install does all of that. Afterwards, to end it:")
    for command in planned.undo:
        print(f"    {_as_typed(command)}")


def _as_typed(command: Sequence[str]) -> str:
    return list2cmdline(command) if os.name == "nt" else shlex.join(command)


def show_stats(console: Console, stats: Stats) -> None:
    """Show what the index holds, what needs attention first."""
    summary = stats.summary
    console.print_json(
        {
            "command": "stats",
            "exit_code": int(ExitCode.DONE),
            "index": {"path": stats.path, "size_bytes": stats.size_bytes},
            "files": {
                "comparable": summary.comparable_files,
                "waiting": summary.waiting_files,
                "unusable": summary.unusable_reasons,
                "gone": summary.gone_files,
            },
            "pairs": {
                "states": summary.pair_states,
                "refusals": summary.refusal_reasons,
                "doubtful": summary.doubtful_pairs,
            },
            "decisions": [{**asdict(band), "precision": band.precision} for band in stats.by_score],
            "changes": [asdict(change) for change in stats.changes],
            "runs": [asdict(run) for run in stats.latest_runs],
        }
    )
    console.table(
        "Config changed since the index was made: run hydindex rebuild",
        {change.key: f"{change.old} -> {change.new}" for change in stats.changes},
    )
    console.print(f"Index {stats.path}, {stats.size_bytes / 1e6:,.1f} MB")
    unusable = summary.unusable_reasons
    console.table(
        "Files",
        {
            "compared": summary.comparable_files,
            "waiting to be compared": summary.waiting_files,
            "unusable": sum(unusable.values()),
            "gone from Hydrus": summary.gone_files,
        },
    )
    console.table("Unusable files", unusable)
    doubtful = {"waiting for a second look": summary.doubtful_pairs}
    console.table("Pairs", summary.pair_states | (doubtful if summary.doubtful_pairs else {}))
    console.table("Refused pairs", summary.refusal_reasons)
    if any(band.decided for band in stats.by_score):
        console.table(
            "What you decided about posted pairs, by their scores",
            {f"{band.lowest:.2f} to {band.highest:.2f}": _fates(band) for band in stats.by_score},
        )
    console.table("Latest runs", {run.started_at: _in_words(run) for run in stats.latest_runs})


def _fates(band: ScoreBand) -> str:
    if band.precision is None:
        return f"{band.open:,} open"
    fates = {
        "duplicates": band.duplicate,
        "alternates": band.alternate,
        "false positives": band.false_positive,
        "open": band.open,
    }
    counts = ", ".join(f"{count:,} {name}" for name, count in fates.items() if count)
    return f"{band.precision:.0%} right ({counts})"


def _in_words(run: RecordedRun) -> str:
    name = f"{run.command} --dry-run" if run.dry_run else run.command
    if run.report is None:
        return f"{name}: goes on, or was cut short"
    files, pairs = run.report["files"], run.report["pairs"]
    outcome = f"{name}: exit {run.exit_code}, {run.report['seconds']['total']:.1f} s, "
    if run.error:
        return outcome + run.error.splitlines()[0]
    return (
        outcome
        + f"{files['new']:,} new files, {pairs['matched']:,} matches, {pairs['posted']:,} posted"
    )
