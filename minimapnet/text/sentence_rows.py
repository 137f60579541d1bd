"""Sentences as rows of token ids, and the order in which training reads them. All of it is host data.

Axis letters: N sentences, B of them in a batch, T tokens of a row.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy
from tokenizers import Tokenizer

from minimapnet import backend

SORTED_BATCHES = 16
SHORTEST = 5  # tokens beside [CLS] and [SEP]: there is little to guess from in fewer


@dataclass(frozen=True)
class Rows:
    """One sentence a row: ids (N, T) of int32, padded, and lengths (N,), which count [CLS] and [SEP].

    The tokens that may be masked are those at 1 .. lengths - 2.
    """

    ids: numpy.ndarray
    lengths: numpy.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def maskable(self) -> numpy.ndarray:
        """The number of tokens of each row that may be masked (N,): all but [CLS] and [SEP]."""
        return self.lengths - 2

    def take(self, which) -> "Rows":
        """Give the rows `which` (B,), as narrow as the longest of them."""
        lengths = self.lengths[which]
        return Rows(self.ids[which, : lengths.max()], lengths)

    @property
    def attention_mask(self) -> numpy.ndarray:
        """1 at tokens and 0 at padding (N, T)."""
        return (numpy.arange(self.ids.shape[1]) < self.lengths[:, None]).astype(numpy.int8)


def rows(tokenizer: Tokenizer, sentences: Iterable[str], width: int) -> Rows:
    """Turn sentences into rows of at most `width` tokens.

    A sentence that is longer goes on in the next row. What has fewer than 5 tokens is left out.
    """
    cls, sep, pad = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]"))
    encodings = tokenizer.encode_batch(list(sentences), add_special_tokens=False)
    inner = width - 2
    pieces = [e.ids[i : i + inner] for e in encodings for i in range(0, len(e.ids), inner)]
    pieces = [piece for piece in pieces if len(piece) >= SHORTEST]
    ids = numpy.full((len(pieces), width), pad, numpy.int32)  # (N, T)
    for row, piece in zip(ids, pieces, strict=True):
        row[: len(piece) + 2] = [cls, *piece, sep]
    return Rows(ids, numpy.array([len(piece) + 2 for piece in pieces], numpy.int64))


def batch_of_step(lengths: numpy.ndarray, size: int, seed: int, step: int) -> numpy.ndarray:
    """Give the numbers (size,) of the sentences of training step `step`, which counts from 0; lengths (N,) are all rows'.

    Every epoch is a random order of all sentences, drawn from (seed, epoch), so a step's batch needs no step before it. From
    that order 16 batches at a time are sorted by length, so that a batch holds rows of like length and little padding, and
    come in random order.
    """
    stretch, place = divmod(step, SORTED_BATCHES)
    places = numpy.arange(stretch * SORTED_BATCHES * size, (stretch + 1) * SORTED_BATCHES * size)  # in the row of epochs
    epochs = places // len(lengths)
    which = numpy.empty(len(places), numpy.int64)
    for epoch in numpy.unique(epochs):
        order = backend.generator(seed, "sentences", epoch).permutation(len(lengths))
        which[epochs == epoch] = order[places[epochs == epoch] % len(lengths)]
    batches = which[numpy.argsort(lengths[which], kind="stable")].reshape(SORTED_BATCHES, size)
    turn = backend.generator(seed, "batches", stretch).permutation(SORTED_BATCHES)[place]
    return batches[turn]
