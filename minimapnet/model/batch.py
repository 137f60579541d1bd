"""What a masked batch is to the model: checked on the host, then moved to the device once.

Axis letters: B sentences, T tokens, K places for masked positions in a row, N masked positions of the batch.
"""

from dataclasses import dataclass, replace

import numpy

from minimapnet import backend
from minimapnet.errors import InputError


@dataclass(frozen=True)
class Sentences:
    """The model's input, without or with masks; the arrays lie on the device.

    inputs (B, T) token ids; types (B, T) token types; bias (B, 1, 1, T) added to attention scores, 0 at tokens and hugely
    negative at padding, or None without padding; `where` says which sentences of the whole batch these are.
    """

    inputs: object
    types: object
    bias: object
    where: slice

    def part(self, where: slice):
        """Return the sentences of a slice."""
        bias = None if self.bias is None else self.bias[where]
        return replace(self, inputs=self.inputs[where], types=self.types[where], bias=bias, where=where)


@dataclass(frozen=True)
class MaskedBatch:
    """Sentences with masked positions, which are kept as three flat lists over the whole batch, sentence by sentence.

    rows (N,) places in range(B*T), targets (N,) the tokens that were there, both on the device; places (N,) in range(B*K)
    where each stands in the caller's `positions`, and starts (B+1,) where each sentence's begin, both on the host; width K.
    """

    sentences: Sentences
    rows: object
    targets: object
    places: numpy.ndarray
    starts: numpy.ndarray
    width: int

    def tokens(self, where: slice) -> slice:
        """Return the masked tokens, as a slice of range(N), of a slice of the sentences."""
        return slice(int(self.starts[where.start]), int(self.starts[where.stop]))

    def by_sentence(self, rows):
        """Sort rows (N, C), one for each masked token, by sentence: (B, K, C), with zeros where there are fewer than K."""
        B = len(self.starts) - 1
        if len(rows) == B * self.width:
            return rows.reshape(B, self.width, -1)
        out = backend.xp.zeros((B * self.width, rows.shape[1]), rows.dtype)
        out[backend.to_device(self.places - self.sentences.where.start * self.width)] = rows
        return out.reshape(B, self.width, -1)

    def part(self, where: slice):
        """Return the batch of some of the sentences, its `places` still those of the whole."""
        tokens = self.tokens(where)
        length = self.sentences.inputs.shape[1]
        return MaskedBatch(
            self.sentences.part(where),
            self.rows[tokens] - where.start * length,
            self.targets[tokens],
            self.places[tokens],
            self.starts[where.start : where.stop + 1] - self.starts[where.start],
            self.width,
        )


def check_sentences(config, ids, attention_mask=None, token_type_ids=None) -> Sentences:
    """Check ids (B, T), attention_mask (B, T) of 0 and 1 and token_type_ids (B, T); see `Sentences`.

    Raises InputError for ids or types out of range, sentences longer than the model, or one with nothing but padding.
    """
    ids = backend.check_ids(ids, config.vocab_size, "token ids")
    if ids.ndim != 2 or 0 in ids.shape:
        raise InputError(f"token ids must be of shape (sentences, tokens), not {ids.shape}")
    if ids.shape[1] > config.max_position_embeddings:
        raise InputError(
            f"a sentence of {ids.shape[1]} tokens is longer than the model's {config.max_position_embeddings}; "
            "cut it or use a larger max_position_embeddings"
        )
    types = numpy.zeros_like(ids)
    if token_type_ids is not None:
        types = backend.check_ids(token_type_ids, config.type_vocab_size, "token type ids")
        types = _same_shape(types, ids, "token_type_ids")
    bias = None
    if attention_mask is not None:
        mask = _same_shape(backend.to_host(attention_mask), ids, "attention_mask")
        if not ((mask == 0) | (mask == 1)).all():
            raise InputError("attention_mask must hold 1 at tokens and 0 at padding, nothing else")
        if not mask.any(axis=1).all():
            raise InputError(f"sentence {int((~mask.any(axis=1)).argmax())} of the batch is all padding")
        if not mask.all():
            bias = numpy.where(mask, 0.0, numpy.finfo(config.dtype).min / 2).astype(config.dtype)[:, None, None, :]
            bias = backend.to_device(bias)  # (B, 1, 1, T)
    return Sentences(backend.to_device(ids), backend.to_device(types), bias, slice(0, len(ids)))


def masked_batch(config, ids, positions, attention_mask=None, token_type_ids=None) -> MaskedBatch:
    """Check and mask: ids (B, T) are the unmasked tokens, positions (B, K) those to mask, -1 where there are fewer.

    Raises InputError as `check_sentences` does, and for positions out of range, repeated, on padding, or none at all, and
    where the model knows no [MASK].
    """
    if config.mask_token_id is None:
        raise InputError("the model knows no [MASK]: give BertConfig a mask_token_id, or from_pretrained mask_token_id=...")
    ids = backend.check_ids(ids, config.vocab_size, "token ids")
    positions = backend.to_host(positions)
    if positions.ndim != 2 or len(positions) != len(ids):
        raise InputError(f"positions must be of shape ({len(ids)}, masked), not {positions.shape}")
    places = numpy.flatnonzero(positions.reshape(-1) != -1)  # (N,)
    if not places.size:
        raise InputError("no position is masked: there is nothing to guess")
    sentence = places // positions.shape[1]  # (N,)
    position = backend.check_ids(positions.reshape(-1)[places], ids.shape[1], "masked positions")  # (N,)
    rows = sentence * ids.shape[1] + position  # (N,)
    if len(numpy.unique(rows)) < len(rows):
        raise InputError("a position is masked twice in one sentence")
    if attention_mask is not None:
        mask = _same_shape(backend.to_host(attention_mask), ids, "attention_mask")
        if not mask.reshape(-1)[rows].all():
            raise InputError("a masked position lies on padding")
    targets = ids.reshape(-1)[rows]  # (N,)
    inputs = ids.copy()
    inputs.reshape(-1)[rows] = config.mask_token_id
    return MaskedBatch(
        check_sentences(config, inputs, attention_mask, token_type_ids),
        backend.to_device(rows),
        backend.to_device(targets),
        places,
        numpy.searchsorted(sentence, numpy.arange(len(ids) + 1)),
        positions.shape[1],
    )


def _same_shape(array, ids, name):
    if array.shape != ids.shape:
        raise InputError(f"{name} must be of the ids' shape {ids.shape}, not {array.shape}")
    return array
