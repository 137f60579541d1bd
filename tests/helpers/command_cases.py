"""Commands as a user gives them: run in a process of their own, or within the test, and refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

from minimapnet.cli.main import main
from tests.helpers.text_cases import written

ROOT = Path(__file__).parents[2]
SIZES = tuple("--vocab-size 100 --max-length 12 --hidden-size 16 --layers 1 --heads 2 --batch-size 4".split())


def environment() -> dict:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*arguments, **options) -> subprocess.CompletedProcess:
    """Run `python -m minimapnet`, the package being the one under test."""
    line = [sys.executable, "-m", "minimapnet", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, env=environment(), **options)


def assert_refused(result, *parts):
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("minimapnet: error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def called(capsys, *arguments) -> subprocess.CompletedProcess:
    """Run a command within the test."""
    capsys.readouterr()
    try:
        code = main([str(part) for part in arguments])
    except SystemExit as stop:  # from argparse
        code = stop.code
    return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())


def text_file(folder: Path, sentences: int = 300) -> Path:
    return written(folder / "text.txt", sentences)


def train(folder: Path, *more) -> list[str]:
    """Return the arguments that train a tiny model on the text in `folder`, into `folder`/run."""
    places = ("--text", folder / "text.txt", "--cache", folder / "cache", "--out", folder / "run")
    return [str(part) for part in ("train", *places, *SIZES, "--steps", "6", *more)]
