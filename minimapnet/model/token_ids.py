"""Which ids a pretrained folder's [MASK] and [PAD] have: from config.json, or from the files of its tokenizer."""

from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.model.pretrained_files import CONFIG, read_json

USUAL = {"mask_token": "[MASK]", "pad_token": "[PAD]"}


def token_id(folder: Path, config: dict, token: str, given: int | None) -> int | None:
    """Give the id of `token` ("mask_token" or "pad_token"), or None where nobody knows it.

    What the folder says (its config.json, read as `config`, else its tokenizer's files) comes first, then what the caller
    has `given`.

    Raises InputError where the two contradict each other, or a file cannot be read.
    """
    found, where = config.get(f"{token}_id"), CONFIG
    if found is None:
        found, where = _from_tokenizer(folder, token)
    if found is None:
        return given
    if isinstance(found, bool) or not isinstance(found, int):
        raise InputError(f"{folder / where} gives {token}_id {found!r}, which is not a whole number")
    if given not in (None, found):
        raise InputError(f"{token}_id {given} was given, but {folder / where} says {found}; leave it out, or mend the file")
    return found


def _from_tokenizer(folder: Path, token: str) -> tuple[int | None, str]:
    """Give the id that the tokenizer's files have for the token, and the name of the file that says so."""
    spelling = _spelling(folder, token)
    for name, ids in (("tokenizer.json", _ids_of_tokenizer_json), ("vocab.txt", _ids_of_vocab_txt)):
        if (folder / name).is_file():
            found = ids(folder / name).get(spelling)
            if found is not None:
                return found, name
    return None, ""


def _spelling(folder: Path, token: str) -> str:
    """Give the token as the tokenizer writes it, "[MASK]" where no file says otherwise."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            entry = read_json(folder / name).get(token)
            spelling = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(spelling, str):
                return spelling
    return USUAL[token]


def _ids_of_tokenizer_json(path: Path) -> dict[str, int]:
    tokenizer = read_json(path)
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = dict(vocabulary) if isinstance(vocabulary, dict) else {}
    for entry in added if isinstance(added, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("content"), str):
            ids[entry["content"]] = entry.get("id")
    return ids


def _ids_of_vocab_txt(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: tokens may be exotic line breaks
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return {line: number for number, line in enumerate(lines)}
