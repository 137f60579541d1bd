"""A text a line, from a file or standard input, for the commands that answer line by line."""

import sys
from pathlib import Path

import numpy

from minimapnet import files
from minimapnet.errors import InputError
from minimapnet.text.batches import GivenRows

STANDARD_INPUT = Path("-")


def read_lines(file: Path) -> list[str]:
    """Return the lines of a file, or of standard input for "-"; they end at line feeds alone.

    Raises InputError where it cannot be read, or is not UTF-8.
    """
    if file != STANDARD_INPUT:
        return files.read_lines(file)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, UnicodeDecodeError):
            reason = f"is not UTF-8: {error.reason} at byte {error.start}; convert it first"
            raise InputError(f"{name_of(file)} {reason}") from None
        raise InputError(f"cannot read {name_of(file)}: it is closed") from None
    return files.lines_of(text)


def name_of(file: Path) -> str:
    """Return what to call a file in a message."""
    return "standard input" if file == STANDARD_INPUT else str(file)


def check_utf8(text: str, name: str) -> None:
    """Raise InputError for a text, given on the command line, that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name} is not UTF-8: type it in a terminal that writes UTF-8") from None


def row_of(tokens: list[int], tokenizer, longest: int, name: str) -> numpy.ndarray:
    """Return the ids of a text's tokens as a row of its own (T,), as in training. Raises InputError where it is too long."""
    ids = GivenRows([tokens], tokenizer).batch([0]).ids[0]
    if len(ids) > longest:
        raise InputError(f"{name} has {len(ids)} tokens, [CLS] and [SEP] counted, and the model reads {longest}: shorten it")
    return ids
