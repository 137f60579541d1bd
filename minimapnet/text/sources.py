"""Where text comes from: a name that we know, or a path.

A document is a name and its samples: sentences, or lines. Documents are read as often as they are needed, one after the
other, and never all at once.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.files import as_path, printable
from minimapnet.text import bibles, grammar, plain_files, python_docs, python_library, standard_input, unicode_names

GRAMMAR_SENTENCES = 100_000
STANDARD_INPUT = "-"
NAMES = ("python-docs", "python-code", "unicode-names", *bibles.TRANSLATIONS, "grammar")
ALL_NAMES = (*NAMES, STANDARD_INPUT)


@dataclass(frozen=True)
class Source:
    """A text: `documents()` gives its (name, samples) pairs from the beginning, the same each time.

    fingerprint changes when the text does. words is the vocabulary of a text whose words are known beforehand. Where
    `validation` is there, its documents are what is validated on.
    """

    name: str
    fingerprint: str
    documents: Callable[[], Iterable[tuple[str, Sequence[str]]]]
    words: tuple[str, ...] | None = None
    validation: Callable[[], Iterable[tuple[str, Sequence[str]]]] | None = None

    def validated_on(self, other: "Source") -> "Source":
        """Return this text with another to validate on."""
        return replace(self, fingerprint=f"{self.fingerprint} {other.fingerprint}", validation=other.documents)


def find(source: str | Path, by_lines: bool = False, field: str = "text") -> Source:
    """Return the source of that name ("python-docs", "kjv" and other translations, "grammar", ...), or of that path.

    A name goes before a path: a file that is called like one is given as ./name, and is called so. With `by_lines` a line of
    a file, and of "python-code", is a sample; without it, and of the other names, a sentence is. field: that of a .jsonl.

    Raises InputError for a name or path that is not there, and a translation that is not installed.
    """
    path = as_path(source)
    if source == "python-docs":
        return Source(source, python_library.fingerprint(), python_docs.documents)
    if source == "python-code":
        return Source(source, f"{python_library.fingerprint()} code {by_lines}", partial(python_library.code, by_lines))
    if source == "unicode-names":
        return Source(source, unicode_names.fingerprint(), unicode_names.documents)
    if source == "grammar":
        return of_grammar(GRAMMAR_SENTENCES)
    if source in bibles.TRANSLATIONS:
        return Source(source, bibles.fingerprint(source), partial(bibles.documents, source))
    if not path.exists():
        raise InputError(f"there is no text {source}: give a file, a folder, or one of {', '.join(NAMES)}")
    name = printable(path.resolve().name)
    name = f"./{name}" if name in NAMES else name
    fingerprint = f"{plain_files.fingerprint(path)} {by_lines} {field}"
    return Source(name, fingerprint, partial(plain_files.documents, path, by_lines, field))


def kept(source: str | Path, cache: Path) -> str | Path:
    """Return a source that can be read again: itself, or for "-" a copy of what is on standard input, in the folder `cache`.

    Raises InputError where there is nothing on standard input, or the copy cannot be written.
    """
    return standard_input.copied(cache) if str(source) == STANDARD_INPUT else source


def of_grammar(count: int, seed: int = 0) -> Source:
    """Return `count` sentences of the project's grammar, each a document that is named by its words.

    So it is the sentence that belongs to a part. The language has few enough sentences that they repeat: were a document
    more than one, most of what can be said would stand in some document held out, and could not be trained on.
    """
    file = grammar.default_file()
    ours = grammar.read(file)

    def documents():
        for words in islice(ours.stream(seed), count):
            sentence = " ".join(words)
            yield sentence, [sentence]

    return Source("grammar", f"{hashlib.sha256(file.read_bytes()).hexdigest()} {count} {seed}", documents, ours.vocabulary)
