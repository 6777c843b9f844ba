"""Show how often a match is right, and what is missed, by the config and by simpler rules.

    python benchmarks/accuracy.py PATH [--config PATH] [--plot docs/images/accuracy.png]

PATH is the labelled library that the shipped model was fitted to (see `benchmarks/calibrate.py`).
On it the config does better than it would elsewhere. So the calibrated decision is also
cross-validated there by source: every pair is judged by a model that knows neither of its files'
sources. Then follow libraries that nothing was fitted to: the second one of several seeds
(`benchmarks/second_library.py`), one of title cards, which hardly differ, and one of unrelated
videos, where every match is wrong.

The rules to compare with, among the config's candidates, are the original one (MS-SSIM of at least
0.6), the same at the threshold that does best on PATH, and the coarsest structure alone, at its
best threshold there. Scores by MS-SSIM and by the config come from hydindex's own stage of
comparing, at a threshold of 0. A second look at frames is left out.

At last it is told how long that stage takes by both methods.
"""

import argparse
import math
import time
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from statistics import mean, median
from typing import Final

import numpy as np
from calibrate import DRAWS, GOAL_PRECISION, GOAL_RECALL, cross_validated
from indexed import compare_all, indexed, with_method
from judged import LEFT_OUT, JudgedPairs, Verdicts, among_all
from labelled import LabelledFile, LabelledPairs, load_labelled
from measured import SHIPPED_CONFIG
from numpy.typing import NDArray
from second_library import (
    alteration_of,
    second_library,
    source_of,
    title_cards,
    unrelated_library,
)
from table import print_table, to_three

from hydindex.config import config_file
from hydindex.config.settings import Config
from hydindex.matching.spanning_forest import spanning
from hydindex.records.pairs import FilePair
from hydindex.standin.library_files import HydrusFile
from hydindex.store.store import Store

SEEDS: Final = (11, 21, 31)
ORIGINAL_THRESHOLD: Final = 0.6
NOISE: Final = 2.0  # as in hydindex.matching.calibrated.features, in squared grey levels
INFORMATION_BANDS: Final = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, math.inf)
ALIKE: Final = 0.9
COST_ROUNDS: Final = 5
COST_FILES: Final = 500  # of the unrelated ones

Bools = NDArray[np.bool_]


def main() -> None:
    options = _options()
    if options.path is None:
        print("\naccuracy: skipped, because no labelled library is given (make bench CORPUS=PATH)")
        return
    config = config_file.load(options.config)
    calibrated = with_method(config, "calibrated")

    files = load_labelled(options.path)
    candidates = LabelledPairs.of(files, calibrated)
    pairs = JudgedPairs.of(files, candidates, config)
    rules = rules_fitted_to(pairs, config)
    by_others = judged_by_other_models(candidates, calibrated)
    show_rules(options.path.name, pairs, [*rules, by_others])
    print(
        "* its threshold, or its model, was chosen by these very pairs: elsewhere it does worse.\n"
        f"Cross-validated: means of {DRAWS} draws of the parts."
    )
    show_goal(by_others, pairs.is_duplicate)
    show_alterations(pairs, [*rules, by_others])
    show_what_stopped(pairs, rules[-1], config)

    def judged_pairs(made: Sequence[HydrusFile]) -> JudgedPairs:
        labelled = [LabelledFile(each, source_of(each), alteration_of(each)) for each in made]
        return JudgedPairs.of(labelled, LabelledPairs.of(labelled, calibrated), config)

    judged = [judged_pairs(second_library(seed)) for seed in SEEDS]
    for seed, each in zip(SEEDS, judged, strict=True):
        show_rules(f"Second library, seed {seed}", each, as_applied_to(each, rules))
    others: JudgedPairs = reduce(add, judged)
    rules_elsewhere = as_applied_to(others, rules)
    show_rules(f"Second library, all {len(SEEDS)} seeds", others, rules_elsewhere)
    show_alterations(others, rules_elsewhere)
    show_what_stopped(others, rules_elsewhere[-1], config)

    cards = judged_pairs(title_cards())
    rules_on_cards = as_applied_to(cards, rules)
    show_rules("Title cards", cards, rules_on_cards)
    show_alterations(cards, rules_on_cards)
    show_featureless(pairs + others, as_applied_to(pairs + others, rules))
    show_spanning({options.path.name: pairs, "second library": others}, rules)
    unrelated = unrelated_library()
    show_wrong_per_million(unrelated, others, rules_elsewhere, config)
    show_cost(
        {
            options.path.name: [each.file for each in files],
            f"{COST_FILES} unrelated": unrelated[:COST_FILES],
        },
        config,
    )
    if options.plot is not None:
        draw(options.plot, pairs, [*rules, by_others], others, rules_elsewhere)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", help="folder with files.json and thumbs/")
    parser.add_argument("--config", type=Path, default=SHIPPED_CONFIG, help="what to measure")
    parser.add_argument("--plot", type=Path, help="draw the curves as PNG")
    return parser.parse_args()


