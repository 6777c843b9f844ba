"""Errors that end a command. Each has a message, a remedy and an exit code."""

import re
from enum import IntEnum
from typing import ClassVar, Final, Self

MAY_BE_A_KEY: Final = re.compile("[0-9a-fA-F]{64}")


class ExitCode(IntEnum):
    """The exit codes of every command; `meaning` explains each to users."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Keep the meaning with the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done; the next run retries anything left over"
    PARTLY_DONE = (
        1,
        "done in part: repair could not read the whole record of posted pairs, calibrate had too "
        "few decisions or found no better model, or the scheduler refused the job",
    )
    BAD_CONFIG = 2, "the command line or the config is wrong"
    HYDRUS = 3, "Hydrus did not answer or refused the access key, or the Dask cluster was lost"
    INDEX = (
        4,
        "the index needs attention: it is missing, in use, damaged (run repair), unreadable or "
        "from another version, its disk is full, or the config changed (run rebuild)",
    )
    BUG = 70, "a bug in hydindex"  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130, "stopped by Ctrl-C or SIGTERM; completed work is saved"


class HydindexError(Exception):
    """Ends the whole command. An error with one file is a value instead: `UnusableFile`.

    `remedy` tells the user what to do.
    """

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

    The message masks anything that may be an access key.
    """

    kind = "config"
    exit_code = ExitCode.BAD_CONFIG

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(MAY_BE_A_KEY.sub("[64 hexadecimal digits]", message), remedy)


class HydrusUnreachable(HydindexError):
    """No answer, or a server error (5xx). Hydrus may or may not have carried out a write."""

    kind = "hydrus_unreachable"
    exit_code = ExitCode.HYDRUS


class HydrusAccessDenied(HydindexError):
    """Hydrus refused the access key, or the key lacks a permission."""

    kind = "hydrus_access"
    exit_code = ExitCode.HYDRUS


class HydrusBadReply(HydindexError):
    """The reply is not one a Hydrus client sends: wrong address, proxy page, truncated JSON."""

    kind = "hydrus_bad_reply"
    exit_code = ExitCode.HYDRUS


class HydrusRejected(HydindexError):
    """Hydrus rejected the request as malformed (400) or as naming something unknown (404)."""

    kind = "hydrus_rejected"
    exit_code = ExitCode.HYDRUS


class HydrusDialogClosed(HydrusRejected):
    """Hydrus grants access keys only while its dialog for new keys is open."""

    kind = "hydrus_dialog"


class ConfigChanged(HydindexError):
    """The index was built with other settings than the config now has."""

    kind = "config_changed"
    exit_code = ExitCode.INDEX


class IndexLocked(HydindexError):
    """Another run is using the index."""

    kind = "index_locked"
    exit_code = ExitCode.INDEX


class IndexMissing(HydindexError):
    """There is no index yet."""

    kind = "index_missing"
    exit_code = ExitCode.INDEX

    def __init__(self, path: object) -> None:
        super().__init__(f"There is no index at {path} yet", "Run hydindex update first.")


class IndexOutdated(HydindexError):
    """An older hydindex wrote the index, and this command may not upgrade it."""

    kind = "index_outdated"
    exit_code = ExitCode.INDEX


class IndexTooNew(HydindexError):
    """A newer hydindex wrote the index."""

    kind = "index_too_new"
    exit_code = ExitCode.INDEX


class IndexUnusable(HydindexError):
    """SQLite cannot read or write the index: read-only, disk full, not an index."""

    kind = "index_unusable"
    exit_code = ExitCode.INDEX


class IndexDamaged(IndexUnusable):
    """The index is corrupt."""

    kind = "index_damaged"

    def __init__(self, path: object, cause: str) -> None:
        super().__init__(
            f"The index {path} is damaged: {cause}",
            "Run hydindex repair; it rescues the record of posted pairs first. Do not delete the "
            "index: without that record, pairs may be posted again.",
        )


class ClusterLost(HydindexError):
    """The Dask cluster became unreachable, or its workers kept dying."""

    kind = "cluster"
    exit_code = ExitCode.HYDRUS


class TooFewDecisions(HydindexError):
    """The user has decided too few pairs to calibrate from."""

    kind = "too_few_decisions"
    exit_code = ExitCode.PARTLY_DONE


class CannotSchedule(HydindexError):
    """The system's scheduler refused the job."""

    kind = "schedule"
    exit_code = ExitCode.PARTLY_DONE


class Interrupted(HydindexError):
    """The user pressed Ctrl-C, or the system asked the process to stop."""

    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED

    def __init__(
        self, done: str = "", remedy: str = "Completed work is saved; the next run continues."
    ) -> None:
        super().__init__(f"Stopped: {done}" if done else "Stopped", remedy)


class UnexpectedError(HydindexError):
    """A bug in hydindex."""

    kind = "unexpected"
    exit_code = ExitCode.BUG

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            f"Unexpected error: {type(cause).__name__}: {cause}",
            "Completed work is saved. Run the command again with -v and report its output.",
        )
        self.__cause__ = cause
