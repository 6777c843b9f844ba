"""`hydindex calibrate`: fit the model to the user's decisions."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath
from hydindex.commands.output_files import replaced_file
from hydindex.commands.session import open_session
from hydindex.common.errors import ExitCode

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.pipeline.calibration import Calibration


def calibrate(
    config_path: ConfigPath = DEFAULT_CONFIG,
    write: Annotated[
        bool, typer.Option("--write", help="Write the fitted model if it beats the one in use.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit the model to your decisions in Hydrus.

    Shows whether the fitted model beats the one in use. Needs at least 100 decisions: at least 10
    right and 10 wrong pairs. The model is written to decision.model, or to calibrated_model.json
    beside the config.

    Example: hydindex calibrate --write
    """
    from hydindex.pipeline.calibration import fit_to_decisions, model_path
    from hydindex.store.store import open_for_reading

    session = open_session(config_path, as_json=as_json)
    with open_for_reading(session.index_path) as store:
        calibration = fit_to_decisions(store, session.config)
    path = model_path(session.config, config_path)
    if write and calibration.helps:
        with replaced_file(path) as file:
            file.write(calibration.model.to_json())
    raise typer.Exit(show_calibration(session.console, calibration, path, write=write))


def show_calibration(
    console: "Console", calibration: "Calibration", path: Path, *, write: bool
) -> ExitCode:
    """Show how the fitted model does, and return the exit code.

    `decided`: posted pairs by your decision, and those left out because their features have
    another version. `before`: the model in use on these pairs. `after`: the fitted model,
    cross-validated. `helps`: whether it is better by enough. `written`: the file, or null.
    """
    before, after = calibration.before, calibration.after
    exit_code = ExitCode.PARTLY_DONE if write and not calibration.helps else ExitCode.DONE
    console.print_json(
        "calibrate",
        exit_code,
        decided={
            "right": calibration.right,
            "wrong": calibration.wrong,
            "other_version": calibration.other_version,
        },
        before={**asdict(before), "f1": before.f1},
        after={**asdict(after), "f1": after.f1},
        helps=calibration.helps,
        written=str(path) if write and calibration.helps else None,
    )
    console.print(
        f"Your decisions: {calibration.right:,} pairs right, {calibration.wrong:,} wrong."
    )
    if calibration.other_version:
        console.print(
            f"Left out: {calibration.other_version:,} pairs with features of another version. "
            "hydindex rebuild computes them again."
        )
    console.table(
        "On these pairs (the fitted model is cross-validated)",
        {
            "model in use": f"precision {before.precision:.3f}, recall {before.recall:.3f}",
            "fitted model": f"precision {after.precision:.3f}, recall {after.recall:.3f}",
        },
    )
    if not calibration.helps:
        console.print("The fitted model is not clearly better; keep the model in use.")
    elif write:
        console.print(f'Written. Set "decision.model" to "{path}", then run hydindex rebuild.')
    else:
        console.print(
            f"The fitted model is better. hydindex calibrate --write writes it to {path}."
        )
    return exit_code
