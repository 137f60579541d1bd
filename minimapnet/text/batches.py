"""Rows of token ids, and the order in which training reads them. All of it is host data.

A row begins with [CLS]. Packed rows are full of text: a part's tokens one after the other, cut into pieces of equal length,
with [SEP] behind each document; there is no padding, and a row may begin and end within a sentence. Or a row is one sentence
or one line with [SEP] behind it, and shorter ones are padded.

Axis letters: N rows, B of them in a batch, T tokens of a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy
from tokenizers import Tokenizer

from minimapnet import backend
from minimapnet.text.tokenizer import special_tokens
from minimapnet.text.tokens import Tokens, growing, mapped

SORTED_BATCHES = 16
SHORTEST = 5  # tokens of a sentence beside [CLS] and [SEP]: there is little to guess from in fewer
SHORTEST_LINE = 2  # tokens of a line: it may be a word or a name by characters
SPANS_TOGETHER = 2**16  # sentences that are looked at together
ROUNDS = 6  # of the shuffle


@dataclass(frozen=True)
class Batch:
    """Some rows: ids (B, T) int64, attention_mask (B, T) int8, maskable (B, T) bool: all but [CLS], [SEP] and [PAD]."""

    ids: numpy.ndarray
    attention_mask: numpy.ndarray
    maskable: numpy.ndarray


class TokenRows(ABC):
    """The rows of one part of a text, read from a memory map when they are asked for."""

    fewest_tokens: int  # that a row may be long

    def __init__(self, tokens: numpy.ndarray, tokenizer: Tokenizer):
        self._tokens = tokens
        special = special_tokens(tokenizer)
        self._cls, self._sep, self._pad = special.cls.id, special.sep.id, special.pad.id

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def lengths(self) -> numpy.ndarray:
        """The number of tokens of each row, int64 (N,), [CLS] and [SEP] counted."""

    @abstractmethod
    def _spans(self, which: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return where the text of rows `which` (B,) starts among the tokens, and how many tokens it has, both (B,)."""

    _closed = 0  # 1 where [SEP] is behind each row's text

    def batch(self, which) -> Batch:
        """Return the rows `which` (B,), as wide as the longest of them."""
        starts, counts = self._spans(numpy.asarray(which, numpy.int64))
        width = int(counts.max(initial=0))
        places = numpy.arange(width)
        inside = places < counts[:, None]
        text = self._tokens[numpy.where(inside, starts[:, None] + places, 0)]
        ids = numpy.full((len(counts), 1 + width + self._closed), self._pad, numpy.int64)  # (B, T)
        ids[:, 0] = self._cls
        ids[:, 1 : 1 + width][inside] = text[inside]
        if self._closed:
            ids[numpy.arange(len(ids)), 1 + counts] = self._sep
        attention_mask = numpy.arange(ids.shape[1]) < (1 + counts + self._closed)[:, None]
        maskable = attention_mask & ~numpy.isin(ids, (self._cls, self._sep, self._pad))
        return Batch(ids, attention_mask.astype(numpy.int8), maskable)


class PackedRows(TokenRows):
    """Rows of exactly `max_length` tokens. What is left at the end of a part and fills no row is left out."""

    fewest_tokens = 3  # of two tokens some rows would be [CLS] and [SEP]

    def __init__(self, part: Tokens, tokenizer: Tokenizer, max_length: int):
        super().__init__(part.tokens, tokenizer)
        self._width = max_length - 1

    def __len__(self) -> int:
        return len(self._tokens) // self._width

    @property
    def lengths(self) -> numpy.ndarray:
        return numpy.broadcast_to(numpy.int64(self._width + 1), len(self))

    def _spans(self, which):
        return which * self._width, numpy.full(len(which), self._width)


class SentenceRows(TokenRows):
    """A sentence a row, of at most `max_length` tokens.

    A sentence that is longer goes on in the next row. What has fewer than 5 tokens is left out.
    """

    _closed = 1
    shortest, fewest_tokens = SHORTEST, SHORTEST + 2

    def __init__(self, part: Tokens, tokenizer: Tokenizer, max_length: int):
        super().__init__(part.tokens, tokenizer)
        self._rows = _cut(part, max_length - 2, self.shortest)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def lengths(self) -> numpy.ndarray:
        return self._rows[:, 1]

    def _spans(self, which):
        starts, lengths = self._rows[which].T
        return starts, lengths - 2


class GivenRows(TokenRows):
    """A text a row, each given by its token ids (at least one), as `SentenceRows` has them: [CLS] before, [SEP] behind."""

    _closed = 1

    def __init__(self, texts: Sequence[Sequence[int]], tokenizer: Tokenizer):
        super().__init__(numpy.array([token for text in texts for token in text], numpy.int64), tokenizer)
        self._counts = numpy.array([len(text) for text in texts], numpy.int64)

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def lengths(self) -> numpy.ndarray:
        return self._counts + 2

    def _spans(self, which):
        return (numpy.cumsum(self._counts) - self._counts)[which], self._counts[which]


