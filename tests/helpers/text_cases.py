"""Small texts for tests, made up from a few words."""

import os
import socket
from pathlib import Path

import numpy

WORDS = ("the", "model", "reads", "every", "sentence", "of", "this", "small", "text", "and", "learns", "which", "words")


def made_up(count: int, seed: int = 0) -> list[str]:
    """Return `count` sentences of 3 to 13 words."""
    rng = numpy.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 14))).capitalize() + "." for _ in range(count)]


def written(file: Path, count: int, seed: int = 0) -> Path:
    """Write `count` such sentences to `file`, a paragraph each."""
    file.write_text("\n\n".join(made_up(count, seed)), encoding="utf-8")
    return file


def socket_at(path: Path) -> None:
    """Leave a socket at `path`, to which nobody listens."""
    with socket.socket(socket.AF_UNIX) as ear:
        before = os.getcwd()
        os.chdir(path.parent)  # a socket's name must be short
        ear.bind(path.name)
        os.chdir(before)
