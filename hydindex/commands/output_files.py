"""Write output files whole or not at all."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hydindex.common.errors import ConfigError


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file; on failure, an existing file stays as it was.

    Raises:
        ConfigError: the file can't be written.
    """
    part = Path(f"{path}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}",
            "Check that its folder exists, is writable, and has free space.",
        ) from None