# The rules


def rules_fitted_to(pairs: JudgedPairs, config: Config) -> list[Verdicts]:
    """Give the rules to compare with, at their best on these pairs, and last the config's own."""
    original = Verdicts.of(f"MS-SSIM >= {ORIGINAL_THRESHOLD:g}", pairs.ms_ssim, ORIGINAL_THRESHOLD)
    structure = Verdicts.of("coarsest structure", pairs.structure, 0.0)
    is_calibrated = config.decision.method == "calibrated"
    settings = config.decision
    threshold = settings.min_probability if is_calibrated else config.similarity_threshold
    name = f"{settings.method} >= {threshold:g}"
    own_model = is_calibrated and settings.model is None
    return [
        original,
        original.at_its_best("MS-SSIM, best *", pairs.is_duplicate),
        structure.at_its_best("structure, best *", pairs.is_duplicate),
        Verdicts.of(f"{name} *" if own_model else name, pairs.configured, threshold),
    ]


def as_applied_to(pairs: JudgedPairs, rules: Sequence[Verdicts]) -> list[Verdicts]:
    """Apply the rules, with the thresholds that they have, to other pairs."""
    scores = (pairs.ms_ssim, pairs.ms_ssim, pairs.structure, pairs.configured)
    return [
        Verdicts.of(rule.rule.removesuffix(" *"), each, rule.threshold)
        for rule, each in zip(rules, scores, strict=True)
    ]


def judged_by_other_models(candidates: LabelledPairs, calibrated: Config) -> Verdicts:
    """Matcher every pair by models that were fitted to other sources."""
    draws = [among_all(candidates, cross_validated(candidates, draw)) for draw in range(DRAWS)]
    return Verdicts("cross-validated", np.stack(draws), calibrated.decision.min_probability)


# The tables


def show_rules(title: str, pairs: JudgedPairs, rules: Sequence[Verdicts]) -> None:
    rows = []
    for rule in rules:
        qualities = rule.qualities(pairs.is_duplicate)
        rows.append(
            (
                rule.rule,
                to_three(rule.threshold),
                f"{rule.count(pairs.is_duplicate):.1f}",
                f"{rule.count(~pairs.is_duplicate):.1f}",
                *(
                    to_three(mean(getattr(each, name) for each in qualities))
                    for name in ("precision", "recall", "f1")
                ),
            )
        )
    print_table(
        f"{title}: {len(pairs):,} pairs, {pairs.is_duplicate.sum():,} of them duplicates.",
        ("rule", "threshold", "right", "wrong", "precision", "recall", "F1"),
        rows,
    )


def show_goal(rule: Verdicts, is_duplicate: Bools) -> None:
    qualities = rule.qualities(is_duplicate)
    print(f"Goal: precision of {GOAL_PRECISION:g} at a recall of {GOAL_RECALL:g}, cross-validated.")
    for name, goal in (("precision", GOAL_PRECISION), ("recall", GOAL_RECALL)):
        figures = [float(getattr(each, name)) for each in qualities]
        reached = "reached" if mean(figures) >= goal else "missed"
        print(
            f"  {name} {mean(figures):.4f} ({min(figures):.3f} to {max(figures):.3f}), {reached}; "
            f"in {sum(each >= goal for each in figures)} of {len(figures)} draws"
        )


def show_alterations(pairs: JudgedPairs, rules: Sequence[Verdicts]) -> None:
    """Show the recall of every rule by alteration, and where the last one is wrong."""
    last = rules[-1]
    rows = []
    for kind in _kinds(pairs):
        of_kind = pairs.kind == kind
        duplicates = of_kind & pairs.is_duplicate
        labelled = int(duplicates.sum())
        right, wrong = last.count(duplicates), last.count(of_kind & ~pairs.is_duplicate)
        f1 = 2 * right / (right + wrong + labelled)
        rows.append(
            (
                kind,
                labelled,
                *(
                    to_three(rule.count(duplicates) / labelled) if labelled else None
                    for rule in rules
                ),
                f"{wrong:.1f}",
                *((to_three(right / (right + wrong)), to_three(f1)) if right else (None, None)),
            )
        )
    print_table(
        "By the alteration that parts two files ('two': both are altered): recall; and of what is "
        f"{last.rule},\nthe wrong pairs, precision and F1.",
        ("alteration", "pairs", *(rule.rule for rule in rules), "wrong", "precision", "F1"),
        rows,
    )


