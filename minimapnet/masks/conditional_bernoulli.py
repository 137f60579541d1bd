"""The conditional Bernoulli distribution: independent coins, given that exactly k of them come up.

P(M) = prod_{i in M} w_i / e_k(w), with w_i the odds of coin i and e_k the elementary symmetric polynomial. Among all
distributions over sets of k with given inclusion probabilities it is the one of greatest entropy. Multiplying all odds by
one number changes nothing. Also known as conditional Poisson sampling.

Source: Chen, Dempster and Liu 1994, Weighted finite population sampling to maximize entropy, Biometrika 81, 457-469; Chen
and Liu 1997, Statistical applications of the Poisson-binomial and conditional Bernoulli distributions, Statistica Sinica 7,
875-892.

Axis letters: S draws, B sentences, T positions, K places for masked positions.
"""

import numpy

from minimapnet.errors import InputError
from minimapnet.masks.base import MaskDistribution, checked_log_weights, draw_in_order, inclusion_targets, mask_sizes

MOST_STEPS = 500  # of the search for odds; thirty to forty are usual
CLOSE_ENOUGH = 1e-10  # of the log-odds of inclusion


class ConditionalBernoulli(MaskDistribution):
    """Sets of k positions with P(M) proportional to the product of their odds: everything about it is exact.

    `log_odds` (B, T) float64 are as given, -inf where not maskable; `log_normaliser` (B,) is log e_k. Making one takes
    O(T K) a sentence, and so do its inclusion probabilities; a draw takes O(T).
    """

    def __init__(self, log_odds, k, maskable=None):
        """log_odds (B, T) in nats, or (T,) for one sentence; k a number or (B,); maskable bool as log_odds, None for all.

        Raises InputError for an empty sentence, k below 1 or above the number of maskable positions, and log-odds that are
        NaN or infinite where maskable.
        """
        self.log_odds, maskable = checked_log_weights(log_odds, maskable, "log-odds")
        super().__init__(maskable, mask_sizes(k, maskable))
        self._tails = log_tails(self.log_odds, int(self.k.max()))  # (T+1, B, K+1)
        self.log_normaliser = self._tails[0, numpy.arange(len(self.k)), self.k]  # (B,)

    @classmethod
    def from_inclusion_probabilities(cls, inclusion, maskable=None) -> "ConditionalBernoulli":
        """Return the one whose inclusion probabilities are these: (B, T), or (T,); they add up to k in every sentence.

        It is found by iteration (see `_log_odds_of`). Raises InputError for probabilities that are not above 0 and below
        1 where maskable, that do not add up to a whole number, or that the iteration does not reach.
        """
        inclusion, maskable, k = inclusion_targets(inclusion, maskable)
        certain = maskable & (inclusion == 1)
        if certain.any():
            b = int(certain.any(axis=1).argmax())
            raise InputError(f"an inclusion probability of sentence {b} is 1, which no finite odds give: keep it below 1")
        return cls(_log_odds_of(inclusion, maskable, k), k, maskable)

    def sample(self, rng, size):
        """As for every distribution: exact sequential sampling, in Chen and Liu 1997 the ID-checking procedure.

        With j more needed, position t joins with the share w_t e_(j-1)(after t) / e_j(from t) of all completions.
        """
        with_t = self._tails[1:, :, :-1] + self.log_odds.T[:, :, None]  # (T, B, K)
        among = self._tails[:-1, :, 1:]  # (T, B, K), -inf where fewer than j are left: such states are never reached
        joins = numpy.zeros(self._tails[1:].shape)  # (T, B, K+1)
        joins[:, :, 1:] = numpy.exp(with_t - numpy.where(among == -numpy.inf, 0.0, among))
        return draw_in_order(rng, size, joins, self.k)

    def log_prob(self, positions):
        chosen, possible = self.members(positions)
        product = numpy.where(chosen, self.log_odds, 0.0).sum(axis=-1)  # (..., B)
        return numpy.where(possible, product - self.log_normaliser, -numpy.inf)

    def inclusion_probabilities(self):
        return numpy.exp(self.log_inclusion_probabilities()[0])

    def log_inclusion_probabilities(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return log P(i in M) and log P(i not in M) -> both (B, T), each exact however near the other is to 1.

        P(i in M) = w_i e_(k-1)(without i) / e_k, and e without i is joined from what comes before i and after it.
        """
        before = log_heads(self.log_odds, int(self.k.max()))[:-1]  # (T, B, K+1)
        after = self._tails[1:]  # (T, B, K+1)
        inside = log_join(before, after, self.k - 1).T + self.log_odds - self.log_normaliser[:, None]  # (B, T)
        outside = log_join(before, after, self.k).T - self.log_normaliser[:, None]  # (B, T)
        return inside, outside


def _log_odds_of(inclusion, maskable, k):
    """Return log-odds (B, T), 0 where not maskable, whose inclusion probabilities are `inclusion`, up to a constant.

    Each step adds half of what is missing in the log-odds of inclusion. Near the solution what is missing shrinks by
    I - J/2 with J = D^-1 Cov, Cov the covariance of the indicators and D its diagonal. As correlations between indicators
    are negative and their rows cancel, J's eigenvalues lie between 0 (the constant, which is free) and 2, so no part of the
    error grows; half a step is also what makes n = 2 converge, at once, where whole steps swing for ever.

    The iteration of Chen, Dempster and Liu 1994 adds what is missing in log P(i in M) alone, and slows down
    without limit as an inclusion probability nears 1.
    """
    inside = numpy.where(maskable, inclusion, 0.5)
    target = numpy.log(inside) - numpy.log1p(-inside)  # (B, T)
    spread = numpy.where(maskable, inside * (1 - inside), 0.0)  # (B, T), D
    log_odds = numpy.where(maskable, target, 0.0)
    for _ in range(MOST_STEPS):
        log_in, log_out = ConditionalBernoulli(log_odds, k, maskable).log_inclusion_probabilities()
        missing = numpy.where(maskable, target - (numpy.where(maskable, log_in, 0.0) - log_out), 0.0)  # (B, T)
        constant = (spread * missing).sum(axis=1, keepdims=True) / spread.sum(axis=1, keepdims=True)  # rounding of the sum
        missing = numpy.where(maskable, missing - constant, 0.0)
        if numpy.abs(missing).max() <= CLOSE_ENOUGH:
            return log_odds
        log_odds += missing / 2
    b = int(numpy.abs(missing).max(axis=1).argmax())
    raise InputError(
        f"no odds found for the inclusion probabilities of sentence {b}: after {MOST_STEPS} steps their log-odds are still "
        f"{numpy.abs(missing).max():.1e} away; keep them further from 0 and 1"
    )


def log_tails(log_weights: numpy.ndarray, K: int) -> numpy.ndarray:
    """Return log e_j of the weights from position t on: log_weights (B, T), -inf for none -> (T+1, B, K+1)."""
    B, T = log_weights.shape
    tails = numpy.full((T + 1, B, K + 1), -numpy.inf)
    tails[:, :, 0] = 0.0  # e_0 = 1, also of no weights at all
    for t in reversed(range(T)):
        with_t = tails[t + 1, :, :-1] + log_weights[:, t, None]  # (B, K)
        numpy.logaddexp(tails[t + 1, :, 1:], with_t, out=tails[t, :, 1:])
    return tails


def log_heads(log_weights: numpy.ndarray, K: int) -> numpy.ndarray:
    """Return log e_j of the weights before position t: log_weights (B, T) -> (T+1, B, K+1)."""
    return log_tails(log_weights[:, ::-1], K)[::-1]


def log_join(left: numpy.ndarray, right: numpy.ndarray, order: numpy.ndarray) -> numpy.ndarray:
    """Return log e_order of two lists taken together, from theirs: both (T, B, K+1), order (B,) -> (T, B).

    e_order(both) = sum_j e_j(left) e_(order - j)(right).
    """
    width = right.shape[-1]
    opposite = order[:, None] - numpy.arange(width)  # (B, K+1)
    none = numpy.full((*right.shape[:-1], 1), -numpy.inf)
    right = numpy.concatenate([right, none], axis=-1)  # (T, B, K+2)
    opposite = numpy.where(opposite < 0, width, opposite)
    right = numpy.take_along_axis(right, numpy.broadcast_to(opposite, left.shape), axis=-1)  # (T, B, K+1)
    return numpy.logaddexp.reduce(left + right, axis=-1)  # (T, B)
