"""The `hydindex` command, and `python -m hydindex`."""

import os
import sys
import traceback
from contextlib import suppress

from hydindex.common.stop_signals import listen_for_stop


def run() -> None:
    """Run a command, and end the process at once.

    All is saved and closed by then. Python would wait for threads that nobody waits for any more,
    and take down every module of torch one by one, which takes half a second.
    """
    exit_code = 1
    try:
        listen_for_stop()
        for stream in (sys.stdout, sys.stderr):
            # A log file on Windows cannot hold every letter that a path may have.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        from hydindex.commands.app import main  # while it is imported, Ctrl-C is heard already

        main()
    except SystemExit as ended:
        exit_code = int(ended.code or 0)
    except KeyboardInterrupt:
        exit_code = 130
    except Exception:  # such as a package that is missing
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # such as a broken pipe: `hydindex stats | head`
                stream.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    run()
