"""From the name of a text to rows that a model can be trained on: `load_corpus`."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer
from tqdm import tqdm

from minimapnet.errors import InputError
from minimapnet.files import written_whole
from minimapnet.text import parts, sources, tokens
from minimapnet.text import tokenizer as kinds
from minimapnet.text.batches import SHORTEST, PackedRows, SentenceRows, TokenRows
from minimapnet.text.sources import Source

VERSION = 2  # of cleaning, of the split and of the files in the cache: another version is another key
MIN_VOCAB_SIZE = 16
BAR = "{desc} {n_fmt} sentences [{elapsed}, {rate_fmt}]"


@dataclass(frozen=True)
class Corpus:
    """A text as a model sees it: its name, its tokenizer, and the rows of its three parts, which share no sentence."""

    name: str
    tokenizer: Tokenizer
    train: TokenRows
    validation: TokenRows
    test: TokenRows

    @property
    def vocab_size(self) -> int:
        """The number of tokens of the tokenizer."""
        return self.tokenizer.get_vocab_size()

    @property
    def pad_token_id(self) -> int:
        """The number of [PAD]."""
        return self.tokenizer.token_to_id("[PAD]")

    @property
    def mask_token_id(self) -> int:
        """The number of [MASK]."""
        return self.tokenizer.token_to_id("[MASK]")


def load_corpus(
    source: str | Path,
    cache: Path,
    tokenizer: str | Path = "wordpiece",
    vocab_size: int = kinds.VOCAB_SIZE,
    max_length: int = 64,
    packed: bool = True,
) -> Corpus:
    """Read a text, from the folder `cache` where it was read before with the same tokenizer.

    source: "python-docs", "grammar", a translation such as "kjv", or the path of a file or folder (see `sources.find`).
    tokenizer: "wordpiece", trained on the text's training part with at most `vocab_size` tokens; "characters", as many; or
    the path of a tokenizer.json or vocab.txt. With "wordpiece" each word of the grammar is one token, since its words are
    known.
    max_length: the length of a row, [CLS] counted; packed: rows full of text, else one sentence a row (see `batches`).

    However long the text, memory stays bounded: it is read block by block, and its tokens are memory-mapped files.

    Raises InputError for a text or tokenizer that cannot be used, text too short for one row of each part, rows too short,
    too small a vocabulary, and where `cache` cannot be written to.
    """
    fewest = 2 if packed else SHORTEST + 2
    if max_length < fewest:
        raise InputError(f"a row of {max_length} tokens is too short: at least {fewest} are needed")
    text_source = sources.find(source)
    chosen, written = prepared(text_source, Path(cache), tokenizer, vocab_size)
    make = PackedRows if packed else SentenceRows
    rows = {part: make(written[part], chosen, max_length) for part in parts.PARTS}
    if not all(rows.values()):
        counts = ", ".join(f"{len(part)} for {name}" for name, part in rows.items())
        raise InputError(
            f"{text_source.name} is too short: of {max_length} tokens a row it gives {counts}; each needs at least one"
        )
    return Corpus(text_source.name, chosen, **rows)


def whole_text(
    source: str | Path, cache: Path, tokenizer: str | Path, max_length: int, packed: bool
) -> tuple[str, TokenRows]:
    """Return the name of a text and the rows of all of it, by a tokenizer's file; arguments and cache as of `load_corpus`.

    Raises InputError for a text or tokenizer that cannot be used, text too short for a row, and where `cache` cannot be
    written to.
    """
    text_source, chosen = sources.find(source), kinds.read(tokenizer)
    folder = Path(cache) / f"whole-{_key(text_source.fingerprint, chosen.to_str())}"
    written = tokens.read(folder)
    if written is None:
        documents = _watched(text_source, "tokens")
        all_of_it = ((parts.TEST, s, i == len(some)) for _, some in documents for i, s in enumerate(some, 1))
        tokens.write(folder, all_of_it, chosen)
        written = tokens.read(folder)
    rows = written and (PackedRows if packed else SentenceRows)(written[parts.TEST], chosen, max_length)
    if not rows:
        raise InputError(f"{text_source.name} is too short: it gives no row of {max_length} tokens")
    return text_source.name, rows


def prepared(
    source: Source, cache: Path, tokenizer: str | Path, vocab_size: int
) -> tuple[Tokenizer, dict[str, tokens.Tokens]]:
    """Return the tokenizer and the tokens of each part, from the cache where it has them.

    Raises InputError as `load_corpus`.
    """
    survey = _once(source)
    chosen = _tokenizer(source, cache, str(tokenizer), vocab_size, survey)
    folder = cache / f"text-{_key(source.fingerprint, chosen.to_str())}"
    written = tokens.read(folder)
    if written is None:
        sentences = parts.shared_out(_watched(source, "tokens"), survey().held_out)
        tokens.write(folder, sentences, chosen)
        written = tokens.read(folder)
    if written is None:
        raise InputError(f"{folder} was damaged while it was written: try again, or choose another folder")
    return chosen, written


def _once(source: Source) -> Callable[[], parts.Survey]:
    """Return what surveys a source when it is first asked to: nothing needs that where all is in the cache."""

    @cache
    def survey():
        found = parts.survey(_watched(source, "reading"))
        if not found.sentences:
            raise InputError(f"{source.name} is empty")
        return found

    return survey


def _watched(source: Source, verb: str):
    """Return the source's documents, and show how many sentences went by, where somebody watches."""
    with tqdm(desc=f"{source.name}: {verb}", bar_format=BAR, disable=None, leave=False) as bar:
        for name, sentences in source.documents():
            yield name, sentences
            bar.update(len(sentences))


def _tokenizer(source: Source, cache: Path, kind: str, vocab_size: int, survey: Callable[[], parts.Survey]) -> Tokenizer:
    if kind not in ("wordpiece", "characters"):
        return kinds.read(kind)
    if kind == "wordpiece" and source.words is not None:
        return kinds.word_level(source.words)
    if vocab_size < MIN_VOCAB_SIZE:
        raise InputError(f"a vocabulary of {vocab_size} tokens is too small: {MIN_VOCAB_SIZE} are needed at least")
    file = cache / f"tokenizer-{_key(source.fingerprint, kind, vocab_size)}.json"
    with suppress(Exception):  # missing, or damaged from outside: the library has no narrower kind of error
        return Tokenizer.from_file(str(file))
    train = kinds.train_wordpiece if kind == "wordpiece" else kinds.characters
    if not survey().sample:
        raise InputError(f"{source.name} is too short: there is no sentence to train on")
    made = train(survey().sample, vocab_size)
    with written_whole(file) as temporary:
        temporary.write_text(made.to_str(pretty=True), encoding="utf-8")
    return made


def _key(*parts) -> str:
    """Return a name for what follows from `parts`, this version of ours, and the library's."""
    content = json.dumps([VERSION, tokenizers.__version__, *parts])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
