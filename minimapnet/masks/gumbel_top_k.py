"""Gumbel top-k, or Plackett-Luce: k positions drawn one after the other without replacement.

Each position's log weight gets Gumbel noise, and the k largest are kept. That is quick, but the probability of the *set*
is a sum over the k! orders in which it can be drawn. Here they are summed exactly over the 2^k subsets, which ends at a
small k: so the conditional Bernoulli distribution, whose set probability is one product, is preferred.

Source: Plackett 1975, Applied Statistics 24, 193-202; Kool, van Hoof and Welling 2019, arXiv 1903.06059.

Axis letters: S draws, B sentences, T positions, K places for masked positions, N masks taken together.
"""

import numpy
from scipy import special

from minimapnet.errors import InputError
from minimapnet.masks.base import MaskDistribution, all_masks, checked_log_weights, first_of, mask_sizes, positions_of

MOST_MASKED = 10  # positions of a set whose probability is summed over its orders
TABLE = 1 << 21  # subsets times masks that are worked on at once: 16 MiB


class GumbelTopK(MaskDistribution):
    """Sets of k positions, drawn one by one with probabilities proportional to the weights of those that are left."""

    def __init__(self, log_weights, k, maskable=None):
        """log_weights (B, T), or (T,) for one sentence; k a number or (B,); maskable bool as log_weights, None for all.

        Raises InputError for an empty sentence, k below 1 or above the number of maskable positions, and log weights that
        are NaN or infinite where maskable.
        """
        self.log_weights, maskable = checked_log_weights(log_weights, maskable, "log weights")
        super().__init__(maskable, mask_sizes(k, maskable))

    def sample(self, rng, size):
        keys = self.log_weights + rng.gumbel(size=(size, *self.maskable.shape))  # (S, B, T)
        order = numpy.argsort(-keys, axis=-1)[..., : self.k.max()]  # (S, B, K)
        return first_of(order, self.k)

    def log_prob(self, positions):
        """As for every distribution. Raises InputError also where k is above MOST_MASKED: 2^k subsets are too many."""
        if self.k.max() > MOST_MASKED:
            raise InputError(
                f"the probability of a Gumbel top-k set of {self.k.max()} sums over all its orders, and is given up to "
                f"k = {MOST_MASKED}: use ConditionalBernoulli, where it is one product"
            )
        chosen, possible = self.members(positions)  # (..., B, T), (..., B)
        T = self.maskable.shape[1]
        weights = numpy.broadcast_to(self.log_weights, chosen.shape).reshape(-1, T)  # (N, T)
        sizes = numpy.broadcast_to(self.k, possible.shape).reshape(-1)  # (N,)
        chosen, flat = (chosen & possible[..., None]).reshape(-1, T), numpy.full(possible.size, -numpy.inf)
        for rows in _chunks(numpy.flatnonzero(possible), max(1, TABLE >> int(self.k.max()))):
            flat[rows] = _log_set_probability(weights[rows], chosen[rows], sizes[rows])
        return flat.reshape(possible.shape)

    def inclusion_probabilities(self):
        """As for every distribution, but by listing all masks: they have no closed form.

        Raises InputError as `log_prob` does, and where there are more masks than can be listed.
        """
        inclusion = numpy.zeros(self.maskable.shape)
        for b, places in enumerate(map(numpy.flatnonzero, self.maskable)):
            masks = all_masks(len(places), int(self.k[b]))[:, None]  # (C(n, k), 1, k)
            log_q = GumbelTopK(self.log_weights[b, places], self.k[b]).log_prob(masks)  # (C(n, k), 1)
            inclusion[b, places] = numpy.bincount(masks.ravel(), numpy.repeat(numpy.exp(log_q), masks.shape[-1]))
        return inclusion


def _chunks(rows, size):
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _log_set_probability(log_weights, chosen, k):
    """Sum over all orders: log_weights (N, T), chosen bool (N, T), k (N,) its row sums -> log P (N,).

    P(the first drawn are the subset A) = sum_{i in A} P(A without i) w_i / (what was left before i). What is left is added
    up from the weights outside the mask and those of the mask that are not in A, so that nothing is subtracted.
    """
    N, K = len(k), int(k.max())
    places = positions_of(chosen[:, None], K)[:, 0]  # (N, K)
    inside = numpy.where(places >= 0, numpy.take_along_axis(log_weights, places, axis=1), -numpy.inf)  # (N, K)
    outside = special.logsumexp(numpy.where(chosen, -numpy.inf, log_weights), axis=1)  # (N,)
    total = numpy.full((1 << K, N), -numpy.inf)  # log of the summed weights of a subset
    drawn = numpy.full((1 << K, N), -numpy.inf)  # log of the probability that the subset is drawn first
    drawn[0] = 0.0
    for subset in range(1, 1 << K):
        lowest = (subset & -subset).bit_length() - 1
        numpy.logaddexp(total[subset & (subset - 1)], inside[:, lowest], out=total[subset])
    everything = (1 << K) - 1
    left = numpy.logaddexp(total[::-1], outside)  # (2^K, N): row A holds what is left after A, its complement being ~A
    left[everything] = 0.0  # nothing is drawn after the whole mask
    left = numpy.where(left == -numpy.inf, 0.0, left)  # nor after that of a mask with fewer than K
    for subset in range(1, 1 << K):
        for i in range(K):
            if subset >> i & 1:
                before = subset ^ (1 << i)
                numpy.logaddexp(drawn[subset], drawn[before] + inside[:, i] - left[before], out=drawn[subset])
    return drawn[(1 << k) - 1, numpy.arange(N)]
