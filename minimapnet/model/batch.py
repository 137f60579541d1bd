"""What a batch is to the model: checked on the host, moved to the device once, and taken through it part by part.

Axis letters: B sentences, T tokens, K places for masked positions in a row, N masked positions of the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy

from minimapnet import backend
from minimapnet.backend import Array
from minimapnet.errors import InputError


@dataclass(frozen=True)
class Sentences:
    """The model's input, without or with masks; the arrays are on the device.

    inputs (B, T) token ids; types (B, T) token types; bias (B, 1, 1, T) added to attention scores, 0 at tokens and hugely
    negative at padding, or None without padding; `rows` says which sentences of the whole batch these are.
    """

    inputs: Array
    types: Array
    bias: Array | None
    rows: slice

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.inputs.shape

    def part(self, rows: slice) -> "Sentences":
        """Return the sentences of a slice."""
        bias = None if self.bias is None else self.bias[rows]
        return replace(self, inputs=self.inputs[rows], types=self.types[rows], bias=bias, rows=rows)


@dataclass(frozen=True)
class MaskedBatch:
    """Sentences with masked positions, which are kept as three flat lists over the whole batch, sentence by sentence.

    token_index (N,) in range(B*T) and targets (N,), the tokens that were there, are on the device. mask_slots (N,) in
    range(B*K), the index of each in the caller's `positions` (of the whole batch), and starts (B+1,), the first of each
    sentence, are on the host; width is K.
    """

    sentences: Sentences
    token_index: Array
    targets: Array
    mask_slots: numpy.ndarray
    starts: numpy.ndarray
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.sentences.shape

    def masked_tokens(self, rows: slice) -> slice:
        """Return the masked tokens, as a slice of range(N), of a slice of the sentences."""
        return slice(int(self.starts[rows.start]), int(self.starts[rows.stop]))

    def by_sentence(self, values: Array) -> Array:
        """Sort values (N, C), one row for each masked token, by sentence: (B, K, C), zeros where there are fewer than K."""
        B = len(self.starts) - 1
        if len(values) == B * self.width:
            return values.reshape(B, self.width, -1)
        out = backend.xp.zeros((B * self.width, values.shape[1]), values.dtype)
        out[backend.to_device(self.mask_slots - self.sentences.rows.start * self.width)] = values
        return out.reshape(B, self.width, -1)

    def part(self, rows: slice) -> "MaskedBatch":
        """Return the batch of a slice of the sentences, its `mask_slots` still those of the whole."""
        tokens = self.masked_tokens(rows)
        return MaskedBatch(
            self.sentences.part(rows),
            self.token_index[tokens] - rows.start * self.shape[1],
            self.targets[tokens],
            self.mask_slots[tokens],
            self.starts[rows.start : rows.stop + 1] - self.starts[rows.start],
            self.width,
        )


def map_parts(batch, work: Callable, new_accumulator: Callable | None = None) -> tuple[list, list]:
    """Cut a batch into parts, call work(part, accumulator) on each side by side -> its results, and all accumulators.

    So only one part's activations are alive at a time in each thread. Each worker has an accumulator of its own, which
    `new_accumulator` makes (None without it); which part goes to which worker depends on the shapes alone.
    """
    parts = backend.kernels.split_batch(*batch.shape)
    workers = backend.kernels.workers(len(parts))
    accumulators = [new_accumulator() if new_accumulator else None for _ in range(workers)]

    def task(number: int):
        return work(batch.part(parts[number]), accumulators[number % workers])

    return backend.kernels.run([lambda number=number: task(number) for number in range(len(parts))]), accumulators


def sentence_batch(config, ids, attention_mask=None, token_type_ids=None) -> Sentences:
    """Check and move to the device: ids (B, T), attention_mask (B, T) of 0 and 1, token_type_ids (B, T).

    Raises InputError for ids or types out of range, sentences longer than the model, or one with nothing but padding.
    """
    ids = _checked_ids(config, ids)
    return _sentences(config, ids, _checked_mask(attention_mask, ids), token_type_ids)


def masked_batch(config, ids, positions, attention_mask=None, token_type_ids=None, inputs=None) -> MaskedBatch:
    """Check and mask: ids (B, T) are the unmasked tokens, positions (B, K) those to mask, -1 where there are fewer.

    inputs (B, T) are what the model reads, where that is not [MASK] at every masked position.

    Raises InputError as `sentence_batch` does, and for positions out of range, repeated, on padding, or none at all, and
    where the model knows no [MASK], or inputs differ from ids elsewhere.
    """
    if config.mask_token_id is None:
        raise InputError("the model knows no [MASK]: give BertConfig a mask_token_id, or from_pretrained mask_token_id=...")
    ids = _checked_ids(config, ids)
    positions = backend.to_host(positions)
    if positions.ndim != 2 or len(positions) != len(ids):
        raise InputError(f"positions must be of shape ({len(ids)}, masked), not {positions.shape}")
    mask_slots = numpy.flatnonzero(positions.reshape(-1) != -1)  # (N,)
    if not mask_slots.size:
        raise InputError("no position is masked: there is nothing to guess")
    sentence = mask_slots // positions.shape[1]  # (N,)
    position = backend.check_ids(positions.reshape(-1)[mask_slots], ids.shape[1], "masked positions")  # (N,)
    token_index = sentence * ids.shape[1] + position  # (N,)
    if len(numpy.unique(token_index)) < len(token_index):
        raise InputError("a position is masked twice in one sentence")
    mask = _checked_mask(attention_mask, ids)
    if mask is not None and not mask.reshape(-1)[token_index].all():
        raise InputError("a masked position lies on padding")
    if inputs is None:
        inputs = ids.copy()
        inputs.reshape(-1)[token_index] = config.mask_token_id
    else:
        inputs = _checked_inputs(config, inputs, ids, token_index)
    return MaskedBatch(
        _sentences(config, inputs, mask, token_type_ids),
        backend.to_device(token_index),
        backend.to_device(ids.reshape(-1)[token_index]),
        mask_slots,
        numpy.searchsorted(sentence, numpy.arange(len(ids) + 1)),
        positions.shape[1],
    )


def _sentences(config, ids: numpy.ndarray, mask: numpy.ndarray | None, token_type_ids) -> Sentences:
    """Move checked ids (B, T) and attention mask (B, T) to the device, with token types that are checked here."""
    types, bias = numpy.zeros_like(ids), None
    if token_type_ids is not None:
        types = backend.check_ids(token_type_ids, config.type_vocab_size, "token type ids")
        types = _same_shape(types, ids, "token_type_ids")
    if mask is not None and not mask.all():
        bias = numpy.where(mask, 0.0, numpy.finfo(config.dtype).min / 2).astype(config.dtype)[:, None, None, :]
        bias = backend.to_device(bias)  # (B, 1, 1, T)
    return Sentences(backend.to_device(ids), backend.to_device(types), bias, slice(0, len(ids)))


def _checked_ids(config, ids) -> numpy.ndarray:
    ids = backend.check_ids(ids, config.vocab_size, "token ids")
    if ids.ndim != 2 or 0 in ids.shape:
        raise InputError(f"token ids must be of shape (sentences, tokens), not {ids.shape}")
    if ids.shape[1] > config.max_position_embeddings:
        raise InputError(
            f"a sentence of {ids.shape[1]} tokens is longer than the model's {config.max_position_embeddings}; "
            "cut it or use a larger max_position_embeddings"
        )
    return ids


def _checked_inputs(config, inputs, ids: numpy.ndarray, token_index: numpy.ndarray) -> numpy.ndarray:
    inputs = _same_shape(backend.check_ids(inputs, config.vocab_size, "inputs"), ids, "inputs")
    if numpy.delete(inputs != ids, token_index).any():
        raise InputError("inputs differ from the ids where no position is masked")
    return inputs


def _checked_mask(attention_mask, ids: numpy.ndarray) -> numpy.ndarray | None:
    if attention_mask is None:
        return None
    mask = _same_shape(backend.to_host(attention_mask), ids, "attention_mask")
    if not ((mask == 0) | (mask == 1)).all():
        raise InputError("attention_mask must hold 1 at tokens and 0 at padding, nothing else")
    if not mask.any(axis=1).all():
        raise InputError(f"sentence {int((~mask.any(axis=1)).argmax())} of the batch is all padding")
    return mask


def _same_shape(array: numpy.ndarray, ids: numpy.ndarray, name: str) -> numpy.ndarray:
    if array.shape != ids.shape:
        raise InputError(f"{name} must be of the ids' shape {ids.shape}, not {array.shape}")
    return array
