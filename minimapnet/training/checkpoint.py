"""Checkpoints: all that a run needs to go on as if it had never stopped, in a folder that is either whole or not there.

    step-00000123/
        config.json, model.safetensors          the model, as transformers and `Bert.from_pretrained` read it
        tokenizer.json, tokenizer_config.json   the tokenizer, as transformers' AutoTokenizer reads it
        state.safetensors                       the optimizer's and the proposal's arrays, as <part>/<name>
        run.json                                where the run was, what it is, and each file's length and digest

A checkpoint is written under a temporary name, put on the disk, and renamed. The digests tell a damaged one from a good one.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from minimapnet import backend
from minimapnet.errors import InputError, tell
from minimapnet.files import read_json, written_whole
from minimapnet.model import pretrained
from minimapnet.model.safetensors_files import WEIGHTS
from minimapnet.text.tokenizer import save as save_tokenizer

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

LOCK = ".lock"
RUN, STATE = "run.json", "state.safetensors"
FORMAT = 1  # of run.json and state.safetensors
KEPT = 2  # checkpoints of a run


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole: its folder, its step, and `about`, what `save` was given."""

    path: Path
    step: int
    about: dict

    def load_model(self, model) -> None:
        """Put the parameters into a model of the same config, to the last bit."""
        _, flat = pretrained.load(self.path, dtype=model.config.dtype)
        model.flat[...] = backend.to_device(flat)

    def states(self) -> dict[str, dict[str, numpy.ndarray]]:
        """Return the arrays that were saved, by part and name, on the host. Raises InputError for a file of another kind."""
        states = {}
        try:
            for key, array in load_file(self.path / STATE).items():
                part, name = key.split("/", 1)
                states.setdefault(part, {})[name] = array
        except (SafetensorError, ValueError) as error:
            raise InputError(f"the checkpoint {self.path} is damaged: {STATE} is of another kind ({error})") from error
        return states


def save(folder, step: int, model, tokenizer, states: dict[str, dict[str, numpy.ndarray]], about: dict) -> Path:
    """Write a checkpoint of `step` into a run's folder, remove all but the last two up to it, and return its path.

    states is {part: {name: host array}}; `about` must be what JSON can hold, with "seconds", "tokens" and "identity",
    a dict.

    Raises InputError where it cannot be written; the checkpoints before it then still are.
    """
    folder = Path(folder)
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    try:
        _delete(temporary)
        temporary.mkdir(parents=True)
        _write(temporary, step, model, tokenizer, states, about)
        if os.path.lexists(final):  # a damaged one, which an earlier one has been used for
            _remove(final)
        os.rename(temporary, final)
        _sync_folder(folder)
        for old in [path for number, path in _numbered(folder) if number <= step][:-KEPT]:
            _remove(old)
    except OSError as error:
        raise InputError(f"cannot write the checkpoint {final}: {error.strerror or error}") from error
    finally:
        _delete(temporary)
    return final


def newest(folder) -> Checkpoint | None:
    """Return the newest checkpoint of a run's folder that is whole, or None where there are none at all.

    One that is damaged, or that something else has made, is named in a line on stderr, and the one before it is tried.

    Raises InputError where there are some, and none is whole.
    """
    checkpoints = _numbered(Path(folder))
    for step, path in reversed(checkpoints):
        try:
            return Checkpoint(path, step, _checked(path, step))
        except InputError as error:
            tell(f"warning: {error}; the one before it is looked for")
    if checkpoints:
        raise InputError(f"no checkpoint in {folder} can be used: begin anew in another folder")
    return None


def read_run(path: Path) -> dict:
    """Return what a checkpoint's run.json holds, without a look at the other files.

    Raises InputError where it cannot be read, is of another version, or lacks what `save` writes.
    """
    run = read_json(path / RUN)
    if run.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this version of minimapnet")
    for name, fits in PARTS.items():
        value = run
        for key in name.split("."):
            value = value.get(key)
        if not fits(value):
            raise InputError(f"the checkpoint {path} is damaged: {RUN} has no {name} that can be used")
    return run


