"""What can end a run: each error says what happened, what to do, and how the command exits."""

import re
from enum import IntEnum
from typing import ClassVar, Final, Self

MAY_BE_A_KEY: Final = re.compile("[0-9a-fA-F]{64}")


class ExitCode(IntEnum):
    """The exit codes of every command, and what each `means`."""

    means: str

    def __new__(cls, code: int, means: str) -> Self:
        """Keep the meaning beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.means = means
        return member

    DONE = 0, "done, also when there was nothing to do"
    PARTLY_DONE = (
        1,
        "done in part: something is left that the next run tries again (a file not fetched, a pair "
        "refused or still queued, other than kept back); or a repair could not read the whole "
        "record of posted pairs; or there are too few decisions to calibrate, or --write found "
        "nothing better to write; or the scheduler did not take the update; or a bug of hydindex",
    )
    BAD_CONFIG = 2, "the command line or the config is wrong"
    HYDRUS = (
        3,
        "Hydrus cannot be reached, or refuses the key, or the key lacks a permission; or the Dask "
        "cluster was lost in mid-work",
    )
    INDEX = (
        4,
        "the index needs a person: the config changed (run rebuild), another run holds it, it is "
        "damaged (run repair) or cannot be read or written, there is none yet, or another version "
        "of hydindex wrote it",
    )
    # What shells give for a program ended by Ctrl-C.
    INTERRUPTED = 130, "stopped with Ctrl-C, or by the system (SIGTERM); what was done is kept"


class HydindexError(Exception):
    """Trouble with a whole run; trouble with one file is a value instead (`UnusableFile`)."""

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

    What may be an access key, pasted in the wrong place, is not repeated.
    """

    kind = "config"
    exit_code = ExitCode.BAD_CONFIG

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(MAY_BE_A_KEY.sub("[64 hexadecimal digits]", message), remedy)


class HydrusUnreachable(HydindexError):
    """No answer came; a request that writes may or may not have been carried out."""

    kind = "hydrus_unreachable"
    exit_code = ExitCode.HYDRUS


class HydrusAccessDenied(HydindexError):
    """Hydrus refuses the access key, or the key lacks a permission."""

    kind = "hydrus_access"
    exit_code = ExitCode.HYDRUS


class HydrusBadReply(HydindexError):
    """An answer came that no Hydrus client gives: wrong address, a proxy's page, half a JSON."""

    kind = "hydrus_bad_reply"
    exit_code = ExitCode.HYDRUS


class HydrusRejected(HydindexError):
    """Hydrus calls the request wrong (400) or does not know a thing that it names (404)."""

    kind = "hydrus_rejected"
    exit_code = ExitCode.HYDRUS


class HydrusDialogClosed(HydrusRejected):
    """Hydrus takes requests for an access key only while the user has a dialog open for that."""

    kind = "hydrus_dialog"


class ConfigChanged(HydindexError):
    """The index was made with other settings than the config has now."""

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
    """An older hydindex wrote the index, and this command may not change it."""

    kind = "index_outdated"
    exit_code = ExitCode.INDEX


class IndexTooNew(HydindexError):
    """A newer hydindex wrote the index."""

    kind = "index_too_new"
    exit_code = ExitCode.INDEX


class IndexUnusable(HydindexError):
    """SQLite cannot read or write the index: read-only, no room on the disk, no index at all."""

    kind = "index_unusable"
    exit_code = ExitCode.INDEX


class IndexDamaged(IndexUnusable):
    """The index holds what SQLite cannot have written."""

    kind = "index_damaged"

    def __init__(self, path: object, cause: str) -> None:
        super().__init__(
            f"The index {path} is damaged: {cause}",
            "Run hydindex repair: it saves what can be saved, the record of posted pairs first. "
            "Do not delete the index: pairs that Hydrus already knows might be posted again.",
        )


class ClusterLost(HydindexError):
    """The Dask cluster went away, or one of its workers after the other died, in mid-work."""

    kind = "cluster"
    exit_code = ExitCode.HYDRUS


class TooFewDecisions(HydindexError):
    """The user has not decided about enough pairs to learn from."""

    kind = "too_few_decisions"
    exit_code = ExitCode.PARTLY_DONE


class CannotSchedule(HydindexError):
    """The system's scheduler does not take the update."""

    kind = "schedule"
    exit_code = ExitCode.PARTLY_DONE


class Interrupted(HydindexError):
    """The user pressed Ctrl-C, or the system asked the process to end."""

    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED

    def __init__(
        self,
        done: str = "",
        remedy: str = "What was done is kept; the next run goes on from there.",
    ) -> None:
        super().__init__(f"Stopped: {done}" if done else "Stopped", remedy)


class UnexpectedError(HydindexError):
    """A bug of hydindex, or trouble that it has no better words for."""

    kind = "unexpected"
    exit_code = ExitCode.PARTLY_DONE

    @classmethod
    def of(cls, error: Exception) -> "UnexpectedError":
        """Wrap any other exception, which stays visible as the cause."""
        wrapped = cls(
            f"An unexpected error: {type(error).__name__}: {error}",
            "What was done is kept. Run the command again with -v, and report what it shows.",
        )
        wrapped.__cause__ = error
        return wrapped
