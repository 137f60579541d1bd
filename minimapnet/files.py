"""Files that are either whole or not there."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimapnet.errors import InputError


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
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
