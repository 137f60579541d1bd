"""Fair timing: every contender in a process of its own, asked in turn for one step at a time.

In one process thread pools would fight, and what runs second would find what the first left in the allocator; one after
the other, a change in the machine's mood would fall on one contender alone. A turn is one step to wake the threads and fill
the caches, as the step before does in training, and one step that is timed.

A contender is a class, made in its process by cls(*arguments), with the methods

    step() -> float      do the work once, wait until it is done, and return its loss
    gradient_norm()      of the latest step: a float
    gpu_peak_mib()       of the GPU's memory in the latest step beyond what was there before, or None on the CPU
"""

import ctypes
import multiprocessing
import statistics
import time
import traceback
from pathlib import Path

MIB = 1 << 20
PAUSE = 0.03  # seconds between two contenders: idle threads of the one before have stopped spinning by then


class Process:
    """A contender in a process of its own."""

    def __init__(self, cls, *arguments):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, cls, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: str):
        """Return the answer to one of the questions of `_serve`.

        Raises RuntimeError with the traceback of an error there.
        """
        self.begin(question)
        return self.answer()

    def begin(self, question: str) -> None:
        """Ask, and do not wait: several contenders can be made side by side, since each is at its first question."""
        self._pipe.send(question)

    def answer(self):
        """Return the answer to what was asked by `begin`."""
        error, answer = self._pipe.recv()
        if error:
            raise RuntimeError(error)
        return answer

    def stop(self) -> None:
        self._pipe.send("stop")
        self._process.join()


def made_side_by_side(contenders: dict) -> dict:
    """Make all contenders at once, where the machine has cores and memory for that; return each one's loss and norm."""
    for contender in contenders.values():
        contender.begin("check")
    return {who: contender.answer() for who, contender in contenders.items()}


def interleaved(contenders: dict[str, Process], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of `rounds` turns of each contender by name, after three to warm up."""
    taken = {name: [] for name in contenders}
    for turn in range(-3, rounds):
        for name, contender in contenders.items():
            time.sleep(PAUSE)
            milliseconds = contender.ask("milliseconds")
            if turn >= 0:
                taken[name].append(milliseconds)
    return taken


def spread(milliseconds: list[float]) -> str:
    """Write a median with its first and third quartile."""
    low, middle, high = statistics.quantiles(milliseconds, n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Write an aligned table in Markdown: text to the left in the first two columns, figures to the right in the others."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    align = [str.ljust if i < 2 else str.rjust for i in range(len(header))]
    rule = ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [[put(cell, width) for put, cell, width in zip(align, row, widths, strict=True)] for row in [header, *rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _serve(pipe, cls, arguments):
    contender = None
    while (question := pipe.recv()) != "stop":
        try:
            if contender is None:
                contender = cls(*arguments)
            pipe.send((None, _answer(contender, question)))
        except Exception:
            pipe.send((traceback.format_exc(), None))


def _answer(contender, question):
    if question == "peak":  # to be asked first: extra memory of three steps over what is there before them
        return _peak_mib(contender)
    if question == "check":
        return contender.step(), contender.gradient_norm()
    contender.step()
    start = time.perf_counter()
    contender.step()
    return (time.perf_counter() - start) * 1e3


def _peak_mib(contender) -> float:
    if contender.gpu_peak_mib() is not None:
        for _ in range(3):
            contender.step()
        return contender.gpu_peak_mib()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed while the model was made is not there to be used again unseen
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = _status("VmRSS")
    for _ in range(3):
        contender.step()
    return (_status("VmHWM") - before) / MIB


def _status(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)
