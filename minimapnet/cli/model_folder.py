"""Folders that a user names: whether results can be written there, and the model and tokenizer that are there."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from minimapnet.errors import InputError
from minimapnet.model.bert import Bert
from minimapnet.text import tokenizer
from minimapnet.training import checkpoint


def check_writable(folder: Path) -> None:
    """Raise InputError now, not after minutes of work, where nothing can be written to `folder`. It leaves no trace."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room?")
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror}; choose another with --out") from error
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()


@dataclass(frozen=True)
class Found:
    """A model with its tokenizer, and the folder of their files: that of the newest checkpoint, where a run was named."""

    model: Bert
    tokenizer: Tokenizer
    folder: Path


def read_model(named: Path) -> Found:
    """Read the model and the tokenizer in a folder: ours or Hugging Face's, or the newest checkpoint of a run.

    Raises InputError where the model or the tokenizer is missing, damaged or of another kind, or the two do not fit.
    """
    folder = checkpoint.model_folder(named)
    model, pieces = Bert.from_pretrained(folder), read_tokenizer(folder)
    count, mask = tokenizer.id_bound(pieces), tokenizer.special_tokens(pieces).mask.id
    if count > model.config.vocab_size:
        raise InputError(
            f"the tokenizer in {folder} has ids for {count} pieces, the model only {model.config.vocab_size}: they "
            "do not belong together"
        )
    if mask != model.config.mask_token_id:
        raise InputError(
            f"[MASK] is {mask} to the tokenizer in {folder}, and {model.config.mask_token_id} to the model: they do not "
            "belong together"
        )
    return Found(model, pieces, folder)


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a model's folder. Raises InputError where there is none, or one that cannot be read."""
    file = tokenizer_file(folder)
    if file is None:
        raise InputError(f"{folder} has no tokenizer.json: put that of the model there")
    return tokenizer.read(file)


def tokenizer_file(folder: Path) -> Path | None:
    """Return the file of the tokenizer of a model's folder, or None where there is none."""
    return next((folder / name for name in ("tokenizer.json", "vocab.txt") if (folder / name).is_file()), None)
