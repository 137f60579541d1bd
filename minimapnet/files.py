"""Files that are either whole or not there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minimapnet.errors import InputError


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Give a temporary name beside `file` to write to; at the end it is renamed to `file`, or removed after an error.

    The temporary name keeps the ending of `file`, by which libraries choose a format. The folder is made where missing.

    Raises InputError where the file cannot be written: no right to, no room, no such place.
    """
    file = Path(file)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as whole:
            os.fsync(whole.fileno())  # on the disk before it takes the name: a power cut leaves the old file or the new one
        os.replace(temporary, file)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def write_json(file: Path, content) -> None:
    """Write JSON that people can read as well. Raises InputError as `written_whole` does, and ValueError for NaN."""
    with written_whole(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
