"""What the commands' options share: one line for a mistake, a default in every help text, numbers within their range."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minimapnet import backend

BAD_INPUT = 2  # exit code
NO_CHANCE = "changes nothing, as nothing here is drawn; taken so that one configuration file can serve several commands"
LARGEST = 10**9  # of whole numbers: more is a slip, and would not fit any machine


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is answered in one line, as all others are, and no option can be shortened."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options, allow_abbrev=False)

    def error(self, message):
        self.exit(BAD_INPUT, f"minimapnet: error: {' '.join(message.split())} (see {self.prog} -h)\n")


@dataclass(frozen=True)
class Number:
    """The type of an option that takes a number: `words` say which, `fits` says whether one is.

    `kinds` are the types that it may have in a configuration file, in which quotes make text of a number.
    """

    words: str
    kinds: tuple[type, ...]
    fits: Callable[[float], bool]

    def __call__(self, text: str) -> int | float:
        for kind in self.kinds:
            try:
                value = kind(text)
            except ValueError:
                continue
            if math.isfinite(value) and self.fits(value):
                return value
        raise argparse.ArgumentTypeError(f"must be {self.words}, not {text!r}")


def whole(least: int, most: int = LARGEST) -> Number:
    """Return the type of whole numbers from `least` to `most`."""
    words = f"a whole number of at least {least}" + (f" and at most {most}" if most != LARGEST else "")
    return Number(words, (int,), lambda value: least <= value <= most)


POSITIVE = Number("a number above 0", (float, int), lambda value: value > 0)
NOT_NEGATIVE = Number("a number of at least 0", (float, int), lambda value: value >= 0)
SHARE = Number("a number from 0 to 1", (float, int), lambda value: 0 <= value <= 1)
BELOW_ONE = Number("a number of at least 0 and below 1", (float, int), lambda value: 0 <= value < 1)
MASK = Number(
    "a whole number of at least 1, or a share above 0 and below 1",
    (int, float),
    lambda value: 1 <= value <= LARGEST if isinstance(value, int) else 0 < value < 1,
)


def named(text: str) -> str:
    """Take a name; an empty one, which as a path would mean the folder that one is in, is a slip."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; the current folder is .")
    return text


def path(text: str) -> Path:
    """Take a path, but no empty one."""
    return Path(named(text))


def add(command, name: str, help: str, default=None, shown: str | None = None, **details) -> None:
    """Add an option whose help ends with its default, or with what `shown` says of it."""
    shown = str(default) if shown is None else shown
    command.add_argument(name, default=default, help=f"{help} (default: {shown})".replace("%", "%%"), **details)


def add_flag(command, name: str, help: str) -> None:
    """Add an option that takes no value."""
    add(command, name, help, default=False, shown="off", action="store_true")


def add_backend(command, default: str = "numpy") -> None:
    """Add --backend."""
    what = "array library: numpy is the CPU, cupy the GPU, auto the GPU where one works"
    add(command, "--backend", what, default, choices=backend.NAMES)


def add_config(command, files: Callable | None = None) -> None:
    """Add --config. `files(options)` gives the files of options to read, each going before the one in front of it."""
    command.set_defaults(files=files or (lambda options: [options.config] if options.config else []))
    what = (
        "a TOML file of options: keys are the long names of those below, without the dashes in front (steps = 500); what "
        "is given on the command line goes before it"
    )
    add(command, "--config", what, type=path, shown="no file", metavar="FILE")


def add_out(command, default: str, what: str) -> None:
    """Add --out."""
    add(command, "--out", what, Path(default), type=path, metavar="FOLDER")


def add_out_file(command, what: str) -> None:
    """Add --out of a command that prints, for a file beside what it prints."""
    add(command, "--out", f"{what}, as a file of JSON, too", type=path, shown="no file", metavar="FILE")


def add_seed(command, what: str) -> None:
    """Add --seed."""
    add(command, "--seed", what, 0, type=whole(0), metavar="N")
