"""Options from a TOML file: they become the defaults of a command, so that the command line goes before them."""

import argparse
import difflib
import json
import tomllib
from pathlib import Path
from typing import Any

from minimapnet.errors import InputError
from minimapnet.files import read_text, written_whole

RAW = "# Not all of this is UTF-8: paths have the bytes that they have on the disk.\n"
NAMES = {bool: "true or false", str: "text in quotes", int: "a whole number", float: "a number"}
LEFT_OUT = ("help", "config")  # of a file


def set_defaults(command: argparse.ArgumentParser, file: Path) -> None:
    """Make the options of a file the command's defaults.

    Raises InputError where the file cannot be read, is not TOML, has a key that is no option of the command, or a value
    that the option cannot have.
    """
    known = _by_name(command)
    values = {}
    for key, value in read(file).items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"see {command.prog} -h"
            raise InputError(f"{file}: {command.prog} has no option {key!r}; {hint}")
        values[known[key].dest] = _value(known[key], value, f"{file}: {key}")
    command.set_defaults(**values)


def write(options: argparse.Namespace, file: Path, without: tuple[str, ...]) -> None:
    """Write a command's options, but those of the names `without` and those without a value, as a file for `set_defaults`.

    Raises InputError where it cannot be written.
    """
    named = ((dest.replace("_", "-"), value) for dest, value in vars(options).items())
    written = (
        (name, v) for name, v in named if name not in (*LEFT_OUT, *without) and isinstance(v, int | float | str | Path)
    )
    _write(file, dict(written))


def put(file: Path, name: str, value) -> None:
    """Set one option of a file that `write` wrote to another value. Raises InputError where it cannot be read or written."""
    options = read(file)
    if options.get(name) == value:
        return
    _write(file, options | {name: value})


def _write(file: Path, options: dict) -> None:
    content = "".join(f"{name} = {_toml(value)}\n" for name, value in options.items()).encode(errors="surrogateescape")
    with written_whole(file) as temporary:
        temporary.write_bytes(content if _is_utf8(content) else RAW.encode() + content)


def _by_name(command) -> dict[str, argparse.Action]:
    """Return a command's options by their long names, without the dashes in front."""
    named = {text.removeprefix("--"): action for action in command._actions for text in action.option_strings}
    return {name: action for name, action in named.items() if len(name) > 2 and name not in LEFT_OUT}


def read(file: Path) -> dict:
    """Return the options of a file, by their long names. Raises InputError where it cannot be read, or is not TOML."""
    try:
        text = read_text(file, errors="surrogateescape")
        return tomllib.loads(text if text.startswith(RAW) else read_text(file))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not TOML: {error}") from None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _value(action: argparse.Action, value, where: str):
    """Return the value of an option as the command line would have it."""
    kinds = (bool,) if action.nargs == 0 else getattr(action.type, "kinds", (str,))
    accepted = (int, float) if float in kinds else kinds
    if type(value) not in accepted:
        wanted = NAMES[max(kinds, key=list(NAMES).index)]
        raise InputError(f"{where} must be {wanted}, not {value!r}")
    if isinstance(value, str) and "\0" in value:
        raise InputError(f"{where} must be text without the character zero, not {value!r}")
    if action.choices and value not in action.choices:
        raise InputError(f"{where} must be one of {', '.join(map(str, action.choices))}, not {value!r}")
    if action.type is None or action.nargs == 0:
        return value
    convert: Any = action.type
    try:
        return convert(str(value))
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{where} {error}") from None


def _toml(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value.absolute() if isinstance(value, Path) else value)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