class LineRows(SentenceRows):
    """A line a row, as `SentenceRows`; what has fewer than 2 tokens is left out."""

    shortest, fewest_tokens = SHORTEST_LINE, SHORTEST_LINE + 2


def _cut(part: Tokens, width: int, shortest: int) -> numpy.ndarray:
    """Return where the text of each row starts, and the row's length (N, 2), memory-mapped from a file beside the tokens."""
    file = part.folder / f"{part.part}-rows-{width}-{shortest}.npy"
    with suppress(OSError, ValueError):
        return mapped(file)
    with growing(file, numpy.int64, (2,)) as rows:
        for first in range(0, len(part.sentences), SPANS_TOGETHER):
            starts, counts = part.sentences[first : first + SPANS_TOGETHER].T
            pieces = -(-counts // width)
            sentence = numpy.repeat(numpy.arange(len(counts)), pieces)
            before = (numpy.arange(len(sentence)) - numpy.repeat(pieces.cumsum() - pieces, pieces)) * width
            inner = numpy.minimum(counts[sentence] - before, width)
            rows.add(numpy.stack([starts[sentence] + before, inner + 2], axis=1)[inner >= shortest])
    return mapped(file)


def rows_of_step(rows: TokenRows, size: int, seed: int, step: int) -> numpy.ndarray:
    """Return the numbers int64 (size,) of the rows of training step `step`, which counts from 0.

    Every epoch is another order of all rows that follows from (seed, epoch), so a step's rows need no step before it. From
    that order 16 steps at a time are sorted by length, so that rows of like length share a step with little padding, and
    come in random order.
    """
    stretch, place = divmod(step, SORTED_BATCHES)
    turn = backend.generator(seed, "batches", stretch).permutation(SORTED_BATCHES)[place]
    return _sorted_steps(rows, size, seed, stretch)[turn].copy()


@lru_cache(4)  # the steps of a stretch come one after the other
def _sorted_steps(rows: TokenRows, size: int, seed: int, stretch: int) -> numpy.ndarray:
    """Return the rows of 16 steps (16, size), sorted by length."""
    places = numpy.arange(stretch * SORTED_BATCHES * size, (stretch + 1) * SORTED_BATCHES * size)  # in the row of epochs
    epochs = places // len(rows)
    which = numpy.concatenate([shuffled(places[epochs == e] % len(rows), len(rows), seed, e) for e in numpy.unique(epochs)])
    return which[numpy.argsort(rows.lengths[which], kind="stable")].reshape(SORTED_BATCHES, size)


def shuffled(places: numpy.ndarray, count: int, seed: int, epoch: int) -> numpy.ndarray:
    """Return what is at `places`, int64, in an order of the numbers 0 .. count - 1 that follows from (seed, epoch).

    It takes no memory for the order, however many rows there are: a Feistel network over the next power of four, whose
    rounds mix by the finalizer of SplitMix64 with random keys, is walked until it arrives below `count` (Black and Rogaway
    2002, Ciphers with arbitrary finite domains).
    """
    half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
    keys = backend.generator(seed, "rows", epoch).integers(2**64, size=ROUNDS, dtype=numpy.uint64)
    numbers = numpy.array(places, numpy.uint64)
    outside = numpy.ones(numbers.shape, bool)
    while outside.any():
        numbers[outside] = _feistel(numbers[outside], numpy.uint64(half), keys)
        outside = numbers >= count
    return numbers.astype(numpy.int64)


def _feistel(numbers: numpy.ndarray, half: numpy.uint64, keys: numpy.ndarray) -> numpy.ndarray:
    """Permute the numbers below 4**half, uint64: each round the two halves of the bits change places, and one is masked."""
    low = (numpy.uint64(1) << half) - numpy.uint64(1)
    left, right = numbers >> half, numbers & low
    for key in keys:
        left, right = right, left ^ (_mixed(right + key) & low)
    return (left << half) | right


def _mixed(numbers: numpy.ndarray) -> numpy.ndarray:
    """Mix 64 bits so that each depends on all (Steele, Lea and Flood 2014, SplitMix64); products wrap around."""
    numbers = (numbers ^ (numbers >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> numpy.uint64(31))


def unigram_entropy(train: TokenRows, judged: TokenRows, vocab_size: int) -> float:
    """Return the mean of -log P(token) in nats over the maskable tokens of `judged`, P being the tokens' shares in `train`.

    It is the loss of a model that knows how often each token occurs and ignores context. Every token is counted once more
    than it occurs, so that none has probability zero.
    """
    counts = 1 + _counts(train, vocab_size)
    occurring = _counts(judged, vocab_size)
    return float(-(numpy.log(counts / counts.sum()) * occurring).sum() / occurring.sum())


def _counts(rows: TokenRows, vocab_size: int) -> numpy.ndarray:
    """Return how often each token is at a maskable place (V,)."""
    counts = numpy.zeros(vocab_size, numpy.int64)
    for first in range(0, len(rows), 1024):
        batch = rows.batch(numpy.arange(first, min(first + 1024, len(rows))))
        counts += numpy.bincount(batch.ids[batch.maskable], minlength=vocab_size)
    return counts
