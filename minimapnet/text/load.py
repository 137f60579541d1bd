"""From the name of a text to rows that a model can be trained on: `load_corpus`."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy
import tokenizers
from tokenizers import Tokenizer

from minimapnet.errors import InputError, tell
from minimapnet.files import read_text, written_whole
from minimapnet.progress import progress
from minimapnet.special_tokens import SpecialTokens
from minimapnet.text import parts, sources, tokens
from minimapnet.text import tokenizer as kinds
from minimapnet.text.batches import LineRows, PackedRows, SentenceRows, TokenRows
from minimapnet.text.sources import Source

VERSION = 3  # of cleaning, of the split and of the files in the cache: another version is another key
MIN_VOCAB_SIZE = 16
MUCH_UNKNOWN, MOST_UNKNOWN = 0.05, 0.9  # of a text's tokens that are [UNK], for a warning and for a refusal
ADVICE = "use a tokenizer made from this text (wordpiece or characters, with more tokens), or one for its language"
LAYOUTS: dict[str, type[PackedRows] | type[SentenceRows]] = {
    "packed": PackedRows,
    "sentences": SentenceRows,
    "lines": LineRows,
}
BAR = "{desc} {n_fmt} sentences [{elapsed}, {rate_fmt}]"


@dataclass(frozen=True)
class Corpus:
    """A text as a model sees it: its name, its tokenizer, and the rows of its three parts, which share no sentence."""

    name: str
    tokenizer: Tokenizer
    train: TokenRows
    validation: TokenRows
    test: TokenRows
    unknown_share: float  # of the text's tokens that are [UNK]

    @cached_property
    def vocab_size(self) -> int:
        """The size of the vocabulary: the tokenizer's largest id plus 1."""
        return kinds.id_bound(self.tokenizer)

    @cached_property
    def special(self) -> SpecialTokens:
        """The tokenizer's special tokens."""
        return kinds.special_tokens(self.tokenizer)

    @cached_property
    def never_at_random(self) -> numpy.ndarray:
        """The ids that are never put in at random: of special tokens, and of none."""
        return kinds.never_at_random(self.tokenizer)

    @property
    def pad_token_id(self) -> int:
        """The number of [PAD]."""
        return self.special.pad.id

    @property
    def mask_token_id(self) -> int:
        """The number of [MASK]."""
        return self.special.mask.id


def load_corpus(
    source: str | Path,
    cache: Path,
    tokenizer: str | Path = "wordpiece",
    vocab_size: int = kinds.VOCAB_SIZE,
    max_length: int = 64,
    layout: str = "packed",
    validation: str | Path | None = None,
    field: str = "text",
) -> Corpus:
    """Read a text, from the folder `cache` where it was read before with the same tokenizer.

    source: "python-docs", "grammar", a translation such as "kjv", or the path of a file or folder (see `sources.find`); or
    "-", standard input, of which a copy is kept in `cache`.
    tokenizer: "wordpiece", trained on the text's training part with at most `vocab_size` tokens; "characters", as many; or
    the path of a tokenizer.json or vocab.txt. With "wordpiece" each word of the grammar is one token, since its words are
    known.
    max_length: the length of a row, [CLS] counted. layout: "packed", rows full of text; "sentences", or "lines", one of them
    a row (see `batches`).
    validation: another text, which is the validation part then, and of which no sentence is trained on; what would have been
    validated on of the first is. field: the one of a .jsonl that is read.

    However long the text, memory stays bounded: it is read block by block, and its tokens are memory-mapped files.

    Raises InputError for a text or tokenizer that cannot be used, text too short for one row of each part or nine tenths of
    which are [UNK], rows too short, too small a vocabulary, and where `cache` cannot be written to.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
    rows_of = LAYOUTS[layout]
    if max_length < rows_of.fewest_tokens:
        raise InputError(f"a row of {max_length} tokens is too short: at least {rows_of.fewest_tokens} are needed")
    find = partial(sources.find, by_lines=layout == "lines", field=field)
    text_source = find(sources.kept(source, Path(cache)))
    if validation is not None:
        text_source = text_source.validated_on(find(sources.kept(validation, Path(cache))))
    chosen, written = prepared(text_source, Path(cache), tokenizer, vocab_size)
    rows = {part: rows_of(written[part], chosen, max_length) for part in parts.PARTS}
    if not all(rows.values()):
        raise _too_short(text_source.name, written, rows, layout, max_length)
    return Corpus(text_source.name, chosen, **rows, unknown_share=_unknown_share(text_source.name, written.values()))


def _unknown_share(name: str, written: Iterable[tokens.Tokens]) -> float:
    """Return the share of a text's tokens that are [UNK]. Raises InputError where there is hardly anything else."""
    share = sum(part.unknown for part in written) / max(1, sum(part.text for part in written))
    if share > MOST_UNKNOWN:
        raise InputError(f"{share:.0%} of the tokens of {name} are [UNK]: its characters are not the tokenizer's; {ADVICE}")
    return share


