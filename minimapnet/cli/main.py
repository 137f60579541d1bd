"""The command line: it chooses the command, and turns what stops one into a line and an exit code."""

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from minimapnet.cli import config_file
from minimapnet.cli.options import BAD_INPUT, Parser
from minimapnet.errors import InputError

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
        print("minimapnet: stopped before the end", file=sys.stderr)
        return TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED
    except BrokenPipeError:  # whoever read what we print has read enough
        _settle_output()
        return CLOSED
    except MemoryError:
        return _refuse("this does not fit into memory: make the model, the rows or a step smaller")
    except OSError as error:
        _settle_output()
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
        if arguments[:1] == [name]:  # the others' files are not even imported: some draw, which takes long to load
            module = importlib.import_module(f"minimapnet.cli.{name.replace('-', '_')}")
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


def _refuse(message: str) -> int:
    print(f"minimapnet: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _settle_output() -> None:
    """Print what is still to be printed, or where that cannot be, let it go nowhere: Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
