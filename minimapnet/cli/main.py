"""The command line: it chooses the command, and turns what stops one into a line and an exit code."""

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from types import ModuleType

from minimapnet.cli import config_file
from minimapnet.cli.options import BAD_INPUT, Parser
from minimapnet.errors import InputError, tell

COMMANDS = {  # each is a file of that name in `cli`
    "train": "train a masked language model",
    "compare": "train the same model with masks of several proposals and compare",
    "variance": "take a gradient's variance apart: data, masks, and what a choice of masks can remove",
    "evaluate": "say how well a model guesses the masked tokens of a text, or how probable it finds each line",
    "fill-mask": "let a model guess what stands at [MASK]",
    "info": "say what computes here, or what is in a model's folder",
}
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # exit codes
CLOSED = 128 + 13  # SIGPIPE, which Windows does not name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0, 2 for what cannot be used, 130 after Ctrl-C, 143 after SIGTERM."""
    with _streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with _sigterm_as_ctrl_c():
            if hasattr(sys.stdout, "reconfigure"):  # it has not in a notebook
                sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a character gets its number
            options = _options(sys.argv[1:] if arguments is None else list(arguments))
            code = options.run(options) or 0
            sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as stop:
        tell("stopped before the end")
        return TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
    except BrokenPipeError:  # whoever read what we print has read enough
        return CLOSED
    except MemoryError:
        return _refuse("this does not fit into memory: make the model, the rows or a step smaller")
    except OSError as error:
        return _refuse(f"{error.filename or 'cannot write what should be printed'}: {error.strerror or error}")
    return code


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, too, clear away temporary files and processes. Where it is handled or ignored already, it stays so."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number, frame):
        raise _Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; options of a file go before the defaults, and what is on the command line goes before both."""
    parser = Parser(prog="minimapnet", description="Variance-reduced masked language modelling, from scratch.")
    parser.add_argument("--version", action="version", version=importlib.import_module("minimapnet").__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if arguments[:1] == [name]:
            module = load(arguments)
            command.description = module.DESCRIPTION
            command.set_defaults(run=module.run)
            module.add(command)
    options = parser.parse_args(arguments)
    command = commands.choices[arguments[0]]
    for _ in range(2):  # the first time a file may name another: the run that is resumed
        for file in options.files(options):
            config_file.set_defaults(command, file)
        options = parser.parse_args(arguments)
    return options


def load(arguments: Sequence[str]) -> ModuleType | None:
    """Import the file of the command that is asked for; the others' are not, since some draw, which takes long to load."""
    if arguments[:1] and arguments[0] in COMMANDS:
        return importlib.import_module(f"minimapnet.cli.{arguments[0].replace('-', '_')}")
    return None


def _refuse(message: str) -> int:
    tell(f"error: {message}")
    return BAD_INPUT


@contextmanager
def _streams() -> Iterator[None]:
    """Let what is printed go nowhere where standard output or error is closed, or turns out to be by the end."""
    _fill_closed()
    with ExitStack() as stack:
        for name, redirect in (("stdout", redirect_stdout), ("stderr", redirect_stderr)):
            if getattr(getattr(sys, name), "closed", getattr(sys, name) is None):
                stack.enter_context(redirect(stack.enter_context(open(os.devnull, "w"))))
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                _settle(stream)


def _fill_closed() -> None:
    """Open the numbers 0 to 2 where they are closed: a file of ours would get one of them, and be written to by mistake."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(nowhere, number)
    if nowhere > 2:
        os.close(nowhere)
    else:
        os.set_inheritable(nowhere, True)  # by worker processes, as the others


def _settle(stream) -> None:
    """Print what is still to be printed, or where that cannot be, let it go nowhere: Python would try again at its end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
