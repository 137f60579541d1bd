"""Ctrl-C and SIGTERM: the first asks a run to stop after its step, the second stops it at once."""

import os
import signal
import threading
from contextlib import suppress


class Interruption:
    """While a `with` block runs, SIGINT and SIGTERM set `signal` (None before), to be looked at after each step.

    The second signal meets the handler that was there before; so does every signal once the block has ended. A signal that
    the process was told to ignore stays ignored, and outside the main thread nothing is changed.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not Python's own to put back
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _receive(self, number, frame) -> None:
        if self.signal is not None:
            self.__exit__()
            os.kill(os.getpid(), number)
            return
        self.signal = signal.Signals(number)
        with suppress(OSError):  # not by print: the signal may have come in the midst of one
            os.write(2, b"\nminimapnet: stopping after this step; once more stops at once\n")