def exists(folder) -> bool:
    """Return whether a folder holds a run: at least one checkpoint, good or bad."""
    return bool(_numbered(Path(folder)))


def model_folder(path) -> Path:
    """Return the folder of the model in `path`: itself, or its newest checkpoint where it is a run's folder.

    Raises InputError where none of its checkpoints is whole.
    """
    checkpoint = newest(path)
    return Path(path) if checkpoint is None else checkpoint.path


def clear(folder) -> None:
    """Remove what writers that were killed have left behind; to be called by the only writer."""
    for pattern in (".step-*", ".log.*.jsonl"):
        for path in Path(folder).glob(pattern):
            _delete(path)


def _write(folder, step, model, tokenizer, states, about) -> None:
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    arrays = {f"{part}/{name}": numpy.asarray(a, order="C") for part, state in states.items() for name, a in state.items()}
    with written_whole(folder / STATE) as file:
        try:
            save_file(arrays, file)
        except SafetensorError as error:  # a full disk, say
            raise OSError(str(error)) from error
    files = {path.name: [path.stat().st_size, _digest(path)] for path in sorted(folder.iterdir())}
    run = {"format": FORMAT, "step": step, "about": about, "files": files}
    with written_whole(folder / RUN) as file:
        file.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    _sync_folder(folder)


def _checked(path: Path, step: int) -> dict:
    """Return a checkpoint's `about`. Raises InputError unless every file is as it was written."""
    run = read_run(path)
    if run["step"] != step:
        raise InputError(f"the checkpoint {path} is damaged: {RUN} is that of step {run['step']}")
    for name, wanted in run["files"].items():
        try:
            actual = [(path / name).stat().st_size, _digest(path / name)]
        except OSError as error:
            raise InputError(f"the checkpoint {path} is damaged: {name}: {error.strerror}") from error
        if actual != wanted:
            raise InputError(f"the checkpoint {path} is damaged: {name} is not what was written")
    return run["about"]


def _is_count(value) -> bool:
    return type(value) is int and _is_amount(value)


def _is_amount(value) -> bool:
    """Return whether a value is a number that time or tokens can be: not NaN, and no larger than a float can be."""
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _lists_files(value) -> bool:
    """Return whether a value lists a checkpoint's files by plain names, the two without which there is none among them."""
    return isinstance(value, dict) and {WEIGHTS, STATE} <= value.keys() and all(map(_is_plain, value))


def _is_plain(name: str) -> bool:
    return name.isprintable() and Path(name).name == name


PARTS = {  # of run.json, with what each must be
    "step": _is_count,
    "files": _lists_files,
    "about": lambda value: isinstance(value, dict),
    "about.identity": lambda value: isinstance(value, dict),
    "about.seconds": _is_amount,
    "about.tokens": _is_count,
}


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints of a folder, good or bad, by step."""
    if not folder.is_dir():
        return []
    matches = ((re.fullmatch(r"step-(\d{8,})", path.name), path) for path in folder.iterdir())
    return sorted((int(match.group(1)), path) for match, path in matches if match)


def _remove(path: Path) -> None:
    """Remove a checkpoint so that, whenever the process is killed, it is either whole or not there by its name."""
    hidden = path.with_name(f".{path.name}.old")
    _delete(hidden)
    os.rename(path, hidden)
    _delete(hidden)


def _delete(path: Path) -> None:
    """Delete a folder, or a file that has taken a folder's name, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk, where the system can be asked to."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def only_writer(folder: Path | None) -> Iterator[None]:
    """Make a run's folder, hold it against other processes, and clear away what writers that were killed have left.

    The system lets go of it when the process ends, however it ends. Without a folder there is nothing to hold.

    Raises InputError where another process holds it, and where it cannot be written to.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "wb")  # noqa: SIM115 - closed below, and apart from what the caller's own errors are
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror}; choose another") from error
    with lock:
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is training in {folder}: wait for it, or choose another folder") from None
        except OSError:  # a file system without locks
            pass
        clear(folder)
        yield
