"""The `hydindex` command, and `python -m hydindex`."""

import logging
import os
import sys
from contextlib import suppress

from hydindex.cli import main


def run() -> None:
    """Run a command, and end the process at once.

    All is saved and closed by then. Python would take down every module of torch one by one, which
    takes half a second that nobody gains anything from.
    """
    try:
        main()
    except SystemExit as ended:
        logging.shutdown()
        with suppress(BrokenPipeError):  # `hydindex stats | head`
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)


if __name__ == "__main__":
    run()
