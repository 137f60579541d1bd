"""Importance sampling of masks by scores of positions: one position, a set with its weight p/q, or weights of positions.

What is drawn and how it is weighted are apart: `distribution` gives the one, and pure functions of the masks the other, so
that tests can sum over all masks what `draw` draws one at a time.

Axis letters: B sentences, T positions, K places for masked positions.
"""

import abc

import numpy

from minimapnet.errors import InputError
from minimapnet.masks.base import MaskDistribution
from minimapnet.masks.conditional_bernoulli import ConditionalBernoulli
from minimapnet.masks.systematic import SystematicMasks
from minimapnet.masks.uniform import SinglePosition, UniformMasks
from minimapnet.proposals.base import (
    Choice,
    MaskBatch,
    Proposal,
    Score,
    checked_batch,
    checked_scores,
    checked_share,
    rows_of,
    sizes,
    split_weight_over_positions,
    tau,
    weight_diagnostics,
)


class UniformMixture(MaskDistribution):
    """With probability `share` a uniform mask of the same size, else one of the distribution given."""

    def __init__(self, distribution: MaskDistribution, share: float):
        """Raises InputError for a share that is not between 0 and 1."""
        super().__init__(distribution.maskable, distribution.k)
        self.distribution, self.share = distribution, checked_share(share, "the share of uniform masks")
        self.uniform = UniformMasks(self.maskable, self.k)

    def sample(self, rng, size):
        coins = rng.random((size, len(self.k), 1)) < self.share  # (S, B, 1)
        return numpy.where(coins, self.uniform.sample(rng, size), self.distribution.sample(rng, size))

    def log_prob(self, positions):
        with numpy.errstate(divide="ignore"):
            log_share, log_rest = numpy.log(self.share), numpy.log1p(-self.share)
        parts = log_share + self.uniform.log_prob(positions), log_rest + self.distribution.log_prob(positions)
        return numpy.logaddexp(*parts)

    def inclusion_probabilities(self):
        uniform, other = self.uniform.inclusion_probabilities(), self.distribution.inclusion_probabilities()
        return self.share * uniform + (1 - self.share) * other


def importance_weights(proposal: MaskDistribution, positions) -> numpy.ndarray:
    """Return w = p(M)/q(M) of masks (..., B, K), p being uniform over sets of the proposal's k -> (..., B)."""
    return numpy.exp(UniformMasks(proposal.maskable, proposal.k).log_prob(positions) - proposal.log_prob(positions))


def horvitz_thompson(positions, inclusion: numpy.ndarray, maskable: numpy.ndarray) -> numpy.ndarray:
    """Return the weights 1/(n pi_i) of masked positions (..., B, K), 0 where padded.

    inclusion (B, T) are the pi_i, n the number of maskable positions of the sentence.
    Source: Horvitz and Thompson 1952, Journal of the American Statistical Association 47, 663-685.
    """
    rows = numpy.broadcast_to(inclusion, (*positions.shape[:-1], inclusion.shape[1]))
    own = numpy.take_along_axis(rows, numpy.maximum(positions, 0), axis=-1)  # (..., B, K)
    return numpy.where(positions >= 0, 1 / numpy.where(positions >= 0, own * maskable.sum(axis=1)[:, None], 1.0), 0.0)


def inclusion_of(scores: numpy.ndarray, k: numpy.ndarray, maskable: numpy.ndarray, share: float) -> numpy.ndarray:
    """Return inclusion probabilities (B, T) that are proportional to scores (B, T) and add up to k (B,), none above 1.

    Before that, the scores are mixed with their mean: share is the mean's part. A position whose probability would be above
    1 is masked always, and the rest share what is left.
    """
    n = maskable.sum(axis=1, keepdims=True)
    mixed = maskable * ((1 - share) * scores / scores.sum(axis=1, keepdims=True) + share / n)
    always = numpy.zeros(maskable.shape, bool)
    while True:
        rest = numpy.where(always, 0.0, mixed)  # (B, T)
        left = k[:, None] - always.sum(axis=1, keepdims=True)
        inclusion = numpy.where(always, 1.0, left * rest / numpy.maximum(rest.sum(axis=1, keepdims=True), 1e-300))
        above = (inclusion >= 1) & maskable & ~always
        if not above.any():
            return inclusion
        always |= above


