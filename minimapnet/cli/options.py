"""What the commands' options share: one line for a mistake, a default in every help text, numbers within their range."""

import argparse
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from minimapnet import backend
from minimapnet.training.setting_fields import Number, whole

BAD_INPUT = 2  # exit code
OPTION = re.compile(r"--?[a-zA-Z][^\[\]<>{}|=]*(=|$)|-\d", re.DOTALL)  # and negative numbers, for which argparse looks
NO_CHANCE = "changes nothing, as nothing here is drawn; taken so that one configuration file can serve several commands"


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is answered in one line, as all others are, and no option can be shortened."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options, allow_abbrev=False)

    def _parse_optional(self, argument):
        """Take as an option only what looks like one: a text such as "-[MASK]" or "--<mask> of" is an argument."""
        return super()._parse_optional(argument) if OPTION.match(argument) else None

    def error(self, message):
        self.exit(BAD_INPUT, f"minimapnet: error: {' '.join(message.split())} (see {self.prog} -h)\n")


def named(text: str) -> str:
    """Take a name; an empty one, which as a path would mean the folder that one is in, is a slip."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; the current folder is .")
    return text


def path(text: str) -> Path:
    """Take a path, but no empty one."""
    return Path(named(text))


class NumberType:
    """The type of an option that takes a number, for argparse; `kinds` are the types that it may have in a TOML file."""

    def __init__(self, number: Number):
        self.number, self.kinds = number, number.kinds

    def __call__(self, text: str) -> int | float:
        try:
            return self.number.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


def add(command, name: str, help: str, default=None, shown: str | None = None, **details) -> None:
    """Add an option whose help ends with its default, or with what `shown` says of it."""
    shown = str(default) if shown is None else shown
    command.add_argument(name, default=default, help=f"{help} (default: {shown})".replace("%", "%%"), **details)


def add_flag(command, name: str, help: str) -> None:
    """Add an option that takes no value."""
    add(command, name, help, default=False, shown="off", action="store_true")


def add_number(command, name: str, help: str, default, number: Number, shown: str | None = None) -> None:
    """Add an option that takes a number."""
    add(command, name, help, default, shown, type=NumberType(number), metavar="N" if number.kinds == (int,) else "X")


def add_settings(command, settings: type, only: tuple[str, ...] | None = None, unset: bool = False) -> None:
    """Add an option for each field of a dataclass of settings, or for those named; with `unset` their defaults are None."""
    for field in dataclasses.fields(settings):
        if only is not None and field.name not in only:
            continue
        known, name = field.metadata, "--" + field.name.replace("_", "-")
        default, shown = (None, known["shown"] or str(field.default)) if unset else (field.default, known["shown"])
        if known["number"]:
            add_number(command, name, known["help"], default, known["number"], shown)
        elif known["choices"]:
            add(command, name, known["help"], default, shown, choices=known["choices"], metavar="NAME")
        elif known["names"] is None:
            add(command, name, known["help"], default, shown, type=named, metavar="WORD")
        else:
            kind, metavar = _name_or_path(known["names"]), "NAME" if known["names"] else "FOLDER"
            add(command, name, known["help"], default, shown, type=kind, metavar=metavar)


def settings_of(options, settings: type, **changes):
    """Return a dataclass of settings with the values of a command's options; None means a default that is not None."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(settings)}
    return settings(**{name: value for name, value in values.items() if value is not None} | changes)


def _name_or_path(names: tuple[str, ...]):
    return lambda text: text if text in names else path(text)


def add_backend(command, default: str = "numpy") -> None:
    """Add --backend."""
    help = "array library: numpy is the CPU, cupy the GPU, auto the GPU where one works"
    add(command, "--backend", help, default, choices=backend.NAMES)


def add_config(command, files: Callable | None = None) -> None:
    """Add --config. `files(options)` gives the files of options to read, each going before the one in front of it."""
    command.set_defaults(files=files or (lambda options: [options.config] if options.config else []))
    help = (
        "a TOML file of options: keys are the long names of those below, without the dashes in front (steps = 500); what "
        "is given on the command line goes before it"
    )
    add(command, "--config", help, type=path, shown="no file", metavar="FILE")


def add_out(command, default: str, help: str) -> None:
    """Add --out."""
    add(command, "--out", help, Path(default), type=path, metavar="FOLDER")


def add_out_file(command, help: str) -> None:
    """Add --out of a command that prints, for a file beside what it prints."""
    add(command, "--out", f"{help}, as a file of JSON, too", type=path, shown="no file", metavar="FILE")


def add_seed(command, help: str) -> None:
    """Add --seed."""
    add_number(command, "--seed", help, 0, whole(0))
