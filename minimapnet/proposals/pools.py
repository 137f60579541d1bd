"""Pools: draw several candidates from the base, score them, and choose some with probabilities proportional to the score.

A chosen candidate has the importance weight mean(s)/s. Given the candidates, each one's probability times its weight is the
same, so what is chosen has the candidates' plain mean as its expectation, and that has the uniform one, whatever the scores,
as long as they are positive: no weight needs to know how probable a mask is. They are near 1 where scores are alike.

Source: Katharopoulos and Fleuret 2018, arXiv 1803.00942, algorithm 1, there for samples instead of masks.

Axis letters: B sentences, T positions, K places for masked positions, M candidates of a sentence, N that are chosen.
"""

import numpy

from minimapnet.errors import InputError
from minimapnet.masks.uniform import UniformMasks
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


def resample_probabilities(scores: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the probability of each candidate to be chosen and its weight: positive scores (..., M) -> both (..., M)."""
    mean = scores.mean(axis=-1, keepdims=True)
    return scores / (scores.shape[-1] * mean), mean / scores


def systematic_resample(probabilities: numpy.ndarray, offset: float, N: int) -> numpy.ndarray:
    """Choose N of the candidates with probabilities (M,), at N equal distances along their cumulative sum -> int (N,).

    With an offset that is uniform in [0, 1) a candidate is chosen N times its probability on average, and always by one of
    the two whole numbers next to that. The weighted mean of what is chosen is linear in these counts, so its expectation is
    that of N independent draws, and it is less noisy.
    Source: systematic resampling, Kitagawa 1996, Journal of Computational and Graphical Statistics 5, 1-25.
    """
    cumulative = numpy.cumsum(probabilities)
    points = cumulative[-1] * (numpy.arange(N) + offset) / N
    return numpy.searchsorted(cumulative, points, side="right").clip(max=len(cumulative) - 1)


class PoolProposal(Proposal):
    """Of M uniform masks of each sentence, choose one with a probability proportional to its score. Unbiased.

    The weight of the chosen one is mean(s)/s. The larger M, and the nearer the scores to the norms, the nearer it comes to
    q*. Scoring by the exact norm costs M backward passes; `output_bound` costs M forward passes.
    """

    unbiased = True

    def __init__(self, k, score: Score, candidates: int, uniform_mix: float = 0.0):
        """k is a whole number of positions, or a share of the maskable ones; candidates is M; `uniform_mix` is the share of
        the mean in the scores: it bounds the weights, as uniform masks mixed into the masks do.

        Raises InputError for no candidates, and a share that is not between 0 and 1.
        """
        self.k, self.score, self.candidates = k, score, _at_least_one(candidates, "candidates")
        self.uniform_mix = checked_share(uniform_mix, "the share of uniform masks")

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        B, M, groups = len(ids), self.candidates, self._groups(len(ids))
        masks = UniformMasks(maskable, sizes(self.k, maskable)).sample(rng, M).swapaxes(0, 1)  # (B, M, K)
        scored = self.score.of_masks(model, ids, masks, attention_mask)
        scores = checked_scores(scored.relative(groups), (groups, B * M // groups))
        if self.uniform_mix:
            scores = (1 - self.uniform_mix) * scores / scores.mean(axis=1, keepdims=True) + self.uniform_mix
        probabilities, weights = resample_probabilities(scores)  # (groups, B*M/groups) each
        selected = self._resample(probabilities, rng)  # (N,) in range(B*M), counted sentence by sentence
        positions, importance = masks.reshape(B * M, -1)[selected], weights.reshape(-1)[selected]
        return MaskBatch(
            **rows_of(selected // M, ids, attention_mask),
            positions=positions,
            weights=split_weight_over_positions(importance, positions),
            diagnostics=weight_diagnostics(importance) | {"tau": tau(scores)},
            choice=Choice(scored, groups, self.uniform_mix, selected),
        )

    def _groups(self, B: int) -> int:
        """Return how many groups of candidates there are, each of which competes within itself: every sentence's."""
        return B

    def _resample(self, probabilities: numpy.ndarray, rng) -> numpy.ndarray:
        pairs = zip(probabilities, rng.random(len(probabilities)), strict=True)
        chosen = numpy.array([systematic_resample(row, offset, 1)[0] for row, offset in pairs])  # (B,)
        return chosen + numpy.arange(len(probabilities)) * self.candidates


class BatchPoolProposal(PoolProposal):
    """Of M uniform masks of each of B sentences, choose N of the M B pairs, by their scores. Unbiased.

    Sentences with small gradients are left out more often, so the data variance falls too. The uniform objective is that of
    the B sentences given, all of which count alike, and the weight of a pair is mean(s)/s over the M B pairs. A pair whose
    score is above 1/N of the sum may be chosen more than once.
    """

    def __init__(self, k, score: Score, rows: int, candidates: int = 1, uniform_mix: float = 0.0):
        """`rows` is N; the others as of PoolProposal. Raises InputError as that does, and for no rows."""
        super().__init__(k, score, candidates, uniform_mix)
        self.rows = _at_least_one(rows, "rows")

    def _groups(self, B):
        return 1

    def _resample(self, probabilities, rng):
        return systematic_resample(probabilities[0], rng.random(), self.rows)


def _at_least_one(number: int, name: str) -> int:
    if number < 1:
        raise InputError(f"a pool needs at least one of its {name}, not {number}")
    return number
