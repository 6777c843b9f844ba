"""Shows in Hydrus itself how an update ended, where the config asks for that."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hydindex.config import Config
from hydindex.errors import (
    HydindexError,
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusUnreachable,
    Interrupted,
)
from hydindex.hydrus.client import MANAGE_POPUPS, HydrusClient
from hydindex.run.report import Report

log = logging.getLogger(__name__)

# Of the first the user knows; the others leave nobody who could show a popup.
_NEVER_TOLD = (Interrupted, HydrusUnreachable, HydrusAccessDenied, HydrusBadReply)

HOW_TO_PERMIT = (
    f"In Hydrus: services > review services > client api > edit the key, and tick 'manage popups' "
    f"({MANAGE_POPUPS}). Or set popup.enabled to false."
)


@contextmanager
def shown_in_client(
    client: HydrusClient, config: Config, report: Report, *, dry_run: bool
) -> Iterator[None]:
    """Show a popup once an update is over, if it did something or needs attention.

    A popup that cannot be shown costs a warning, and the run nothing.
    """
    is_wanted = config.popup.enabled and not dry_run
    try:
        yield
    except HydindexError as error:
        if is_wanted and not isinstance(error, _NEVER_TOLD):
            _show(client, error.message, error.remedy)
        raise
    if is_wanted and report.is_worth_a_word():
        _show(client, f"Files: {report.files_in_words()}", f"Pairs: {report.posting_in_words()}")


def _show(client: HydrusClient, *texts: str) -> None:
    try:
        client.add_popup("hydindex", *texts)
    except HydrusAccessDenied as error:
        log.warning("No popup was shown. %s. %s", error.message, HOW_TO_PERMIT)
    except HydindexError as error:
        log.warning(
            "No popup was shown. %s. If that happens every time, update Hydrus, or set "
            "popup.enabled to false.",
            error.message,
        )