class PositionScored(Proposal):
    """What the three kinds share: scores of positions, and a share of uniform masks, which bounds the weights."""

    def __init__(self, score: Score, uniform_mix: float = 0.0):
        """`uniform_mix` is u, the share of uniform masks (a defensive mixture: Hesterberg 1995, Technometrics 37, 185-194).

        Raises InputError for a share that is not between 0 and 1.
        """
        self.score, self.uniform_mix = score, checked_share(uniform_mix, "the share of uniform masks")

    @abc.abstractmethod
    def distribution(self, scores: numpy.ndarray, maskable: numpy.ndarray) -> MaskDistribution:
        """Return the masks' distribution for checked scores (B, T), 0 where not maskable (B, T)."""

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        scored = self.score.of_positions(model, ids, maskable, attention_mask)
        scores = checked_scores(scored.relative(), ids.shape, maskable)  # (B, T)
        masks = self.distribution(scores, maskable)
        positions = masks.sample(rng, 1)[0]  # (B, K)
        weights, importance = self._weights(masks, positions)
        return MaskBatch(
            **rows_of(numpy.arange(len(ids)), ids, attention_mask),
            positions=positions,
            weights=weights,
            diagnostics=weight_diagnostics(importance) | {"tau": tau(scores, maskable)},
            choice=Choice(scored, len(ids), self.uniform_mix, self._selected(positions, ids.shape[1])),
        )

    def _weights(self, masks: MaskDistribution, positions: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return the weights (B, K) of masked positions (B, K), and all importance weights, for `weight_diagnostics`."""
        importance = importance_weights(masks, positions)  # (B,)
        return split_weight_over_positions(importance, positions), importance

    def _selected(self, positions: numpy.ndarray, T: int) -> numpy.ndarray | None:
        """Return which candidate was chosen, as `Choice` says, where a candidate is one position."""
        return None


class SingleProposal(PositionScored):
    """One position, drawn in proportion to its score, importance weight 1 / (n q_i). Unbiased for k = 1.

    With `uniform_mix` u above 0 it is drawn from (1 - u) q + u / n, and the weight, now at most 1/u, is of that mixture.
    With `exact_norm` for its score it is the best there is.
    """

    unbiased = True

    def distribution(self, scores, maskable):
        with numpy.errstate(divide="ignore"):
            return UniformMixture(SinglePosition(numpy.log(scores), maskable), self.uniform_mix)

    def _selected(self, positions, T):
        return numpy.arange(len(positions)) * T + positions[:, 0]


class SetProposal(PositionScored):
    """A set of k positions from the conditional Bernoulli distribution, importance weight p(M)/q(M). Unbiased.

    The odds of a position are its score to the power `exponent`: 1 for the scores as they are, 0 for uniform sets. The
    weight is, up to a constant, the product of k inverse odds, so it varies by a factor that grows exponentially with k: at
    exponent = 1 and k of a few, the estimate is far noisier than from uniform masks. Temper it by about 1/k, or use a pool.
    With `uniform_mix` u above 0 a set is drawn uniformly with probability u, and the weight, now at most 1/u, is of the
    mixture.
    """

    unbiased = True

    def __init__(self, k, score: Score, exponent: float = 1.0, uniform_mix: float = 0.0):
        """k is a whole number of positions, or a share of the maskable ones (a float below 1)."""
        super().__init__(score, uniform_mix)
        self.k, self.exponent = k, checked_share(exponent, "exponent")

    def distribution(self, scores, maskable):
        log_odds = self.exponent * numpy.log(numpy.where(maskable, scores, 1.0))
        return UniformMixture(ConditionalBernoulli(log_odds, sizes(self.k, maskable), maskable), self.uniform_mix)


class PositionProposal(PositionScored):
    """k positions with inclusion probabilities pi_i proportional to their scores, each weighted 1/(n pi_i). Biased.

    Each position keeps its weight in the sum, but the *context* in which it is guessed comes from the proposal. With g_i(M)
    the gradient of position i's loss when M is masked, q the distribution of the masks and p the uniform one,

        E[estimate] - uniform gradient = (1/n) sum_i ( E_q[g_i(M) | i in M] - E_p[g_i(M) | i in M] ),

    which is 0 for k = 1 and for k = n, and else depends on q. Positions are chosen by systematic sampling in shuffled order,
    so that masks are not evenly spaced. With `uniform_mix` u above 0, pi is proportional to (1 - u) s_i / sum s + u / n;
    where that would give a position more than 1, it is always masked.
    """

    unbiased = False

    def __init__(self, k, score: Score, uniform_mix: float = 0.0):
        """k is a whole number of positions, or a share of the maskable ones (a float below 1)."""
        super().__init__(score, uniform_mix)
        self.k = k

    def distribution(self, scores, maskable):
        """As for every kind. Raises InputError for a pi_i that is too near 0 to be drawn, below 2^-41."""
        masks = SystematicMasks(inclusion_of(scores, sizes(self.k, maskable), maskable, self.uniform_mix), maskable)
        never = maskable & (masks.inclusion_probabilities() == 0)
        if never.any():
            index = tuple(int(i) for i in numpy.argwhere(never)[0])
            raise InputError(
                f"the score at {index} is so small that its position would never be drawn: mix in uniform masks"
            )
        return masks

    def _weights(self, masks, positions):
        weights = horvitz_thompson(positions, masks.inclusion_probabilities(), masks.maskable)  # (B, K)
        return weights, (weights * masks.k[:, None])[positions >= 0]  # k/(n pi_i): 1 for uniform masks
