"""The best that any proposal can do: q* proportional to p(M) |g(M)|, which has the least second moment, (E_p |g|)^2.

Its masks' gradients are all computed first, so it is a yardstick, and no way to train. With q* in hand a proposal q's second
moment over the least one, E_q[w^2 |g|^2] / (E_p |g|)^2 with w = p/q, is sum_M q*(M)^2 / q(M): 1 + chi^2(q* || q).

Axis letters: B sentences, T positions, S masks of a sentence, K places for masked positions.
"""

import math

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.base import all_masks, indicators
from minimapnet.masks.conditional_bernoulli import ConditionalBernoulli
from minimapnet.proposals.base import checked_batch, sizes
from minimapnet.proposals.scores import exact_norm

MOST_GRADIENTS = 20_000  # masks of a batch whose gradients' norms are computed one by one


def optimal_position_proposal(model, ids, attention_mask=None, maskable=None) -> numpy.ndarray:
    """Return q* of every sentence for masks of one position -> float64 (B, T) on the host, 0 where not maskable.

    ids (B, T) are the *unmasked* tokens; maskable bool (B, T) says where a mask may fall, by default where attention_mask
    (B, T) is 1, or everywhere. A position's probability is proportional to the exact norm of the gradient when it is masked
    alone, which costs n forward and backward passes for a sentence of n maskable positions; memory is bounded.

    Raises InputError as `token_gradient_norms` does, for a sentence with nothing to mask, and for one whose norms are not
    finite or all zero.
    """
    norms = exact_norm.score_each_position(model, ids, attention_mask, maskable)  # (B, T)
    return _normalised(norms, axis=1)


def optimal_mask_proposal(model, ids, k, attention_mask=None, maskable=None) -> tuple[numpy.ndarray, numpy.ndarray]:
    """List all masks of k positions and q* of every sentence -> masks int64 (S, B, K), q float64 (S, B), on the host.

    Arguments as for `optimal_position_proposal`; k is a number, one for each sentence, or a share (a float below 1). Masks
    are in lexicographic order. Sentences with fewer than S masks have rows of -1 at the end, with q = 0; masks of fewer than
    K positions are padded with -1. A mask's loss has the weights 1/k, and its gradient is computed by itself.

    Raises InputError as `optimal_position_proposal` does, and for more than MOST_GRADIENTS masks in the batch.
    """
    ids, maskable = checked_batch(ids, maskable, attention_mask)
    attention_mask = None if attention_mask is None else backend.to_host(attention_mask)
    masks = _masks_of_batch(maskable, sizes(k, maskable))  # (S, B, K)
    norms = numpy.zeros(masks.shape[:2])
    for b in range(len(ids)):
        listed = masks[masks[:, b, 0] >= 0, b]  # (S of this sentence, K)
        rows = numpy.full(len(listed), b)
        tokens = None if attention_mask is None else attention_mask[rows]
        norms[: len(listed), b] = backend.to_host(exact_norm(model, ids[rows], listed, tokens))
    return masks, _normalised(norms, axis=0)


def _masks_of_batch(maskable, k):
    """List every sentence's masks -> (S, B, K), padded with -1."""
    counts = [math.comb(int(n), int(size)) for n, size in zip(maskable.sum(axis=1), k, strict=True)]
    if sum(counts) > MOST_GRADIENTS:
        raise InputError(
            f"the batch has {sum(counts)} masks, more than the {MOST_GRADIENTS} whose gradients are computed one by one: "
            "take fewer or shorter sentences, or a smaller k"
        )
    masks = numpy.full((max(counts), len(k), k.max()), -1, numpy.int64)
    for b, count in enumerate(counts):
        places = numpy.flatnonzero(maskable[b])
        masks[:count, b, : k[b]] = places[all_masks(len(places), int(k[b]))]
    return masks


def _normalised(norms, axis):
    """Divide the norms of each sentence by their sum along `axis`; a norm of 0 is a probability of 0."""
    total = norms.sum(axis=axis, keepdims=True)
    bad = ~((total > 0) & (total < numpy.inf)).reshape(-1)
    if bad.any():
        b = int(bad.argmax())
        raise InputError(f"the gradient norms of sentence {b} are not finite or all zero: no proposal is the best for it")
    return norms / total


def best_conditional_bernoulli(masks, q, T: int) -> ConditionalBernoulli:
    """Return the conditional Bernoulli distribution that is nearest to q in KL(q || .), for sentences of T tokens.

    masks (S, B, K) and q (S, B) as `optimal_mask_proposal` gives them. The distribution is an exponential family whose
    statistics are the indicators of the positions, so the nearest one is the one with the same inclusion probabilities, for
    position i the sum of q over the masks with i.
    Source: Wainwright and Jordan 2008, Graphical models, exponential families, and variational inference, section 3.6.

    Raises InputError where an inclusion probability is 0 or 1, or too near for the odds to be found.
    """
    chosen = indicators(masks, masks.shape[1], T)  # (S, B, T)
    maskable, k = numpy.any(chosen, axis=0), chosen[0].sum(axis=1)  # (B, T), (B,)
    log_odds = numpy.zeros(maskable.shape)
    free = maskable.sum(axis=1) > k  # where every position is masked, there is one mask and nothing to choose
    if free.any():
        inclusion = (q[:, free, None] * chosen[:, free]).sum(axis=0)  # (B, T)
        log_odds[free] = ConditionalBernoulli.from_inclusion_probabilities(inclusion, maskable[free]).log_odds
    return ConditionalBernoulli(log_odds, k, maskable)
