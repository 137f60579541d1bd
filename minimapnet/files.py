"""Files: written so that they are either whole or not there, and read whatever program has written them."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimapnet.errors import InputError

LFS_POINTER = "version https://git-lfs.github.com/spec/"


def as_path(path) -> Path:
    """Return `path` as a Path. Raises InputError for what is none, such as None."""
    try:
        return Path(path)
    except TypeError:
        raise InputError(f"a path is needed, as text or a Path, not {path!r}") from None


def printable(path) -> str:
    """Return a path as text that can be printed and written anywhere: bytes that are not UTF-8 become \\udc80 to \\udcff."""
    return str(path).encode(errors="backslashreplace").decode()


def read_text(file: Path, errors: str = "strict") -> str:
    """Return a file's text, without the byte order mark that some editors put before it.

    Raises InputError where it cannot be read, is not UTF-8, or is the pointer that Git LFS leaves in a file's place.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig", errors)  # line ends stay as they are
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8: {error}") from error
    if text.startswith(LFS_POINTER):
        raise InputError(lfs_pointer(file))
    return text


def is_lfs_pointer(file: Path) -> bool:
    """Return whether a file only points to where Git LFS has its content. Raises OSError where it cannot be read."""
    with open(file, "rb") as opened:
        return opened.read(len(LFS_POINTER)) == LFS_POINTER.encode()


def lfs_pointer(file: Path) -> str:
    """Return what is to be said of a file that only points to where Git LFS has its content."""
    return f"{file} is a pointer of Git LFS, not the file itself: run git lfs pull in its folder"


def read_lines(file: Path, errors: str = "strict") -> list[str]:
    """Return a file's lines, which end at line feeds alone: U+2028, say, is a character as any other.

    A carriage return before the line feed belongs to it. Raises InputError as `read_text`.
    """
    return lines_of(read_text(file, errors))


def lines_of(text: str) -> list[str]:
    """Return a text's lines as `read_lines` does."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def read_json(file: Path) -> dict:
    """Return the JSON object in a file.

    Raises InputError where the file cannot be read, is not JSON, or holds something other than an object.
    """
    try:
        content = json.loads(read_text(file))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold a JSON object, not a {type(content).__name__}")
    return content


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Return a temporary name beside `file` to write to; at the end it is renamed to `file`, or removed after an error.

    The temporary name keeps the ending of `file`, by which libraries choose a format. The folder is made where missing. A
    link stays one: the file that it leads to is written.

    Raises InputError where the file cannot be written: no right to, no room, no such place, or something there that is no
    file, such as a pipe.
    """
    file = Path(file)
    try:
        _refuse_other_kinds(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(Path(os.path.realpath(file)), file.suffix) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error


@contextmanager
def no_new_empty(folder: Path) -> Iterator[None]:
    """At the end remove `folder`, and those above it, where they were not there before and are empty."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        yield
    finally:
        for path in missing:
            with suppress(OSError):  # something is in it, or it was not made
                path.rmdir()


@contextmanager
def _replacing(target: Path, ending: str) -> Iterator[Path]:
    """Return a name beside `target`; what is written there takes its place at the end, and is removed after an error."""
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{ending}")
    try:
        yield temporary
        with open(temporary, "rb+") as whole:
            os.fsync(whole.fileno())  # on the disk before it takes the name: a power cut leaves the old file or the new one
        os.replace(temporary, target)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def _refuse_other_kinds(file: Path) -> None:
    """Raise OSError for a folder, and InputError for what is neither a folder nor a file, such as a pipe or a device."""
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise InputError(f"cannot write {file}: what is there is no regular file (a pipe, say); choose another name")


def write_json(file: Path, content) -> None:
    """Write JSON that people can read as well; after an error, a folder that had to be made for it is gone again.

    Raises InputError as `written_whole` does, and ValueError for NaN.
    """
    with no_new_empty(Path(file).parent), written_whole(file) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # as JSON writes what is not UTF-8 in a path
