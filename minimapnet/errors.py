"""What a user is told: the one kind of error that a user can mend, and lines on standard error."""

import sys
from contextlib import suppress


class InputError(ValueError):
    """What was given cannot be used: the message is one line that says what is wrong and what to do.

    The command line prints the message alone and exits with code 2.
    """


def tell(message: str) -> None:
    """Print a line on standard error; where there is none, or it is closed or full, nobody is told and the work goes on."""
    line = " ".join(message.split()).encode(errors="backslashreplace").decode()  # paths may not be UTF-8
    with suppress(OSError, ValueError):
        if sys.stderr is not None:  # print would take standard output
            print(f"minimapnet: {line}", file=sys.stderr, flush=True)
