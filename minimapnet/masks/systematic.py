"""Systematic sampling in shuffled order: any inclusion probabilities, exactly k positions, in O(n log n) a draw.

The positions, put in a random order, are on a line of length k, each as long as its inclusion probability; a comb of k
teeth at distance 1 and with a random offset picks those that its teeth hit. Source: Madow 1949, Annals of Mathematical
Statistics 20, 333-354, there in fixed order.

The order must be shuffled afresh for every draw. In the order of the sentence the teeth mask evenly spaced positions:
every inclusion probability is right, but neighbours are never masked together, so each masked token is guessed from a
context that uniform masks would rarely show, and a model trained on it is worse on theirs.

Axis letters: S draws, B sentences, T positions, K places for masked positions.
"""

import numpy

from minimapnet.errors import InputError
from minimapnet.masks.base import MaskDistribution, inclusion_targets, positions_of

BITS = 40  # lengths are whole numbers of 2^-40: sums are exact, so there are never k - 1 or k + 1 teeth on the line
UNIT = 1 << BITS


class SystematicMasks(MaskDistribution):
    """Sets of k positions with given inclusion probabilities that add up to k, by systematic sampling in shuffled order.

    It has no `log_prob`: a set's probability is a sum over all n! orders. Use the weights 1 / (n pi_i) of its positions, or
    ConditionalBernoulli.from_inclusion_probabilities where the probability of a set is needed.
    """

    def __init__(self, inclusion, maskable=None):
        """inclusion (B, T), or (T,) for one sentence: above 0 and at most 1; maskable bool of the same shape, None for all.

        Raises InputError for other values, for sums that are not whole numbers, and for an empty sentence.
        """
        inclusion, maskable, k = inclusion_targets(inclusion, maskable)
        super().__init__(maskable, k)
        self._lengths = _whole_lengths(inclusion, k)  # (B, T)

    def sample(self, rng, size):
        order = numpy.argsort(rng.random((size, *self.maskable.shape)), axis=-1)  # (S, B, T)
        offset = rng.integers(UNIT, size=(size, len(self.k), 1))  # (S, B, 1)
        lengths = numpy.take_along_axis(numpy.broadcast_to(self._lengths, order.shape), order, axis=-1)
        teeth = (numpy.cumsum(lengths, axis=-1) + offset) >> BITS  # (S, B, T) up to the end of each position
        hit = numpy.diff(teeth, axis=-1, prepend=0) > 0
        chosen = numpy.zeros(hit.shape, bool)
        numpy.put_along_axis(chosen, order, hit, axis=-1)
        return positions_of(chosen, int(self.k.max()))

    def log_prob(self, positions):
        """Raises InputError always: it cannot be computed."""
        raise InputError(
            "a systematic mask's probability sums over all orders and cannot be computed: use position weights 1/(n pi), or "
            "ConditionalBernoulli.from_inclusion_probabilities"
        )

    def inclusion_probabilities(self):
        """As for every distribution: as given, rounded to multiples of 2^-40."""
        return self._lengths / UNIT


def _whole_lengths(inclusion, k):
    """Return the lengths (B, T) in units of 2^-40, adding up to k (B,); what rounding left over goes to the middlemost."""
    lengths = numpy.rint(inclusion * UNIT).astype(numpy.int64)  # (B, T)
    middle = numpy.abs(lengths - UNIT // 2).argmin(axis=1)  # (B,), far from 0 and 1, where there is room
    lengths[numpy.arange(len(k)), middle] += k * UNIT - lengths.sum(axis=1)
    return lengths
