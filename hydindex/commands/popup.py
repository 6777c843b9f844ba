"""Show the result of an update in Hydrus itself (`popup.enabled`)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hydindex.commands.connection import connect
from hydindex.commands.session import Session
from hydindex.common.errors import (
    ConfigError,
    HydindexError,
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusUnreachable,
    Interrupted,
)
from hydindex.hydrus.permissions import MANAGE_POPUPS
from hydindex.pipeline.run_report import RunReport

log = logging.getLogger(__name__)

# The user knows about the first two; after the others there is no client to show a popup.
_NOT_SHOWN = (Interrupted, ConfigError, HydrusUnreachable, HydrusAccessDenied, HydrusBadReply)

HOW_TO_PERMIT = (
    "In Hydrus: services > review services > client api > edit the key, and enable 'manage "
    f"popups' ({MANAGE_POPUPS}). Or set popup.enabled to false."
)


@contextmanager
def popup_on_error(session: Session, *, dry_run: bool) -> Iterator[None]:
    """Show a popup if an update fails."""
    try:
        yield
    except HydindexError as error:
        if session.config.popup.enabled and not dry_run and not isinstance(error, _NOT_SHOWN):
            _show(session, error.message, error.remedy)
        raise


def popup_on_result(session: Session, report: RunReport, *, dry_run: bool) -> None:
    """Show a popup if an update did something or left something over."""
    if session.config.popup.enabled and not dry_run and report.is_notable():
        _show(session, f"Files: {report.files_text()}", f"Pairs: {report.posting_text()}")


def _show(session: Session, *texts: str) -> None:
    """Show a popup through a connection of its own; a failure only logs a warning."""
    key = session.config.require_key()
    try:
        with connect(session.config, session.config_path, key=key, retry=False) as client:
            client.add_popup("hydindex", *texts)
    except HydindexError as error:
        denied = isinstance(error, HydrusAccessDenied)
        remedy = HOW_TO_PERMIT if denied else "Update Hydrus, or set popup.enabled to false."
        log.warning("Hydrus may not have shown the popup. %s. %s", error.message, remedy)
