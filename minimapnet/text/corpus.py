"""Text as sentences: where it comes from, how it is cleaned, and which part of it is kept for validation.

A document is a list of sentences with a name. Whether it is trained on or validated on follows from its name alone, so
that a document never changes sides, whatever else is read.
"""

import ast
import hashlib
import importlib
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minimapnet.errors import InputError

VALIDATION_SHARE = 0.1  # of the documents, on average
PAGE_SENTENCES = 10  # of a document, where a file is cut into documents
PROSE_SHARE = 0.85  # of a sentence's characters must be letters, blanks or the marks of ordinary prose
QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}  # curved to plain
NOT_DOCUMENTATION = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


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
        part = validation if _share(document) < VALIDATION_SHARE else train
        for sentence in found:
            if sentence not in seen:
                seen.add(sentence)
                part.append(sentence)
    return Corpus(name, tuple(train), tuple(validation))


def _share(name: str) -> float:
    """Give a number in [0, 1) that depends on `name` alone and is spread evenly over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


def from_file(path: str | Path) -> Corpus:
    """Read a UTF-8 text: blank lines part its paragraphs, and every 10 sentences are a document.

    Nothing is dropped but repeated sentences.

    Raises InputError for a file that is missing, a folder, unreadable, empty, binary or not UTF-8.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give one text file") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if b"\0" in raw:
        raise InputError(f"{path} is not a text file: byte {raw.index(0)} is zero")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start} is {raw[error.start]:#04x}; convert it first") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    found = [sentence for paragraph in paragraphs(text) for sentence in sentences(paragraph)]
    pages = range(0, len(found), PAGE_SENTENCES)
    return split(path.name, ((f"page {i // PAGE_SENTENCES}", found[i : i + PAGE_SENTENCES]) for i in pages))


def python_docs() -> Corpus:
    """Read the documentation that every Python carries: the language reference and the standard library's docstrings.

    A document is a topic of the reference, or a module. Only what reads as prose is kept: see `prose`.

    Raises InputError where this Python came without them.
    """
    documents = {**_topics(), **_module_docstrings(), **_compiled_docstrings()}
    found = ((name, [s for text in texts for s in prose(text)]) for name, texts in documents.items())
    corpus = split("python-docs", found)
    if not corpus.train or not corpus.validation:
        raise InputError("this Python came without its documentation; give a text of your own with --text")
    return corpus


def _topics() -> dict[str, list[str]]:
    """Give the language reference, by topic, as `help()` knows it."""
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return {}
    return {f"topic {name}": [text] for name, text in topics.items()}


def _module_docstrings() -> dict[str, list[str]]:
    """Give the docstrings of the standard library's modules, from their source: importing some of them has effects."""
    library, found = Path(sysconfig.get_path("stdlib")), {}
    for file in sorted(library.rglob("*.py")):
        place = file.relative_to(library)
        if NOT_DOCUMENTATION.intersection(place.parts):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError):  # templates and samples of other versions' syntax
            continue
        found[f"module {place.as_posix()}"] = list(_docstrings(tree))
    return found


def _docstrings(node: ast.AST) -> Iterator[str]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and (text := ast.get_docstring(node)):
        yield text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield from _docstrings(child)


def _compiled_docstrings() -> dict[str, list[str]]:
    """Give the docstrings of the modules that are part of the interpreter, `str` and its methods among them."""
    found = {}
    for name in sys.builtin_module_names:
        module = importlib.import_module(name)
        owners = [module, *(thing for thing in vars(module).values() if isinstance(thing, type))]
        texts = (getattr(thing, "__doc__", None) for owner in owners for thing in [owner, *vars(owner).values()])
        found[f"module {name}"] = [inspect.cleandoc(text) for text in texts if isinstance(text, str)]
    return found


def prose(text: str) -> Iterator[str]:
    """Give the sentences of a documentation text, in order, and drop what is no prose.

    Dropped: examples (`>>>` up to the next blank line), and every stretch between blank lines or bullets that is not made
    of sentences: code, signatures, grammar rules, tables, headings. A sentence begins with a capital letter, ends with a
    full stop, question or exclamation mark, and at least 85 % of it are letters, blanks and commas. Removed from within a
    sentence: the marks of reStructuredText (backquotes, asterisks, roles) and footnote numbers. Quotes become plain.
    """
    text = re.sub(r"^[ \t]*>>>.*?(?=\n[ \t]*\n|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    for paragraph in paragraphs(text):
        plain = re.sub(r":[a-z:]+:`~?([^`]*)`", r"\1", paragraph)
        plain = re.sub(r"[`*|]|\s*\[\d+\]", "", plain).translate(QUOTES)
        yield from (sentence for sentence in sentences(plain.strip()) if _is_prose(sentence))


def _is_prose(sentence: str) -> bool:
    plain = sum(letter.isalpha() or letter in " ,'.-" for letter in sentence)
    return sentence[0].isupper() and sentence[-1] in ".!?" and plain >= PROSE_SHARE * len(sentence)


def paragraphs(text: str) -> Iterator[str]:
    """Give the stretches of text between blank lines, each as one line, in which a word cut by a hyphen is whole again."""
    for stretch in re.split(r"\n\s*\n|\n\s*[-*] ", text.replace("\r\n", "\n")):
        line = re.sub(r"(?<=[a-z])-\n\s*(?=[a-z])", "-", stretch)
        line = " ".join(line.split())
        if line:
            yield line


def sentences(paragraph: str) -> list[str]:
    """Cut a paragraph after each full stop, question or exclamation mark that a blank and a capital or quote follow.

    A full stop after "e.g.", "i.e.", "etc.", "vs." or a single capital letter does not end a sentence. The wide marks of
    Chinese and Japanese end one in any case.
    """
    ends = r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bvs\.)(?<!\b[A-Z]\.)\s+(?=[^\W\d_a-z]|[\"'(])"
    return [sentence for sentence in re.split(ends + r"|(?<=[。！？])\s*", paragraph) if sentence]
