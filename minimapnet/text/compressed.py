"""The bytes of a file, unpacked where its name ends in .gz, .bz2 or .xz."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.files import is_lfs_pointer, lfs_pointer

BLOCK = 2**16  # bytes
OPENERS: dict[str, tuple[str, Callable]] = {
    ".gz": ("gzip", gzip.open),
    ".bz2": ("bzip2", bz2.open),
    ".xz": ("xz", lzma.open),
}


def unpacked_name(file: Path) -> str:
    """Return a file's name in small letters, without the ending of a compression."""
    name = file.name.lower()
    return name.removesuffix(file.suffix.lower()) if file.suffix.lower() in OPENERS else name


def blocks(file: Path) -> Iterator[bytes]:
    """Return a file's bytes, block by block. Raises InputError where it cannot be read, or is packed and damaged."""
    kind, opener = OPENERS.get(file.suffix.lower(), ("", open))
    try:
        if is_lfs_pointer(file):
            raise InputError(lfs_pointer(file))
        with opener(file, "rb") as opened:
            while block := opened.read(BLOCK):
                yield block
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(file, error) from None
        raise InputError(f"{file} is not a whole {kind} file: {error}; pack it again") from None


def unreadable(file: Path, error: OSError) -> InputError:
    """Return the error that says why a file cannot be read."""
    return InputError(f"cannot read {file}: {error.strerror or error}")
