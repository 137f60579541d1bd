"""Scores: how large a mask's gradient is, or may be. They are what proposals draw by.

    score              costs, for each mask                            is
    exact_norm         a forward and a backward pass                   |g(M)|
    norm_from_tokens   the same and k - 1 more backward replicas       |g(M)| if the token gradients were orthogonal
    output_bound       a forward pass                                  the same from the decoder's part of the norm alone
    mean_loss          a forward pass                                  l(M), to compare with

The one that learns, `mapnet.learner.MapNetScore`, costs a small network's pass over each sentence, however many its masks.

Axis letters: B sentences, T positions, K places for masked positions, M masks of a sentence, N rows, C channels,
V vocabulary.
"""

import functools
from collections.abc import Callable

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.gradients import token_losses
from minimapnet.gradient_norms.norms import sequence_gradient_norms, token_gradient_norms
from minimapnet.model.batch import MaskedBatch, map_parts, masked_batch
from minimapnet.proposals.base import Score, Scores, checked_batch, checked_scores

ROWS = 512  # masks of one position that are scored at once


class MaskScore(Score):
    """The score that a function gives each row: (model, ids (N, T), positions (N, K), attention_mask) -> positive (N,).

    ids are the unmasked tokens, positions are padded with -1, attention_mask is (N, T) or None; host or device arrays may
    come back. The function can still be called as it is.
    """

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)

    def __call__(self, model, ids, positions, attention_mask=None):
        return self.__wrapped__(model, ids, positions, attention_mask)

    def of_masks(self, model, ids, masks, attention_mask=None):
        B, M, K = masks.shape
        sentences = numpy.repeat(numpy.arange(B), M)  # (B*M,)
        mask = None if attention_mask is None else backend.to_host(attention_mask)[sentences]  # (B*M, T)
        values = self(model, ids[sentences], masks.reshape(B * M, K), mask)
        return Scores(checked_scores(values, (B * M,)).reshape(B, M))

    def of_positions(self, model, ids, maskable, attention_mask=None):
        return Scores(self.score_each_position(model, ids, attention_mask, maskable))

    def score_each_position(self, model, ids, attention_mask=None, maskable=None) -> numpy.ndarray:
        """Return the score of the mask of each maskable position alone -> float64 (B, T) on the host, 0 elsewhere.

        So a sentence is n sentences; ROWS masks at a time are scored, and memory does not grow with the batch.
        Raises InputError as `checked_batch` does.
        """
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        attention_mask = None if attention_mask is None else backend.to_host(attention_mask)
        scores = numpy.zeros(ids.shape)
        sentences, positions = numpy.nonzero(maskable)
        for start in range(0, len(positions), ROWS):
            sentence, position = sentences[start : start + ROWS], positions[start : start + ROWS]
            mask = None if attention_mask is None else attention_mask[sentence]
            scores[sentence, position] = backend.to_host(self(model, ids[sentence], position[:, None], mask))
        return scores


@MaskScore
def exact_norm(model, ids, positions, attention_mask=None):
    """Return |g(M)|, the norm of the gradient of the mask's loss, over all parameters -> (N,) of the model's dtype."""
    return sequence_gradient_norms(model, ids, positions, None, attention_mask)


@MaskScore
def norm_from_tokens(model, ids, positions, attention_mask=None):
    """Return (1/k) sqrt(sum_i |g_i|^2) from the exact norms of the tokens' own gradients -> (N,) float64 on the host.

    It is |g(M)| where the token gradients are orthogonal; so it is at k = 1.
    """
    return _of_mask(token_gradient_norms(model, ids, positions, attention_mask), positions)


@MaskScore
def output_bound(model, ids, positions, attention_mask=None):
    """Return (1/k) sqrt(sum_i b_i^2), b_i the tokens' `output_norm_bound` -> (N,) float64 on the host."""
    return _of_mask(output_norm_bound(model, ids, positions, attention_mask), positions)


@MaskScore
def mean_loss(model, ids, positions, attention_mask=None):
    """Return the mask's loss l(M) in nats -> (N,) float64 on the host. It says little about the norm."""
    losses = backend.to_host(token_losses(model, ids, positions, attention_mask)).astype(numpy.float64)  # (N, K)
    return losses.sum(axis=1) / _masked(positions)


def _of_mask(tokens, positions):
    """Return (1/k) sqrt(sum_i t_i^2) of numbers (N, K), 0 where padded -> (N,)."""
    tokens = backend.to_host(tokens).astype(numpy.float64)
    return numpy.sqrt((tokens * tokens).sum(axis=1)) / _masked(positions)


def _masked(positions):
    return (backend.to_host(positions) != -1).sum(axis=1)


def output_norm_bound(model, ids, positions, attention_mask=None, token_type_ids=None):
    """Return |softmax - onehot| * |h| for every masked position, h (C,) being the decoder's input there.

    It is the exact norm of the gradient of the decoder's weight alone, as if it were not tied, and so what the rest of the
    model adds is missing. One forward pass. Arguments as for `token_losses`; -> (B, K) of the model's dtype on the device in
    use, 0 where positions are -1.

    Source: Katharopoulos and Fleuret 2018, arXiv 1803.00942, whose bound on the norm is a constant times such a product.

    Raises InputError as `token_losses` does.
    """
    batch = masked_batch(model.config, ids, positions, attention_mask, token_type_ids)
    bounds = backend.xp.zeros(numpy.shape(positions), model.config.dtype)  # (B, K)

    def work(part: MaskedBatch, _):
        _, (_, head_cache, residual) = model.forward(part)
        h, _ = head_cache[-1]  # (N, C), the decoder's input; residual (N, V)
        product = (residual * residual).sum(axis=1) * (h * h).sum(axis=1)  # (N,)
        bounds.reshape(-1)[backend.to_device(part.mask_slots)] = backend.xp.sqrt(product)

    map_parts(batch, work)
    return bounds
