"""Losses and gradients of masked batches: the two questions that a model is asked when it learns.

A batch goes through the model part by part (see `model.batch.map_parts`), so that only one part's activations are alive at a
time in each thread.
"""

from typing import NamedTuple

import numpy

from minimapnet import backend
from minimapnet.backend import Array
from minimapnet.errors import InputError
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather
from minimapnet.gradient_norms.ghost_norm import GradientNormAccumulator
from minimapnet.model import parameters
from minimapnet.model.batch import MaskedBatch, map_parts, masked_batch
from minimapnet.model.bert import Bert
from minimapnet.model.layers import Dropout


def token_losses(model: Bert, ids, positions, attention_mask=None, token_type_ids=None) -> Array:
    """Return -log P(token | the sentence without its masked tokens) in nats for every masked position.

    ids (B, T) are the *unmasked* tokens, positions (B, K) those to mask, padded with -1; attention_mask (B, T) is 1 at
    tokens and 0 at padding -> (B, K) of the model's dtype on the device in use, 0 where positions are -1.

    Raises InputError for ids or positions out of range, sentences longer than the model, or a model that knows no [MASK].
    """
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    losses = backend.xp.zeros(numpy.shape(positions), model.config.dtype)  # (B, K)

    def work(part: MaskedBatch, _):
        losses.reshape(-1)[backend.to_device(part.mask_slots)] = model.forward(part)[0]

    map_parts(batch, work)
    return losses


def gradients(
    model: Bert,
    ids,
    positions,
    weights=None,
    attention_mask=None,
    token_type_ids=None,
    dropout_key=None,
    out=None,
    inputs=None,
) -> tuple[float, dict[str, Array]]:
    """Return the loss and its gradient with respect to every parameter.

    loss = (1/B) sum_b sum_j weights[b, j] * token_loss[b, j]; weights (B, K) are 1/k by default, with k the number of
    masked positions of the sentence. ids (B, T) are the *unmasked* tokens, positions (B, K) those to mask, padded with -1;
    attention_mask (B, T) is 1 at tokens and 0 at padding. `dropout_key` (seed, step) switches dropout on, with the
    probabilities of the model's config; a third part is the number of the first sentence, where the batch is part of a
    larger one. `out` is a flat buffer like the model's, into which the gradient is written; without it one is made.
    inputs (B, T) are the ids that the model reads where not every masked position is [MASK] (see `masks.replacement`).
    -> (float, {name: array} of the parameters' shapes, views of the buffer, on the device in use).

    Raises InputError as `token_losses` does, and for weights, `out` or `inputs` of another shape.
    """
    arguments = ids, positions, weights, attention_mask, token_type_ids, dropout_key, out, inputs
    loss, views, _ = _gradients(model, *arguments, norms=False)
    return loss, views


def gradients_and_norms(
    model: Bert,
    ids,
    positions,
    weights=None,
    attention_mask=None,
    token_type_ids=None,
    dropout_key=None,
    out=None,
    inputs=None,
) -> tuple[float, dict[str, Array], Array]:
    """Return what `gradients` returns and, from the same pass, the norm of each sequence's gradient.

    -> (loss, {name: array}, norms (B,)). The norm is that of the sequence's own loss sum_j weights[b, j] * token_loss[b, j],
    without the batch's 1/B, as `sequence_gradient_norms` returns it. Arguments and errors as for `gradients`.
    """
    arguments = ids, positions, weights, attention_mask, token_type_ids, dropout_key, out, inputs
    return _gradients(model, *arguments, norms=True)


def _gradients(model, ids, positions, weights, attention_mask, token_type_ids, dropout_key, out, inputs, norms: bool):
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids, inputs)
    dlosses = loss_weights(positions, weights, model.config.dtype)
    if out is not None and (out.shape != model.flat.shape or out.dtype != model.flat.dtype):
        raise InputError(f"out must be a buffer like the model's, {model.flat.dtype} {model.flat.shape}")
    dropout = Dropout(model.config, *dropout_key) if dropout_key else None
    result = backward_pass(model, batch, dlosses, norms=norms, dropout=dropout)
    flat = parameters.empty_flat(model.shapes, model.config.dtype) if out is None else out
    views = parameters.flat_views(flat, model.shapes)
    gather(result.accumulators, views, model.decoder_name)
    if not norms:
        return result.loss, views, None
    squares = sum(result.squares.values())  # (B,)
    return result.loss, views, (len(positions) * backend.xp.sqrt(squares)).astype(model.config.dtype)


class BackwardPass(NamedTuple):
    """The loss, squared gradient norms {layer or parameter: (B,)}, empty without norms, and the accumulators to gather."""

    loss: float
    squares: dict[str, Array]
    accumulators: list


def backward_pass(
    model: Bert,
    batch: MaskedBatch,
    dlosses: numpy.ndarray,
    *,
    gradients: bool = True,
    norms: bool = False,
    dropout: Dropout | None = None,
) -> BackwardPass:
    """Take a batch forward and backward: dlosses (B, K), a host array, are the loss's slopes by the masked tokens' losses.

    With `gradients` the accumulators hold the gradient for `gather`; with `norms` each sequence's squared norms are summed.
    """
    dlosses = backend.to_device(dlosses.reshape(-1)[batch.mask_slots])  # (N,)

    def work(part: MaskedBatch, accumulator):
        d = dlosses[batch.masked_tokens(part.sentences.rows)]  # (N of the part,)
        losses, cache = model.forward(part, dropout)
        if norms:
            accumulator = GradientNormAccumulator(part.by_sentence, model.config.tie_word_embeddings, accumulator)
        model.backward(d, cache, accumulator)
        return losses @ d, accumulator.squares if norms else {}

    results, accumulators = map_parts(batch, work, GradientAccumulator if gradients else None)
    loss = float(sum(part_loss for part_loss, _ in results))
    return BackwardPass(loss, concatenate_by_name([squares for _, squares in results]), accumulators)


def concatenate_by_name(tables: list[dict[str, Array]]) -> dict[str, Array]:
    """Return {name: the arrays of that name of all tables, one behind the other}."""
    return {name: backend.xp.concatenate([table[name] for table in tables]) for name in tables[0]}


def loss_weights(positions, weights, dtype: str) -> numpy.ndarray:
    """Return each masked token's factor in the loss, (1/B) * weights[b, j] or (1/B) (1/k), as a host array (B, K)."""
    positions = backend.to_host(positions)
    if weights is None:
        masked = positions != -1
        weights = masked / numpy.maximum(masked.sum(axis=1, keepdims=True), 1)
    weights = backend.to_host(weights)
    if weights.shape != positions.shape:
        raise InputError(f"weights must be of the positions' shape {positions.shape}, not {weights.shape}")
    return (weights / len(positions)).astype(dtype)
