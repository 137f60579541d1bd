"""A text a line, from a file or standard input, for the commands that answer line by line."""

import sys
from pathlib import Path

import numpy

from minimapnet.errors import InputError

STANDARD_INPUT = Path("-")


def read_lines(file: Path) -> list[str]:
    """Return the lines of a file, or of standard input for "-"; they end at line feeds alone.

    Raises InputError where it cannot be read, or is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name_of(file)} is not UTF-8: {error.reason} at byte {error.start}; convert it first") from None
    lines = [line.removesuffix("\r") for line in lines]
    return lines if lines[-1] else lines[:-1]


def name_of(file: Path) -> str:
    """Return what to call a file in a message."""
    return "standard input" if file == STANDARD_INPUT else str(file)


def row_of(tokenizer, text: str, longest: int, name: str = "the text") -> numpy.ndarray:
    """Return a text's ids as a row of its own (T,), [CLS] first and [SEP] last.

    Raises InputError for a text that is no UTF-8, and for more ids than `longest`.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name} is not UTF-8: type it in a terminal that writes UTF-8") from None
    ends = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]")]
    ids = numpy.array([ends[0], *tokenizer.encode(text, add_special_tokens=False).ids, ends[1]], numpy.int64)
    if len(ids) > longest:
        raise InputError(f"{name} has {len(ids)} tokens, [CLS] and [SEP] counted, and the model reads {longest}: shorten it")
    return ids
