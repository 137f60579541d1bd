"""Text files of the user's: one file, or a folder of them, plain or compressed by gzip. They are read in blocks."""

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.text.cleaning import lines, paragraphs, sentences

ENDINGS = (".txt", ".text", ".md", ".rst")  # of the files that are read in a folder, also with .gz behind
PAGE_SENTENCES = 10  # of a document: a file is cut into documents
BLOCK = 2**16  # bytes


def files(path: Path) -> list[tuple[str, Path]]:
    """Return the files to read, each with its place: `path` itself, or the text files at any depth of that folder, sorted.

    In a folder these are the files that end in .txt, .text, .md or .rst, also with .gz behind; hidden ones are left out.

    Raises InputError where there is no such path, or no such file in the folder.
    """
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if path.is_file():
        return [("", path)]
    if not path.is_dir():
        raise InputError(
            f"{path} is neither a file nor a folder but a pipe, a device or a socket, and texts are read more than once: "
            "write what it gives into a file, and name that"
        )
    places = [(file.relative_to(path), file) for file in sorted(path.rglob("*")) if file.is_file()]
    texts = [(place.as_posix(), file) for place, file in places if _is_text(place)]
    if not texts:
        raise InputError(f"the folder {path} has no text: no file in it ends in {', '.join(ENDINGS)}, or these with .gz")
    return texts


def _is_text(place: Path) -> bool:
    name = place.name.lower().removesuffix(".gz")
    return name.endswith(ENDINGS) and not any(part.startswith(".") for part in place.parts)


def fingerprint(path: Path) -> str:
    """Return a hash of the files' places and bytes. Raises InputError as `files` does, and where one cannot be read."""
    digest = hashlib.sha256()
    for place, file in files(path):
        try:
            with open(file, "rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(file, error) from None
        digest.update(f"{place}\n{file.suffix}\n{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def documents(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Return the documents of all files, (name, sentences) each: every ten sentences of a file are one.

    Blank lines and bullets part paragraphs. Nothing is dropped.

    Raises InputError as `files` does, and for a file that cannot be read, is binary, not UTF-8, or a damaged .gz.
    """
    for place, file in files(path):
        all_sentences = (sentence for paragraph in paragraphs(lines(_text(file))) for sentence in sentences(paragraph))
        page = 0
        while block := list(islice(all_sentences, PAGE_SENTENCES)):
            yield f"{place} page {page}", block
            page += 1


def _text(file: Path) -> Iterator[str]:
    """Decode a file block by block."""
    decoder, read = codecs.getincrementaldecoder("utf-8-sig")(), 0
    for block in _blocks(file):
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


def _blocks(file: Path) -> Iterator[bytes]:
    opener = gzip.open if file.suffix.lower() == ".gz" else open
    try:
        with opener(file, "rb") as opened:
            while block := opened.read(BLOCK):
                yield block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{file} is not a whole gzip file: {error}; pack it again") from None
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(f"cannot read {file}: {error.strerror or error}")
