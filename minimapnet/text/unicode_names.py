"""The names of Unicode characters, such as "greek small letter alpha", from the database that every Python carries."""

import sys
import unicodedata
from collections.abc import Iterator


def fingerprint() -> str:
    """Return the version of the database."""
    return f"unicode-names {unicodedata.unidata_version}"


def documents() -> Iterator[tuple[str, list[str]]]:
    """Return the names in the order of the characters, each a document that is named by its words.

    Left out are names that only number a character (those of ideographs end with its number in hexadecimal digits), and the
    11,172 syllables of Hangul, which follow from their letters.
    """
    for number in range(sys.maxunicode + 1):
        name = unicodedata.name(chr(number), "")
        if name and not name.endswith(f"-{number:04X}") and not name.startswith("HANGUL SYLLABLE "):
            yield name, [name]
