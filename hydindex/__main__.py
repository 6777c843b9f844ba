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
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # such as a broken pipe: `hydindex stats | head`
                if stream is not None:
                    stream.flush()
        os._exit(int(ended.code or 0))


if __name__ == "__main__":
    run()
