"""Errors that end a run: what happened, what to do, and the exit code."""

import re
from enum import IntEnum
from typing import ClassVar, Final, Self

MAY_BE_A_KEY: Final = re.compile("[0-9a-fA-F]{64}")


class ExitCode(IntEnum):
    """The exit codes of every command, and what each `means`."""

    means: str

    def __new__(cls, code: int, means: str) -> Self:
        """Keep the meaning with the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.means = means
        return member

    DONE = 0, "done; the next run retries anything left over"
    PARTLY_DONE = (
        1,
        "done in part: repair could not read the whole record of posted pairs, calibrate had too "
        "few decisions or nothing better to write, or the scheduler did not accept the update",
    )
    BAD_CONFIG = 2, "the command line or the config is wrong"
    HYDRUS = (
        3,
        "Hydrus cannot be reached or refuses the key, or the Dask cluster was lost",
    )
    INDEX = (
        4,
        "the index needs attention: the config changed (run rebuild), another run holds it, it is "
        "damaged (run repair), missing, unreadable, or written by another version",
    )
    # EX_SOFTWARE of sysexits.h.
    BUG = 70, "a bug in hydindex"
    # What shells return for a program ended by Ctrl-C.
    INTERRUPTED = 130, "stopped by Ctrl-C or SIGTERM; everything done so far is saved"


class HydindexError(Exception):
    """An error that ends the run. A problem with one file is a value (`UnusableFile`)."""

    kind: ClassVar[str]
    exit_code: ClassVar[ExitCode]

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)  # both, so that the error survives pickling
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message


class ConfigError(HydindexError):
    """The command line or hydrus_config.json is wrong.

    The message never repeats what may be an access key.
    """

    kind = "config"
    exit_code = ExitCode.BAD_CONFIG

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(MAY_BE_A_KEY.sub("[64 hexadecimal digits]", message), remedy)


class HydrusUnreachable(HydindexError):
    """No answer came. Hydrus may or may not have carried out the request."""

    kind = "hydrus_unreachable"
    exit_code = ExitCode.HYDRUS


class HydrusAccessDenied(HydindexError):
    """Hydrus refuses the access key, or the key lacks a permission."""

    kind = "hydrus_access"
    exit_code = ExitCode.HYDRUS


class HydrusBadReply(HydindexError):
    """The answer is not from a Hydrus client: wrong address, a proxy's page, truncated JSON."""

    kind = "hydrus_bad_reply"
    exit_code = ExitCode.HYDRUS


class HydrusRejected(HydindexError):
    """Hydrus rejects the request (400), or something it names does not exist (404)."""

    kind = "hydrus_rejected"
    exit_code = ExitCode.HYDRUS


class HydrusDialogClosed(HydrusRejected):
    """Hydrus accepts requests for an access key only while a dialog is open."""

    kind = "hydrus_dialog"


class ConfigChanged(HydindexError):
    """The config differs from the one the index was built with."""

    kind = "config_changed"
    exit_code = ExitCode.INDEX


class IndexLocked(HydindexError):
    """Another run holds the index."""

    kind = "index_locked"
    exit_code = ExitCode.INDEX


class IndexMissing(HydindexError):
    """There is no index yet."""

    kind = "index_missing"
    exit_code = ExitCode.INDEX


class IndexOutdated(HydindexError):
    """An older hydindex wrote the index, and this command only reads."""

    kind = "index_outdated"
    exit_code = ExitCode.INDEX


class IndexTooNew(HydindexError):
    """A newer hydindex wrote the index."""

    kind = "index_too_new"
    exit_code = ExitCode.INDEX


class IndexUnusable(HydindexError):
    """SQLite can't read or write the index: read-only, disk full, or not an index."""

    kind = "index_unusable"
    exit_code = ExitCode.INDEX


class IndexDamaged(IndexUnusable):
    """The index file is damaged."""

    kind = "index_damaged"

    def __init__(self, path: object, cause: str) -> None:
        super().__init__(
            f"The index {path} is damaged: {cause}",
            "Run hydindex repair, which recovers the record of posted pairs first. Do not delete "
            "the index: pairs that you removed in Hydrus could be posted again.",
        )


class ClusterLost(HydindexError):
    """The Dask cluster became unusable during a run."""

    kind = "cluster"
    exit_code = ExitCode.HYDRUS


class TooFewDecisions(HydindexError):
    """The user has decided too few pairs to fit a model."""

    kind = "too_few_decisions"
    exit_code = ExitCode.PARTLY_DONE


class CannotSchedule(HydindexError):
    """The system's scheduler did not accept the update."""

    kind = "schedule"
    exit_code = ExitCode.PARTLY_DONE


class Interrupted(HydindexError):
    """The user pressed Ctrl-C, or the system sent SIGTERM."""

    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED

    def __init__(
        self,
        done: str = "",
        remedy: str = "Everything done so far is saved; the next run continues from there.",
    ) -> None:
        super().__init__(f"Stopped: {done}" if done else "Stopped", remedy)


class UnexpectedError(HydindexError):
    """A bug in hydindex."""

    kind = "unexpected"
    exit_code = ExitCode.BUG

    @classmethod
    def of(cls, error: Exception) -> "UnexpectedError":
        """Wrap any other exception as the cause."""
        wrapped = cls(
            f"Unexpected error: {type(error).__name__}: {error}",
            "Everything done so far is saved. Run it again with -v, and report the output.",
        )
        wrapped.__cause__ = error
        return wrapped
