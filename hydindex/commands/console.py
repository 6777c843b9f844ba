"""The console: results on stdout; logs and progress on stderr."""

import json
import logging
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, NoReturn

from tqdm import tqdm

from hydindex.common.errors import ExitCode

Row = Sequence[object]

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_LINE = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
# About ten thousand lines.
_LOG_FILE_BYTES: Final = 1 << 20
_LOG_FILES_KEPT: Final = 3

# How runs ended: only for the log file; the terminal shows the result.
_runs = logging.getLogger("hydindex.runs")
_runs.propagate = False
_runs.setLevel(logging.INFO)
_runs.addHandler(logging.NullHandler())


def log_run(text: str) -> None:
    """Write a line about a run to the log file, if there is one."""
    _runs.info("%s", _printable(text))


class _TqdmHandler(logging.Handler):
    """Writes log lines to stderr, above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class Console:
    """One command's output.

    `log_level` 0 logs warnings, 1 the steps of a run, 2 every score. With `as_json`, stdout gets
    one JSON object and nothing else; with `quiet`, nothing for people. The log file always gets
    the steps of a run, and how it ended.

    Raises:
        OSError: the log file can't be written.
    """

    def __init__(
        self,
        *,
        log_level: int = 0,
        as_json: bool = False,
        quiet: bool = False,
        show_progress: bool = False,
        log_path: Path | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._show_progress = show_progress and not quiet and sys.stderr.isatty()
        to_terminal = _TqdmHandler(_LEVELS[log_level])
        to_terminal.setFormatter(_LINE)
        to_file: logging.Handler = logging.NullHandler()
        if log_path is not None:
            to_file = RotatingFileHandler(
                log_path, maxBytes=_LOG_FILE_BYTES, backupCount=_LOG_FILES_KEPT, encoding="utf-8"
            )
        to_file.setLevel(logging.INFO)
        to_file.setFormatter(_LINE)
        logger = logging.getLogger("hydindex")
        for old in _runs.handlers:
            old.close()
        logger.handlers, _runs.handlers = [to_terminal, to_file], [to_file]
        logger.setLevel(_LEVELS[log_level] if log_path is None else _LEVELS[max(1, log_level)])
        logger.propagate = False

    def progress(self, stage: str, total: int, unit: str) -> "tqdm[NoReturn]":
        """Open a progress bar, which shows only on a terminal."""
        return tqdm(
            desc=stage,
            total=total,
            unit=unit,
            file=sys.stderr,
            disable=not self._show_progress,
            leave=False,
            dynamic_ncols=True,
        )

    def print(self, text: str = "") -> None:
        """Print a line of the result, unless `--json` or `--quiet` is given.

        Control characters are escaped: names from Hydrus must not control the terminal.
        """
        if not self.as_json and not self.quiet:
            print(_printable(text))

    def print_json(
        self, command: str, exit_code: ExitCode = ExitCode.DONE, **values: object
    ) -> None:
        """Print the JSON object, if `--json` is given."""
        if self.as_json:
            head = {"command": command, "exit_code": int(exit_code)}
            print(json.dumps({**head, **values}, indent=2))

    def table(self, title: str, values: Mapping[str, object]) -> None:
        """Print a title and aligned labels with values; nothing if there are none."""
        if not values:
            return
        width = max(len(label) for label in values)
        self.print(title)
        for label, value in values.items():
            shown = f"{value:>9,}" if isinstance(value, int) else value
            self.print(f"  {label:<{width}}  {shown}")

    def columns(self, title: str, header: Sequence[str], rows: Iterable[Row]) -> None:
        """Print a title, a header and aligned rows; nothing if there are none. None is empty."""
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        aligned = [_aligned(name, column) for name, column in zip(header, columns, strict=True)]
        self.print(title)
        for cells in zip(*aligned, strict=True):
            self.print(f"  {'  '.join(cells)}".rstrip())


def _printable(text: str) -> str:
    """Escape control and other invisible characters."""
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each)[0] == "C" else each
        for each in text
    )


def _aligned(name: str, column: Row) -> list[str]:
    cells = [name, *map(_cell, column)]
    width = max(map(len, cells))
    is_number = all(value is None or isinstance(value, int | float) for value in column)
    return [cell.rjust(width) if is_number else cell.ljust(width) for cell in cells]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else _printable(str(value or ""))
