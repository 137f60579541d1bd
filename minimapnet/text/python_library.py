"""The standard library of the Python that runs: its modules' files, and their source as a text."""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.text import plain_files

NOT_THE_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def modules() -> Iterator[tuple[str, Path]]:
    """Return the place within the standard library, and the file, of each module that is written in Python."""
    library = Path(sysconfig.get_path("stdlib"))
    for folder, inner, files in os.walk(library):
        inner[:] = sorted(set(inner) - NOT_THE_LIBRARY)
        for file in sorted(Path(folder, name) for name in files if name.endswith(".py")):
            yield file.relative_to(library).as_posix(), file


def fingerprint() -> str:
    """Return what changes when this Python's library does: its version, and its files with their sizes and times."""
    digest = hashlib.sha256(sys.version.encode())
    for place, file in modules():
        about = file.stat()
        digest.update(f"{place} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def code(by_lines: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Return the library's source as `plain_files.documents` reads files; a module that is not UTF-8 is left out.

    Raises InputError where this Python came without the source of its library.
    """
    found = False
    for place, file in modules():
        if _is_utf8(file):
            for document in plain_files.of_file(place, file, by_lines):
                found = True
                yield document
    if not found:
        raise InputError("this Python came without the source of its library; give a text of your own with --text")


def _is_utf8(file: Path) -> bool:
    try:
        return "\0" not in file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
