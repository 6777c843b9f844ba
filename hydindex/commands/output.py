"""The results of the commands, in words for people and as JSON for programs."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from subprocess import list2cmdline
from textwrap import indent
from typing import TYPE_CHECKING, Final

from hydindex.commands.console import Console, Row, log_run
from hydindex.common.errors import ExitCode

# Each command has imported what its own result is made of; that of the others would take 0.2 s.
if TYPE_CHECKING:
    from hydindex.pipeline.calibrate import Calibration
    from hydindex.pipeline.rebuild import RebuildPlan
    from hydindex.pipeline.run_report import RunReport
    from hydindex.pipeline.schedule import Schedule
    from hydindex.pipeline.stats import Stats
    from hydindex.store.decision_log import ScoreBand
    from hydindex.store.pair_list import ListedPair
    from hydindex.store.repair import Repaired
    from hydindex.store.run_log import RecordedRun

_BAR_CHARACTERS: Final = 40


def show_report(
    console: Console, report: RunReport, command: str, exit_code: ExitCode, *, dry_run: bool
) -> None:
    """Show what an update or a rebuild found and did."""
    files, pairs, seconds = report.files, report.pairs, report.seconds
    log_run(
        f"{command} exit={int(exit_code)} found={files.found} new={files.new} "
        f"matched={pairs.matched} posted={pairs.posted} queued={pairs.queued} "
        f"seconds={seconds.total:.1f}"
    )
    console.print_json(
        {
            "command": command,
            "exit_code": int(exit_code),
            "dry_run": dry_run,
            **report.to_json(),
        }
    )
    console.print(f"Files: {report.files_text()}")
    console.print(f"Pairs: {pairs.scored:,} scored, {pairs.matched:,} match")
    if command == "rebuild":
        console.print(f"Queue: {pairs.queued:,} pairs, which the next update posts")
    elif dry_run:
        console.print(
            f"Hydrus: would post {pairs.queued - report.held_back.total:,} pairs, "
            f"knew {pairs.known:,} already (a dry run: nothing was posted)"
        )
    else:
        console.print(f"Hydrus: {report.posting_text()}")
    if looks := _second_look(report):
        console.print(f"Second look: {looks}")
    if kept_back := _kept_back(report):
        console.print(f"Kept back: {kept_back}")
    console.print(
        f"Time: {seconds.total:.1f} s (search {seconds.search:.1f}, fetch {seconds.fetch:.1f}, "
        f"prepare {seconds.prepare:.1f}, compare {seconds.compare:.1f}, "
        f"look again {seconds.verify_frames:.1f}, post {seconds.post:.1f})"
    )


def _second_look(report: RunReport) -> str:
    """Say what became of doubtful pairs, where there were any."""
    looks = report.frame_verification
    settled = looks.verified + looks.unverifiable
    said = []
    if settled:
        said.append(
            f"{settled:,} doubtful pairs, {looks.matched:,} match; {looks.sampled:,} videos "
            f"sampled, {looks.bytes / 1e6:,.1f} MB fetched"
        )
    if looks.unverifiable:
        said.append(f"of {looks.unverifiable:,} pairs no frames were to be had")
    if looks.waiting:
        said.append(f"{looks.waiting:,} pairs wait for the next run")
    return "; ".join(said)


def _kept_back(report: RunReport) -> str:
    """Say which pairs were not to be posted, and which config keys say so."""
    kept_back = report.held_back
    reasons = {
        "beyond post.max_per_run, for the next run": kept_back.over_limit,
        "join files that others join already (post.pairs)": kept_back.implied,
        "below post.min_probability_to_post": kept_back.improbable,
    }
    return "; ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)


def show_plan(console: Console, plan: RebuildPlan) -> None:
    """Show what a rebuild would redo.

    `changes` names the keys of the config that differ from what the index was made with. `work` is
    exact, but for `pairs_to_score_at_most`.
    """
    work = {
        "files_to_fetch": plan.files_to_fetch,
        "files_to_prepare": plan.files_to_prepare,
        "files_to_compare": plan.files_to_compare,
        "pairs_to_score_at_most": plan.max_pairs,
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
            "score": f"{plan.max_pairs:,} pairs at most",
        },
    )
    console.print("Nothing was changed (a dry run).")


def show_repair(console: Console, repaired: Repaired | None) -> ExitCode:
    """Show what was saved of a damaged index, and give the exit code.

    `saved` is null where the index is sound. Otherwise it counts `posted_pairs` and `files`, says
    in `record_is_whole` whether all posted pairs could be read, and in `damaged` where the
    damaged file lies now.
    """
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
    """Show what a model fitted to the user's decisions would do, and give the exit code.

    `decided` counts the posted pairs that were found right and wrong. `before` is how the model in
    use does on them, `after` how one fitted to them does, cross-validated; `helps` says whether
    that is better by enough, and `written` names the file, or is null.
    """
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
        "On these pairs; the fitted model judges none to which it was fitted",
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
            f'Set "decision.model" to "{path}", if it is not yet, and run hydindex rebuild.'
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
    """Show what the index holds, what needs attention first.

    `files.waiting` are there but not yet compared; `files.unusable` and `pairs.refusals` count by
    reason; `pairs.doubtful` wait for a second look. `decisions` tells what became of posted
    pairs, by bands of their scores from `lowest` to below `highest`: `precision` is the part of
    the decided ones that was no false positive. `scores.bands` counts the pairs that match in
    20 equal bands from 0 to 1. `changes` are keys of the config for which a rebuild is due, and
    `attention` says in words what needs a person. `runs` are the latest, the last one first;
    `report` there is what that run printed, null while it goes on or when it was cut short.
    """
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
            "scores": {"matching_from": stats.matching_score, "bands": stats.score_counts},
            "changes": [asdict(change) for change in stats.changes],
            "days_since_update": stats.days_since_update,
            "attention": stats.attention(),
            "runs": [asdict(run) for run in stats.latest_runs],
        }
    )
    if attention := stats.attention():
        console.print("Needs attention")
        for each in attention:
            console.print(f"  ! {each}")
    console.print(f"Index {stats.path}, {stats.size_bytes / 1e6:,.1f} MB")
    console.table(
        "Files",
        {
            "compared": summary.comparable_files,
            "waiting to be compared": summary.waiting_files,
            "unusable": sum(summary.unusable_reasons.values()),
            "gone from Hydrus": summary.gone_files,
        },
    )
    doubtful = {"waiting for a second look": summary.doubtful_pairs}
    console.table("Pairs", summary.pair_states | (doubtful if summary.doubtful_pairs else {}))
    console.columns(
        f"Scores of the pairs that match (from {stats.matching_score:.2f} on)",
        ("score", "pairs", ""),
        _histogram(stats.score_counts, stats.matching_score),
    )
    if any(band.decided for band in stats.by_score):
        console.columns(
            "What you decided about posted pairs, by their scores",
            ("score", "right", "duplicates", "alternates", "false positives", "open"),
            [_decided_row(band) for band in stats.by_score],
        )
    console.columns(
        "Latest runs",
        ("started", "command", "new files", "matches", "posted", "seconds", "ended"),
        [_run_row(run) for run in stats.latest_runs],
    )


def _histogram(counts: Sequence[int], matching_score: float) -> list[Row]:
    """Draw how many pairs have which score, the highest first, down to where pairs match."""
    highest, bands = max(counts), len(counts)
    if not highest:
        return []
    lowest_seen = next(band for band, count in enumerate(counts) if count)
    lowest = min(lowest_seen, int(round(matching_score * bands, 9)))
    return [
        (
            f"{band / bands:.2f} to {(band + 1) / bands:.2f}",
            counts[band],
            "#" * math.ceil(_BAR_CHARACTERS * counts[band] / highest),
        )
        for band in reversed(range(lowest, bands))
    ]


def _decided_row(band: ScoreBand) -> Row:
    return (
        f"{band.lowest:.2f} to {band.highest:.2f}",
        "" if band.precision is None else f"{band.precision:.0%}",
        band.duplicate,
        band.alternate,
        band.false_positive,
        band.open,
    )


def _run_row(run: RecordedRun) -> Row:
    name = f"{run.command} --dry-run" if run.dry_run else run.command
    if run.report is None:
        return run.started_at, name, None, None, None, None, "goes on, or was cut short"
    files, pairs = run.report["files"], run.report["pairs"]
    return (
        run.started_at,
        name,
        files["new"],
        pairs["matched"],
        pairs["posted"],
        run.report["seconds"]["total"],
        f"exit {run.exit_code}" + (f": {run.error.splitlines()[0]}" if run.error else ""),
    )


def show_pairs(console: Console, pairs: Sequence[ListedPair], *, as_csv: bool) -> None:
    """Show pairs, as a table, or as JSON or CSV.

    `score` is the probability, or by the threshold rule the similarity. A pair is `queued`,
    `sending`, `posted`, `known` (Hydrus knew it already) or `refused`, for a `reason`, since
    `state_at`. `decision` is what the user decided in Hydrus: duplicate, alternate,
    false_positive, or null. `matches` is false for a pair that Hydrus was told of under an
    earlier config. `evidence` is what the probability was computed from, null by the threshold
    rule.
    """
    listed = [
        {
            "sha256_a": each.sha256_low,
            "sha256_b": each.sha256_high,
            "score": each.score,
            "state": each.state,
            "decision": each.decision,
            "matches": each.matches,
            "state_at": each.state_at,
        }
        for each in pairs
    ]
    console.print_json(
        {
            "command": "pairs",
            "exit_code": int(ExitCode.DONE),
            "pairs": [
                {**row, "reason": each.reason, "features": each.features}
                for row, each in zip(listed, pairs, strict=True)
            ],
        }
    )
    if as_csv:
        header = ("sha256_a", "sha256_b", "score", "state", "decision", "matches", "state_at")
        console.print_csv(header, [tuple(row.values()) for row in listed])
        return
    console.columns(
        f"{len(pairs):,} pairs, the most certain first",
        ("score", "state", "decision", "SHA-256 of one", "SHA-256 of the other", "remark"),
        [
            (
                f"{each.score:.4f}",
                each.state,
                (each.decision or "open").replace("_", " "),
                each.sha256_low,
                each.sha256_high,
                each.reason or ("" if each.matches else "matches no longer"),
            )
            for each in pairs
        ],
    )
    if not pairs:
        console.print("No pairs.")


def show_page(console: Console, path: Path, *, pairs: int, left_out: int) -> None:
    """Say where the page of pairs was written, and what it leaves out."""
    console.print(f"{pairs:,} pairs written to {path}: open it in a browser.")
    if left_out:
        console.print(f"{left_out:,} pairs that are less certain were left out (--limit).")