def show_what_stopped(pairs: JudgedPairs, rule: Verdicts, config: Config) -> None:
    """Show how far the duplicates of each alteration come by the config's decision."""
    is_calibrated = config.decision.method == "calibrated"
    candidates = (pairs.structure if is_calibrated else pairs.configured) > LEFT_OUT
    scored, matches = pairs.configured > LEFT_OUT, rule.matches[0]
    rows = []
    for kind in (*_kinds(pairs), "all"):
        duplicates = pairs.is_duplicate & ((pairs.kind == kind) | (kind == "all"))
        if not duplicates.any():
            continue
        stops = (~candidates, candidates & ~scored, scored & ~matches, matches)
        rows.append((kind, *(int((duplicates & each).sum()) for each in (duplicates, *stops))))
    print_table(
        f"What becomes of the duplicates ({rule.rule}): no candidates by the candidate rules, "
        "stopped by the gate,\nscored too low, or found.",
        ("alteration", "pairs", "no candidates", "gate", "too low", "found"),
        rows,
    )


def show_featureless(pairs: JudgedPairs, rules: Sequence[Verdicts]) -> None:
    """Show who is wrong about pictures with little in them."""
    _, best_ms_ssim, _, configured = (rule.matches[0] for rule in rules)
    alike = pairs.structure >= ALIKE
    rows = []
    for least, most in pairwise(INFORMATION_BANDS):
        in_band = (pairs.information >= least) & (pairs.information < most)
        wrong, right = in_band & ~pairs.is_duplicate, in_band & pairs.is_duplicate
        rows.append(
            (
                f"{least:g} to {most:g}",
                f"{_grey_levels(least):.1f} to {_grey_levels(most):.1f}",
                *(int((wrong & each).sum()) for each in (wrong, alike, best_ms_ssim, configured)),
                *(int((right & each).sum()) for each in (right, configured)),
            )
        )
    print_table(
        "All labelled libraries, by what the emptier picture of a candidate shows: nats per pixel, "
        "and how far its\nwindows would stray if all were equal, in grey levels. Of pairs that are "
        f"no duplicates: all, those whose coarsest\nstructure agrees by {ALIKE} or more, and those "
        "that match; then the duplicates.",
        (
            *("information", "grey levels", "others", f"structure {ALIKE}", rules[1].rule),
            *(rules[-1].rule, "duplicates", "found"),
        ),
        rows,
    )


def show_spanning(libraries: dict[str, JudgedPairs], rules: Sequence[Verdicts]) -> None:
    rows = []
    for name, pairs in libraries.items():
        configured = as_applied_to(pairs, rules)[-1]
        (matches,) = np.nonzero(configured.matches[0])
        strongest_first = matches[np.argsort(-pairs.configured[matches], kind="stable")]
        links = [
            FilePair.of(int(pairs.first[row]), int(pairs.second[row])) for row in strongest_first
        ]
        needed = strongest_first[np.array(spanning(links, []), np.bool_)]
        for posted, rows_of_pairs in (("all", matches), ("spanning", needed)):
            right = int(pairs.is_duplicate[rows_of_pairs].sum())
            wrong = len(rows_of_pairs) - right
            rows.append((name, posted, right + wrong, wrong, to_three(right / (right + wrong))))
    print_table(
        "What post.pairs lets go in one run.",
        ("library", "post.pairs", "pairs", "wrong", "precision"),
        rows,
    )


