"""What a person sees and is asked: results on stdout, all else on stderr."""

import csv
import json
import logging
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import typer
from tqdm import tqdm

T = TypeVar("T")
Row = Sequence[object]

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_LINE = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
# Some ten thousand lines, and as many in each of the files before.
_LOG_FILE_BYTES: Final = 1 << 20
_LOG_FILES_KEPT: Final = 3

# How whole runs ended: only for the log file, because on a terminal the result tells it.
_runs = logging.getLogger("hydindex.runs")
_runs.propagate = False
_runs.setLevel(logging.INFO)
_runs.addHandler(logging.NullHandler())


def log_run(text: str) -> None:
    """Write a line about a whole run into the log file, if there is one."""
    _runs.info("%s", _printable(text))


class _TqdmHandler(logging.Handler):
    """Writes log lines to stderr, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _log_file(path: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler  # with it come sockets and queues

    handler = RotatingFileHandler(
        path, maxBytes=_LOG_FILE_BYTES, backupCount=_LOG_FILES_KEPT, encoding="utf-8"
    )
    handler.setLevel(logging.INFO)
    handler.setFormatter(_LINE)
    return handler


class Console:
    """One command's output.

    What is logged: with `chattiness` 0 warnings only, with 1 the course of a run, with 2 every
    pair's score. With `as_json`, stdout gets one JSON object and nothing else; with `quiet`, no
    result for people. A log file gets the course of the run in any case, and how it ended.

    Raises:
        OSError: the log file cannot be written.
    """

    def __init__(
        self,
        *,
        chattiness: int,
        as_json: bool,
        quiet: bool,
        show_progress: bool,
        log_path: Path | None = None,
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._show_progress = show_progress and not quiet and sys.stderr.isatty()
        to_person = _TqdmHandler(_LEVELS[chattiness])
        to_person.setFormatter(_LINE)
        to_file = _log_file(log_path) if log_path is not None else logging.NullHandler()
        logger = logging.getLogger("hydindex")
        for old in _runs.handlers:
            old.close()
        logger.handlers, _runs.handlers = [to_person, to_file], [to_file]
        logger.setLevel(_LEVELS[chattiness] if log_path is None else _LEVELS[max(1, chattiness)])
        logger.propagate = False

    def progress(
        self, steps: Iterable[T], *, stage: str, total: int, unit: str, done: Callable[[T], int]
    ) -> Iterator[T]:
        """Yield the steps of a stage; show a bar on a terminal. `done`: units that a step did."""
        with tqdm(
            desc=stage,
            total=total,
            unit=unit,
            file=sys.stderr,
            disable=not self._show_progress,
            leave=False,
            dynamic_ncols=True,
        ) as bar:
            for step in steps:
                yield step
                bar.update(done(step))

    @property
    def has_somebody(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin is not None and sys.stdin.isatty()

    def tell(self, text: str) -> None:
        """Say something to somebody who is asked, on stderr as the questions are."""
        print(text, file=sys.stderr)

    def ask(self, question: str, default: str) -> str:
        """Ask for a line, without the spaces around it; Enter alone gives the default."""
        answer = typer.prompt(question, default=default, show_default=bool(default), err=True)
        return str(answer).strip()

    def agrees(self, question: str) -> bool:
        """Ask for yes or no; Enter alone means yes."""
        return typer.confirm(question, default=True, err=True)

    def note(self, text: str) -> None:
        """Log a line about the run itself."""
        logging.getLogger("hydindex").info(text)

    def warn(self, text: str) -> None:
        """Log what needs the user's attention."""
        logging.getLogger("hydindex").warning(text)

    def print(self, text: str = "") -> None:
        """Print a line of the result, for people; nothing with `--json` or `--quiet`.

        Whatever Hydrus called something, it cannot command the terminal.
        """
        if not self.as_json and not self.quiet:
            print(_printable(text))

    def table(self, title: str, rows: Mapping[str, object]) -> None:
        """Print labelled values below a title, aligned; nothing where there are none."""
        if not rows:
            return
        width = max(len(label) for label in rows)
        self.print(title)
        for label, value in rows.items():
            shown = f"{value:>9,}" if isinstance(value, int) else value
            self.print(f"  {label:<{width}}  {shown}")

    def columns(self, title: str, header: Sequence[str], rows: Iterable[Row]) -> None:
        """Print rows below a title and a header, aligned: numbers to the right; nothing without.

        None leaves a cell empty.
        """
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        aligned = [_aligned(name, column) for name, column in zip(header, columns, strict=True)]
        self.print(title)
        for cells in zip(*aligned, strict=True):
            self.print(f"  {'  '.join(cells)}".rstrip())

    def print_csv(self, header: Sequence[str], rows: Iterable[Row]) -> None:
        """Print rows for other programs, whatever else is shown."""
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    def print_json(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON object of `--json`."""
        if self.as_json:
            print(json.dumps(value, indent=2))


def _printable(text: str) -> str:
    """Write control characters, and what else has no shape of its own, as escapes."""
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
