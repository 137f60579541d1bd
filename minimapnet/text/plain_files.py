"""Text files of the user's: one file, or a folder of them, plain or compressed, or JSON Lines. They are read in blocks."""

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.text import json_lines
from minimapnet.text.cleaning import lines, pieces, sentences_or_pieces
from minimapnet.text.compressed import OPENERS, blocks, unpacked_name, unreadable

JSON_LINES = ".jsonl"
ENDINGS = (".txt", ".text", ".md", ".rst", JSON_LINES)  # of the files that are read in a folder, also compressed
PAGE_SENTENCES = 10  # of a document: a file is cut into documents


def files(path: Path) -> list[tuple[str, Path]]:
    """Return the files to read, each with its place: `path` itself, or the text files at any depth of that folder, sorted.

    In a folder these are the files that end in .txt, .text, .md, .rst or .jsonl, also with .gz, .bz2 or .xz behind; hidden
    ones are left out.

    Raises InputError where there is no such path, or no such file in the folder, and for a pipe or a device.
    """
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if path.is_file():
        return [("", path)]
    if not path.is_dir():
        raise InputError(f"{path} is a pipe or a device, not a file: let --text - read it from standard input")
    places = [(file.relative_to(path), file) for file in sorted(path.rglob("*")) if file.is_file()]
    texts = [(place.as_posix(), file) for place, file in places if _is_text(place)]
    if not texts:
        endings = f"{', '.join(ENDINGS)}, or these with {', '.join(OPENERS)}"
        raise InputError(f"the folder {path} has no text: no file in it ends in {endings}")
    return texts


def _is_text(place: Path) -> bool:
    return unpacked_name(place).endswith(ENDINGS) and not any(part.startswith(".") for part in place.parts)


def fingerprint(path: Path) -> str:
    """Return a hash of the files' places, kinds and bytes.

    Raises InputError as `files` does, and where one cannot be read.
    """
    digest = hashlib.sha256()
    for place, file in files(path):
        try:
            with open(file, "rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(file, error) from None
        kind = f"{file.suffix if file.suffix.lower() in OPENERS else ''} {_is_json_lines(file)}"
        digest.update(f"{place}\n{kind}\n{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def documents(path: Path, by_lines: bool = False, field: str = "text") -> Iterator[tuple[str, list[str]]]:
    """Return the documents of all files, (name, samples) each: every ten sentences of a file are one, or each line.

    Sentences end within a paragraph, and blank lines and bullets part paragraphs; where none ends within 1,000 characters,
    see `cleaning.pieces`. With `by_lines` a line that is not blank is a document, in pieces of at most 1,000 characters,
    and its text is its name. Of a .jsonl each line's `field` is a text of its own, and counts as a line. Nothing is dropped.

    Raises InputError as `files` does, and for a file that cannot be read, is binary, not UTF-8, or damaged.
    """
    for place, file in files(path):
        yield from of_file(place, file, by_lines, field)


def of_file(place: str, file: Path, by_lines: bool, field: str = "text") -> Iterator[tuple[str, list[str]]]:
    """Return the documents of one file, see `documents`."""
    if _is_json_lines(file):
        texts = json_lines.texts(file, _text(file), field)
        if by_lines:
            yield from _lines_as_documents(text.replace("\n", " ") for text in texts)
            return
        for number, text in enumerate(texts):
            yield from _pages(f"{place} text {number}", sentences_or_pieces(text.split("\n")))
    elif by_lines:
        yield from _lines_as_documents(lines(_text(file)))
    else:
        yield from _pages(place, sentences_or_pieces(lines(_text(file))))


def _is_json_lines(file: Path) -> bool:
    return unpacked_name(file).endswith(JSON_LINES)


def _lines_as_documents(texts: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    for line in texts:
        if line.strip():
            yield line.rstrip(), list(pieces(line.rstrip()))


def _pages(place: str, sentences: Iterator[str]) -> Iterator[tuple[str, list[str]]]:
    page = 0
    while block := list(islice(sentences, PAGE_SENTENCES)):
        yield f"{place} page {page}", block
        page += 1


def _text(file: Path) -> Iterator[str]:
    """Decode a file block by block."""
    decoder, read = codecs.getincrementaldecoder("utf-8-sig")(), 0
    for block in blocks(file):
        if b"\0" in block:
            raise InputError(f"{file} is not a text file: byte {read + block.index(0)} is zero")
        yield _decoded(file, decoder, block, read)
        read += len(block)
    yield _decoded(file, decoder, b"", read, final=True)


def _decoded(file: Path, decoder, block: bytes, read: int, final: bool = False) -> str:
    waiting = len(decoder.getstate()[0])  # bytes of a character that the last block cut
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        place = read - waiting + error.start
        raise InputError(
            f"{file} is not UTF-8: byte {place} is {error.object[error.start]:#04x}; convert it first"
        ) from None
