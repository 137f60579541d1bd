"""`minimapnet` and `python -m minimapnet`: the command line, which takes a moment to load."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def main() -> int:
    """Run the command that the process was started with, and return its exit code; see `cli.main.main`."""
    with _ended_by_ctrl_c():
        from minimapnet.cli import main as command

        command.load(sys.argv[1:])
    return command.main()


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end the process with a line: raised as an error amid imports, it would be shown from wherever it came.

    A signal that is ignored, as in the background, stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number, frame):
    try:
        os.write(2, b"minimapnet: stopped before the end\n")
    finally:
        os._exit(128 + number)  # nothing has begun that would have to be cleared away


if __name__ == "__main__":
    sys.exit(main())
