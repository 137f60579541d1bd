"""Text as lists of sentences in two parts, as the laboratory reads it so far; `load.load_text` takes its place."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.text import plain_files
from minimapnet.text import python_docs as docs
from minimapnet.text.parts import VALIDATION, part_of


@dataclass(frozen=True)
class Corpus:
    """Sentences, as they were found: `train` and `validation` come from different documents and share no sentence."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]


def split(name: str, documents: Iterable[tuple[str, Iterable[str]]]) -> Corpus:
    """Share (document name, sentences) pairs out between training and validation, by a hash of each document's name.

    A sentence that stands in several documents counts once, for the first of them by name: boilerplate would otherwise be
    trained on and asked for in validation as well.
    """
    seen, train, validation = set(), [], []
    for document, found in sorted(documents, key=lambda pair: pair[0]):
        part = validation if part_of(document) == VALIDATION else train
        for sentence in found:
            if sentence not in seen:
                seen.add(sentence)
                part.append(sentence)
    return Corpus(name, tuple(train), tuple(validation))


def from_file(path: str | Path) -> Corpus:
    """Read a UTF-8 text file, see `plain_files.documents`. Raises InputError as it does, and for an empty file or folder."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one text file")
    corpus = split(path.name, plain_files.documents(path))
    if not corpus.train and not corpus.validation:
        raise InputError(f"{path} is empty")
    return corpus


def python_docs() -> Corpus:
    """Read the documentation that every Python carries, see `python_docs.documents`."""
    return split("python-docs", docs.documents())
