"""Shows in Hydrus itself how an update ended, where the config asks for that."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydindex.common.errors import (
    ConfigError,
    HydindexError,
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusUnreachable,
    Interrupted,
)
from hydindex.config.settings import Config
from hydindex.hydrus.permissions import MANAGE_POPUPS
from hydindex.pipeline.connect import connect
from hydindex.pipeline.run_report import Report

log = logging.getLogger(__name__)

# Of the first two the user knows; the others leave nobody who could show a popup.
_NEVER_TOLD = (Interrupted, ConfigError, HydrusUnreachable, HydrusAccessDenied, HydrusBadReply)

HOW_TO_PERMIT = (
    f"In Hydrus: services > review services > client api > edit the key, and tick 'manage popups' "
    f"({MANAGE_POPUPS}). Or set popup.enabled to false."
)


@contextmanager
def shown_in_client(
    config: Config, config_path: Path, report: Report, *, dry_run: bool
) -> Iterator[None]:
    """Show a popup once an update is over, if it did something or needs attention.

    A popup that cannot be shown costs a warning, and the run nothing.
    """
    is_wanted = config.popup.enabled and not dry_run
    try:
        yield
    except HydindexError as error:
        if is_wanted and not isinstance(error, _NEVER_TOLD):
            _show(config, config_path, error.message, error.remedy)
        raise
    if is_wanted and report.is_worth_a_word():
        files, pairs = report.files_in_words(), report.posting_in_words()
        _show(config, config_path, f"Files: {files}", f"Pairs: {pairs}")


def _show(config: Config, config_path: Path, *texts: str) -> None:
    """Send a popup, by a connection of its own: those of the run may hang."""
    key = config.require_key()
    try:
        with connect(config, config_path, key=key, retry=False) as client:
            client.add_popup("hydindex", *texts)
    except HydrusAccessDenied as error:
        log.warning("No popup was shown. %s. %s", error.message, HOW_TO_PERMIT)
    except HydindexError as error:
        is_known = not isinstance(error, HydrusUnreachable)
        log.warning(
            "%s. %s. If that happens every time, update Hydrus, or set popup.enabled to false.",
            "No popup was shown" if is_known else "It is not known whether a popup was shown",
            error.message,
        )
