"""The console: results on stdout; logs, progress and questions on stderr."""

import csv
import json
import logging
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import typer
from tqdm import tqdm

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


def _log_file(path: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler  # imports sockets and queues

    handler = RotatingFileHandler(
        path, maxBytes=_LOG_FILE_BYTES, backupCount=_LOG_FILES_KEPT, encoding="utf-8"
    )
    handler.setLevel(logging.INFO)
    handler.setFormatter(_LINE)
    return handler


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
        log_level: int,
        as_json: bool,
        quiet: bool,
        show_progress: bool,
        log_path: Path | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._show_progress = show_progress and not quiet and sys.stderr.isatty()
        to_terminal = _TqdmHandler(_LEVELS[log_level])
        to_terminal.setFormatter(_LINE)
        to_file = _log_file(log_path) if log_path is not None else logging.NullHandler()
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

    @property
    def is_interactive(self) -> bool:
        """Whether a user can answer questions."""
        return sys.stdin is not None and sys.stdin.isatty()

    def tell(self, text: str) -> None:
        """Show a text on stderr, like questions."""
        print(text, file=sys.stderr)

    def ask(self, question: str, default: str) -> str:
        """Ask for a line; Enter means the default."""
        answer = typer.prompt(question, default=default, show_default=bool(default), err=True)
        return str(answer).strip()

    def confirm(self, question: str) -> bool:
        """Ask for yes or no; Enter means yes."""
        return typer.confirm(question, default=True, err=True)

    def note(self, text: str) -> None:
        """Log a line about the run."""
        logging.getLogger("hydindex").info(text)

    def warn(self, text: str) -> None:
        """Log a warning."""
        logging.getLogger("hydindex").warning(text)

    def print(self, text: str = "") -> None:
        """Print a line of the result, unless `--json` or `--quiet` is given.

        Control characters are escaped: names from Hydrus must not control the terminal.
        """
        if not self.as_json and not self.quiet:
            print(_printable(text))

    def table(self, title: str, rows: Mapping[str, object]) -> None:
        """Print a title and aligned labels with values; nothing if there are none."""
        if not rows:
            return
        width = max(len(label) for label in rows)
        self.print(title)
        for label, value in rows.items():
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

    def print_csv(self, header: Sequence[str], rows: Iterable[Row]) -> None:
        """Print CSV."""
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    def print_json(self, value: Mapping[str, Any]) -> None:
        """Print the JSON object, if `--json` is given."""
        if self.as_json:
            print(json.dumps(value, indent=2))


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
