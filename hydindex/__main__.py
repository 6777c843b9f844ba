"""The `hydindex` command, and `python -m hydindex`."""

import os
import sys
import traceback
from contextlib import suppress

from hydindex.common.stop_signals import listen_for_stop

# Repeated from `ExitCode`: importing it may be what fails.
_BUG = 70
_INTERRUPTED = 130


def run() -> None:
    """Run a command, and end the process at once.

    Everything is saved and closed by then. Python would still wait for threads that nobody needs,
    and unload torch module by module, which takes half a second.
    """
    exit_code = _BUG
    try:
        listen_for_stop()
        for stream in (sys.stdout, sys.stderr):
            # A log file on Windows can't encode every character of a path.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        from hydindex.commands.app import main  # Ctrl-C works while this is imported

        main()
    except SystemExit as ended:
        exit_code = int(ended.code or 0)
    except KeyboardInterrupt:
        exit_code = _INTERRUPTED
    except Exception:  # for example a missing package
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # for example a broken pipe: `hydindex stats | head`
                stream.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    run()
