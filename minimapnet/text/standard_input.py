"""Standard input as a file: a text is read more than once, and a resumed run reads it again."""

import hashlib
import os
import sys
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.files import written_whole
from minimapnet.text.compressed import BLOCK


def copied(cache: Path) -> Path:
    """Copy standard input into the folder `cache`, and return the copy, which is named by the hash of its bytes.

    Raises InputError where nothing comes, or the copy cannot be written.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed: there is no text to read from it")
    if sys.stdin.isatty():
        raise InputError("standard input is the keyboard: let a file or a program write to it, as in: minimapnet ... < FILE")
    digest, size = hashlib.sha256(), 0
    arriving = Path(cache) / f"stdin-{os.getpid()}.txt"
    with written_whole(arriving) as temporary, open(temporary, "wb") as copy:
        while block := sys.stdin.buffer.read(BLOCK):
            copy.write(block)
            digest.update(block)
            size += len(block)
        if not size:
            raise InputError("standard input is empty")
    return arriving.replace(arriving.with_name(f"stdin-{digest.hexdigest()[:16]}.txt"))
