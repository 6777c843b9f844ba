"""Write output files whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from hydindex.common.errors import ConfigError


@contextmanager
def replaced_file(path: Path, *, mode: int = 0o666) -> Iterator[TextIO]:
    """Open a new text file that replaces `path` on success; on failure, `path` stays as it was.

    Raises:
        ConfigError: the file can't be written.
    """
    part = Path(f"{path}.part")
    try:
        part.unlink(missing_ok=True)  # an old one might have another mode
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}",
            "Check that its folder exists, is writable, and has free space.",
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
