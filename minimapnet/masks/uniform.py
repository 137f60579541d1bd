"""The two simplest distributions over masks: uniform sets, and one position.

Axis letters: S draws, B sentences, T positions, K places for masked positions.
"""

import numpy
from scipy import special

from minimapnet.masks.base import MaskDistribution, checked_log_weights, draw_in_order, mask_sizes, maskable_positions


class UniformMasks(MaskDistribution):
    """All sets of k maskable positions, equally likely: the base distribution p(M) = 1 / C(n, k)."""

    def __init__(self, n, k):
        """n is the number of positions of one sentence, or bool (B, T), true where maskable; k a number or (B,).

        Raises InputError for an empty sentence and for k below 1 or above n.
        """
        maskable = maskable_positions(n)
        super().__init__(maskable, mask_sizes(k, maskable))

    def sample(self, rng, size):
        # Selection sampling (Knuth, The Art of Computer Programming 2, algorithm 3.4.2 S): j of those left are needed.
        left = numpy.cumsum(self.maskable[:, ::-1], axis=1)[:, ::-1]  # (B, T) this position and those after it
        joins = numpy.arange(self.k.max() + 1) / numpy.maximum(left, 1).T[:, :, None]  # (T, B, K+1), 1 where all are needed
        return draw_in_order(rng, size, joins * self.maskable.T[:, :, None], self.k)

    def log_prob(self, positions):
        _, possible = self.members(positions)
        return numpy.where(possible, -log_binomial(self.maskable.sum(axis=1), self.k), -numpy.inf)

    def inclusion_probabilities(self):
        return self.maskable * (self.k / self.maskable.sum(axis=1))[:, None]


class SinglePosition(MaskDistribution):
    """One masked position, drawn with a probability proportional to its weight: P(i) = softmax(log_weights)_i."""

    def __init__(self, log_weights, maskable=None):
        """log_weights (B, T), or (T,) for one sentence; maskable bool of the same shape, None for all.

        Raises InputError for an empty sentence and for log weights that are NaN or infinite.
        """
        weights, maskable = checked_log_weights(log_weights, maskable, "log weights")
        super().__init__(maskable, numpy.ones(len(maskable), numpy.int64))
        below = weights - weights.max(axis=1, keepdims=True)  # (B, T), SciPy's logsumexp takes many times as long
        self.log_probabilities = below - numpy.log(numpy.exp(below).sum(axis=1, keepdims=True))

    def sample(self, rng, size):
        reached = numpy.cumsum(numpy.exp(self.log_probabilities), axis=1)  # (B, T)
        draws = rng.random((size, len(reached))) * reached[:, -1]  # (S, B), below the last however that is rounded
        rows = zip(reached, draws.T, strict=True)
        return numpy.stack([numpy.searchsorted(row, u, side="right") for row, u in rows], axis=1)[:, :, None]  # (S, B, 1)

    def log_prob(self, positions):
        chosen, possible = self.members(positions)
        return numpy.where(possible, numpy.where(chosen, self.log_probabilities, 0.0).sum(axis=-1), -numpy.inf)

    def inclusion_probabilities(self):
        return numpy.exp(self.log_probabilities)


def log_binomial(n, k):
    """Return log C(n, k) of whole numbers, elementwise."""
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
