"""How large a mask's gradient is, or may be: what pools and position proposals go by.

A *score* is a function (model, ids, positions, attention_mask) -> (N,) positive numbers, one for each row: ids (N, T) are
the unmasked tokens, positions (N, K) padded with -1, attention_mask (N, T) or None. A *position score* is a function
(model, ids, attention_mask, maskable) -> (B, T), positive where maskable. Either may give host or device arrays.

    score              costs, for each mask                            is
    exact_norm         a forward and a backward pass                   |g(M)|
    norm_from_tokens   the same and k - 1 more backward replicas       |g(M)| if the token gradients were orthogonal
    output_bound       a forward pass                                  the same from the decoder's part of the norm alone
    mean_loss          a forward pass                                  l(M), to compare with

    position score              is
    score_each_position(score)           the score of the mask of that position alone
    optimal_position_proposal   (`optimal.py`) the exact norm of that mask's gradient, over the sentence's sum

Axis letters: B sentences, T positions, K places for masked positions, N rows.
"""

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.gradients import token_losses
from minimapnet.gradient_norms.norms import sequence_gradient_norms, token_gradient_norms
from minimapnet.model.batch import masked_batch
from minimapnet.proposals.base import checked_batch

ROWS = 512  # masks of one position that are scored at once


def exact_norm(model, ids, positions, attention_mask=None):
    """Return |g(M)|, the norm of the gradient of the mask's loss, over all parameters -> (N,) of the model's dtype."""
    return sequence_gradient_norms(model, ids, positions, None, attention_mask)


def norm_from_tokens(model, ids, positions, attention_mask=None):
    """Return (1/k) sqrt(sum_i |g_i|^2) from the exact norms of the tokens' own gradients -> (N,) float64 on the host.

    It is |g(M)| where the token gradients are orthogonal; so it is at k = 1.
    """
    return _of_mask(token_gradient_norms(model, ids, positions, attention_mask), positions)


def output_bound(model, ids, positions, attention_mask=None):
    """Return (1/k) sqrt(sum_i b_i^2), b_i the tokens' `output_norm_bound` -> (N,) float64 on the host."""
    return _of_mask(output_norm_bound(model, ids, positions, attention_mask), positions)


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


def score_each_position(score):
    """Make a position score of a score: each maskable position is masked alone, so a sentence is n sentences.

    -> a function (model, ids, attention_mask=None, maskable=None) -> float64 (B, T) on the host, 0 where not maskable. ROWS
    masks at a time are scored, so memory does not grow with the batch.
    """

    def position_score(model, ids, attention_mask=None, maskable=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        attention_mask = None if attention_mask is None else backend.to_host(attention_mask)
        scores = numpy.zeros(ids.shape)
        sentences, places = numpy.nonzero(maskable)
        for start in range(0, len(places), ROWS):
            some, place = sentences[start : start + ROWS], places[start : start + ROWS]
            mask = None if attention_mask is None else attention_mask[some]
            scores[some, place] = backend.to_host(score(model, ids[some], place[:, None], mask))
        return scores

    return position_score


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

    def work(where):
        part = batch.part(where)
        _, (_, head_cache, residual) = model.forward(part)
        h, _ = head_cache[-1]  # (N, C), what the decoder was given; residual (N, V)
        product = (residual * residual).sum(axis=1) * (h * h).sum(axis=1)  # (N,)
        bounds.reshape(-1)[backend.to_device(part.places)] = backend.xp.sqrt(product)

    B, T = batch.sentences.inputs.shape
    backend.kernels.run([lambda where=where: work(where) for where in backend.kernels.split_batch(B, T)])
    return bounds