def show_wrong_per_million(
    unrelated: Sequence[HydrusFile],
    others: JudgedPairs,
    rules_elsewhere: Sequence[Verdicts],
    config: Config,
) -> None:
    """Count wrong matches among unrelated videos, and beside them among the second library's."""
    original, *_, configured = rules_elsewhere
    threshold_rule = with_method(config, "threshold").model_copy(
        update={"similarity_threshold": ORIGINAL_THRESHOLD}
    )
    rows = []
    for rule, its_config in ((configured, config), (original, threshold_rule)):
        with indexed(unrelated, its_config) as index:
            compared = compare_all(index, its_config).pairs
        total = math.comb(len(unrelated), 2)
        rows.append(_wrong_row("unrelated", rule, total, compared.candidates, compared.matched))
    for rule, seen in ((configured, others.structure), (original, others.ms_ssim)):
        wrong = ~others.is_duplicate
        rows.append(
            _wrong_row(
                "second library",
                rule,
                int(wrong.sum()),
                int((wrong & (seen > LEFT_OUT)).sum()),
                int(rule.count(wrong)),
            )
        )
    print_table(
        "Wrong matches among pairs that are no duplicates.",
        (
            *("library", "rule", "pairs", "candidates", "wrong"),
            *("per million candidates", "per million pairs"),
        ),
        rows,
    )


def show_cost(libraries: dict[str, Sequence[HydrusFile]], config: Config) -> None:
    """Compare the seconds that the stage of comparing takes by both methods, warm, in turns."""
    configs = (with_method(config, "calibrated"), with_method(config, "threshold"))
    rows = []
    for name, files in libraries.items():
        with indexed(files, configs[0]) as calibrated, indexed(files, configs[1]) as threshold:
            sides = list(zip((calibrated, threshold), configs, strict=True))
            turns = [
                [_timed_compare(index, its_config) for index, its_config in sides]
                for _ in range(1 + COST_ROUNDS)
            ][1:]  # the first loads torch
        row: list[object] = [name]
        for clock in (0, 1):
            ours, theirs = ([turn[side][clock] for turn in turns] for side in (0, 1))
            ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
            row += [f"{median(ours):.2f}", f"{median(theirs):.2f}", median(ratios)]
        rows.append(row)
    columns = ("calibrated", "threshold", "ratio")
    print_table(
        f"The stage of comparing, warm, in seconds: medians of {COST_ROUNDS} turns; by the clock, "
        "then of all cores together.",
        ("library", *columns, *columns),
        rows,
    )


def draw(
    path: Path,
    pairs: JudgedPairs,
    rules: Sequence[Verdicts],
    others: JudgedPairs,
    rules_elsewhere: Sequence[Verdicts],
) -> None:
    """Draw the curves of the library that models were fitted to, and of the others."""
    from accuracy_plot import Curve, draw_curves

    def compared(original: Verdicts, best: Verdicts, structure: Verdicts) -> list[Curve]:
        return [
            Curve("MS-SSIM", "#c2571a", [original, best]),
            Curve("coarsest structure alone", "#6e7781", [structure]),
        ]

    def own(is_known: bool, rule: Verdicts) -> Curve:
        label = f"{name}, by a model that {'knows these pairs' if is_known else 'does not'}"
        return Curve(label, "#0b6bcb", [rule], above=True, is_faint=is_known)

    *simple, configured, by_others = rules
    *simple_elsewhere, configured_elsewhere = rules_elsewhere
    name = configured.rule.partition(" ")[0]
    fitted = [*compared(*simple), own(True, configured), own(False, by_others)]
    elsewhere = [*compared(*simple_elsewhere), own(False, configured_elsewhere)]
    draw_curves(
        path,
        {
            "The library that models were fitted to": (pairs.is_duplicate, fitted),
            "Libraries that nothing was fitted to": (others.is_duplicate, elsewhere),
        },
    )


def _kinds(pairs: JudgedPairs) -> list[str]:
    """Name the alterations, those of both files and of neither last."""
    kinds = set(pairs.kind.tolist())
    return [*sorted(kinds - {"two", "none"}), *sorted(kinds & {"two", "none"}, reverse=True)]


def _grey_levels(information: float) -> float:
    """Tell how far windows stray that hold so much information, in nats."""
    return math.sqrt(NOISE * math.expm1(information)) if information < math.inf else math.inf


def _wrong_row(
    library: str, rule: Verdicts, pairs: int, candidates: int, wrong: int
) -> tuple[object, ...]:
    per_million = (wrong / each * 1e6 for each in (candidates, pairs))
    return (library, rule.rule, pairs, candidates, wrong, *(f"{each:,.1f}" for each in per_million))


def _timed_compare(index: Store, config: Config) -> tuple[float, float]:
    """Run the stage of comparing; give its seconds, and those of all cores together."""
    cpu_s = time.process_time()
    wall_s = compare_all(index, config).seconds.compare
    return wall_s, time.process_time() - cpu_s


if __name__ == "__main__":
    main()
