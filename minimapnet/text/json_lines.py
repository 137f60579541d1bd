"""Texts in a JSON Lines file: each line is an object, and one of its fields a text."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from minimapnet.errors import InputError

LONGEST_LINE = 2**26  # characters: a line is in memory whole


def texts(file: Path, blocks: Iterable[str], field: str) -> Iterator[str]:
    """Return the field of each line, in order; blank lines are passed over, and halves of characters become U+FFFD.

    Raises InputError, with the line's number, for one that is longer than 67 million characters, is no JSON object, or has
    no such field, or something other than a text in it.
    """
    for number, line in enumerate(_lines(file, blocks), 1):
        if line.strip():
            text = _field(line, f"{file} line {number}", field)
            yield text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _field(line: str, where: str, field: str) -> str:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where} is not a JSON object with a field {field!r}, but a {type(content).__name__}")
    if field not in content:
        known = ", ".join(map(repr, list(content)[:10])) or "none"
        raise InputError(f"{where} has no field {field!r}: its fields are {known}; name that of the text with --field")
    if not isinstance(content[field], str):
        kind = "null" if content[field] is None else f"a {type(content[field]).__name__}"
        raise InputError(f"{where}: field {field!r} is not text, but {kind}")
    return content[field]


def _lines(file: Path, blocks: Iterable[str]) -> Iterator[str]:
    """Return the lines whole, whatever their length."""
    started: list[str] = []
    for block in blocks:
        first, *others = block.split("\n")
        started.append(first)
        if sum(map(len, started)) > LONGEST_LINE:
            raise InputError(
                f"{file} has a line of more than {LONGEST_LINE:,} characters: a text of a .jsonl has its own line"
            )
        if others:
            yield "".join(started)
            yield from others[:-1]
            started = others[-1:]
    yield "".join(started)
