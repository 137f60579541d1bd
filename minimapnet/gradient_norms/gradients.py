"""Losses and gradients of masked batches: the two questions that a model is asked when it learns.

A batch is cut into parts (see `split_batch` of the backend's kernels), each of which goes forward and backward through the
whole model by itself, so that only one part's activations are alive at a time in each thread.
"""

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather
from minimapnet.gradient_norms.ghost_norm import GradientNormAccumulator
from minimapnet.model import parameters
from minimapnet.model.batch import masked_batch
from minimapnet.model.layers import Dropout


def token_losses(model, ids, positions, attention_mask=None, token_type_ids=None):
    """Return -log P(token | the sentence without its masked tokens) in nats for every masked position.

    ids (B, T) are the *unmasked* tokens, positions (B, K) those to mask, padded with -1; attention_mask (B, T) is 1 at
    tokens and 0 at padding -> (B, K) of the model's dtype on the device in use, 0 where positions are -1.

    Raises InputError for ids or positions out of range, sentences longer than the model, or a model that knows no [MASK].
    """
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    losses = backend.xp.zeros(numpy.shape(positions), model.config.dtype)  # (B, K)

    def work(where):
        part = batch.part(where)
        losses.reshape(-1)[backend.to_device(part.places)] = model.forward(part)[0]

    B, T = batch.sentences.inputs.shape
    backend.kernels.run([lambda where=where: work(where) for where in backend.kernels.split_batch(B, T)])
    return losses


def gradients(model, ids, positions, weights=None, attention_mask=None, token_type_ids=None, dropout_key=None, out=None):
    """Return the loss and its gradient with respect to every parameter.

    loss = (1/B) sum_b sum_j weights[b, j] * token_loss[b, j]; weights (B, K) are 1/k by default, with k the number of
    masked positions of the sentence. ids (B, T) are the *unmasked* tokens, positions (B, K) those to mask, padded with -1;
    attention_mask (B, T) is 1 at tokens and 0 at padding. `dropout_key` (seed, step) switches dropout on, with the
    probabilities of the model's config; a third part is the number of the first sentence, where the batch is part of a
    larger one. `out` is a flat buffer like the model's, into which the gradient is written; without it one is made.
    -> (float, {name: array} of the parameters' shapes, views of the buffer, on the device in use).

    Raises InputError as `token_losses` does, and for weights or `out` of another shape.
    """
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    dlosses = loss_weights(positions, weights, model.config.dtype)
    loss, views, _ = _forward_backward(model, batch, dlosses, dropout_key, out, norms=False)
    return loss, views


def gradients_and_norms(
    model, ids, positions, weights=None, attention_mask=None, token_type_ids=None, dropout_key=None, out=None
):
    """Return what `gradients` gives and, from the same pass, the norm of each sequence's gradient.

    -> (loss, {name: array}, norms (B,)). The norm is that of the sequence's own loss sum_j weights[b, j] * token_loss[b, j],
    without the batch's 1/B, as `sequence_gradient_norms` gives it. Arguments and errors as for `gradients`.
    """
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    dlosses = loss_weights(positions, weights, model.config.dtype)
    return _forward_backward(model, batch, dlosses, dropout_key, out, norms=True)


def _forward_backward(model, batch, dlosses, dropout_key, out, norms):
    if out is not None and (out.shape != model.flat.shape or out.dtype != model.flat.dtype):
        raise InputError(f"out must be a buffer like the model's, {model.flat.dtype} {model.flat.shape}")
    dlosses = backend.to_device(dlosses.reshape(-1)[batch.places])  # (N,)
    dropout = dropout_key and Dropout(model.config, *dropout_key)
    B, T = batch.sentences.inputs.shape
    parts = backend.kernels.split_batch(B, T)
    accumulators = [GradientAccumulator() for _ in range(backend.kernels.workers(len(parts)))]

    def work(number):
        where, accumulator = parts[number], accumulators[number % len(accumulators)]
        part, d = batch.part(where), dlosses[batch.tokens(where)]  # (N of the part,)
        losses, cache = model.forward(part, dropout)
        if norms:
            accumulator = GradientNormAccumulator(part.by_sentence, model.config.tie_word_embeddings, gradients=accumulator)
        model.backward(d, cache, accumulator)
        return losses @ d, sum(accumulator.squares.values()) if norms else None

    found = backend.kernels.run([lambda number=number: work(number) for number in range(len(parts))])
    flat = parameters.empty_flat(model.shapes, model.config.dtype) if out is None else out
    views = parameters.flat_views(flat, model.shapes)
    gather(accumulators, views, model.decoder_name)
    loss = float(sum(part_loss for part_loss, _ in found))
    if not norms:
        return loss, views, None
    return loss, views, (B * backend.xp.sqrt(backend.xp.concatenate([s for _, s in found]))).astype(model.config.dtype)


def loss_weights(positions, weights, dtype) -> numpy.ndarray:
    """Return each masked token's factor in the loss, (1/B) * weights[b, j] or (1/B) (1/k), as a host array (B, K)."""
    positions = backend.to_host(positions)
    if weights is None:
        masked = positions != -1
        weights = masked / numpy.maximum(masked.sum(axis=1, keepdims=True), 1)
    weights = backend.to_host(weights)
    if weights.shape != positions.shape:
        raise InputError(f"weights must be of the positions' shape {positions.shape}, not {weights.shape}")
    return (weights / len(positions)).astype(dtype)