def warn_of_unknown(text: Corpus) -> None:
    """Tell the user where much of a text is [UNK], which a model learns to guess without having learnt anything."""
    if text.unknown_share > MUCH_UNKNOWN:
        tell(
            f"warning: {text.unknown_share:.1%} of the tokens of {text.name} are [UNK], which the model will guess; {ADVICE}"
        )


def _too_short(name: str, written: dict[str, tokens.Tokens], rows: Mapping[str, TokenRows], layout: str, max_length: int):
    """Return the error that says what was found, and what can be done."""
    samples = "lines" if layout == "lines" else "sentences"
    found = "; ".join(
        f"{part}: {len(written[part].sentences):,} {samples}, {len(written[part].tokens):,} tokens, {len(rows[part]):,} rows"
        for part in parts.PARTS
    )
    others = " or ".join(f"--layout {other}" for other in LAYOUTS if other != layout)
    return InputError(
        f"{name} is too short: each part needs a row of {max_length} tokens ({found}); give more text (100 "
        f"different {samples} or more), a smaller --max-length, or {others}"
    )


def whole_text(
    source: str | Path, cache: Path, tokenizer: str | Path, max_length: int, layout: str = "packed", field: str = "text"
) -> tuple[str, TokenRows]:
    """Return the name of a text and the rows of all of it, by a tokenizer's file; arguments and cache as of `load_corpus`.

    Raises InputError for a text or tokenizer that cannot be used, text too short for a row or nine tenths [UNK],
    and where `cache` cannot be written to.
    """
    text_source = sources.find(sources.kept(source, Path(cache)), layout == "lines", field)
    chosen = kinds.read(tokenizer)
    folder = Path(cache) / f"whole-{_key(text_source.fingerprint, chosen.to_str())}"
    written = tokens.read(folder)
    if written is None:
        documents = _watched(text_source, "tokens")
        all_of_it = ((parts.TEST, s, i == len(samples)) for _, samples in documents for i, s in enumerate(samples, 1))
        tokens.write(folder, all_of_it, chosen)
        written = tokens.read(folder)
    rows = written and LAYOUTS[layout](written[parts.TEST], chosen, max_length)
    if not rows:
        raise InputError(f"{text_source.name} is too short: it gives no row of {max_length} tokens")
    _unknown_share(text_source.name, written.values())
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
        sentences = parts.shared_out(partial(_watched, source, "tokens"), survey(), source.validation)
        tokens.write(folder, sentences, chosen)
        written = tokens.read(folder)
    if written is None:
        raise InputError(f"{folder} was damaged while it was written: try again, or choose another folder")
    return chosen, written


def _once(source: Source) -> Callable[[], parts.Survey]:
    """Return what surveys a source when it is first asked to: nothing needs that where all is in the cache."""

    @cache
    def survey():
        found = parts.survey(partial(_watched, source, "reading"), source.validation)
        if not found.sentences:
            raise InputError(f"{source.name} is empty")
        return found

    return survey


def _watched(source: Source, verb: str):
    """Return the source's documents, and show how many sentences went by, where somebody watches."""
    with progress(desc=f"{source.name}: {verb}", bar_format=BAR, leave=False) as bar:
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
        return Tokenizer.from_str(read_text(file))
    train = kinds.train_wordpiece if kind == "wordpiece" else kinds.characters
    if not survey().sample:
        raise InputError(
            f"{source.name} is too short: it has {survey().sentences:,} sentences or lines, and none is left to train on; "
            "give 100 different ones or more"
        )
    made = train(list(survey().sample.values()), vocab_size)
    with written_whole(file) as temporary:
        temporary.write_text(made.to_str(pretty=True), encoding="utf-8")
    return made


def _key(*parts) -> str:
    """Return a name for what follows from `parts`, this version of ours, and the library's."""
    content = json.dumps([VERSION, tokenizers.__version__, *parts])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
