"""Pools: draw several candidates from the base, score them, and keep some with probabilities proportional to the score.

A candidate that is kept has the importance weight mean(s)/s. Given the candidates, each one's probability times its weight
is the same, so what is kept has the candidates' plain mean as its expectation, and that has the uniform one, whatever the
scores, as long as they are positive: no weight needs to know how probable a mask is. They are near 1 where scores are alike.

Source: Katharopoulos and Fleuret 2018, arXiv 1803.00942, algorithm 1, there for samples instead of masks.

Axis letters: B sentences, T positions, K places for masked positions, M candidates, N that are kept.
"""

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.uniform import UniformMasks
from minimapnet.proposals.base import (
    MaskBatch,
    Proposal,
    checked_batch,
    checked_scores,
    sizes,
    split_weight_over_positions,
    tau,
    weight_diagnostics,
    with_rows,
)


def resample_probabilities(scores: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the probability of each candidate to be kept and its weight: scores (..., M), positive -> both (..., M)."""
    mean = scores.mean(axis=-1, keepdims=True)
    return scores / (scores.shape[-1] * mean), mean / scores


def systematic_resample(probabilities: numpy.ndarray, offset: float, N: int) -> numpy.ndarray:
    """Choose N of the candidates: where N teeth at equal distances hit the line of their probabilities (M,) -> (N,).

    With an offset that is uniform in [0, 1) a candidate is hit N times its probability on average, and always by one of
    the two whole numbers next to that. The weighted mean of what is kept is linear in these counts, so its expectation is
    that of N independent draws, and it is less noisy.
    Source: systematic resampling, Kitagawa 1996, Journal of Computational and Graphical Statistics 5, 1-25.
    """
    reached = numpy.cumsum(probabilities)
    return numpy.searchsorted(reached, reached[-1] * (numpy.arange(N) + offset) / N, side="right").clip(max=len(reached) - 1)


class PoolProposal(Proposal):
    """Of m uniform masks of each sentence, keep one with a probability proportional to its score. Unbiased.

    The weight of the one kept is mean(s)/s. The larger m, and the nearer the scores to the norms, the nearer it comes to q*.
    Scoring by the exact norm costs m backward passes; `output_bound` costs m forward passes.
    """

    unbiased = True

    def __init__(self, k, score, candidates: int):
        """k is a whole number of positions, or a share of the maskable ones; score as in `scores.py`; candidates is m.

        Raises InputError for no candidates.
        """
        self.k, self.score, self.candidates = k, score, _at_least_one(candidates, "candidates")

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        masks, scores = scored(self, model, ids, rng, maskable, attention_mask)  # (B, M, K), (B, M)
        probabilities, weights = resample_probabilities(scores)
        offsets = rng.random(len(ids))
        kept = numpy.array(
            [systematic_resample(row, offset, 1)[0] for row, offset in zip(probabilities, offsets, strict=True)]
        )  # (B,)
        kept += numpy.arange(len(ids)) * self.candidates  # as places among the pairs, sentence by sentence
        positions, importance = masks.reshape(scores.size, -1)[kept], weights.reshape(-1)[kept]
        diagnostics = weight_diagnostics(importance) | {"tau": tau(scores)}
        return MaskBatch(positions, split_weight_over_positions(importance, positions), diagnostics, kept=kept)


class BatchPoolProposal(Proposal):
    """Of m uniform masks of each of B sentences, keep N of the m B pairs, by their scores. Unbiased.

    What is kept has `ids` and `attention_mask` of its own: sentences with small gradients are left out more often, so the
    data variance falls too. The uniform objective is that of the B sentences given, all of which count alike, and the weight
    of a pair is mean(s)/s over the m B pairs. A pair whose score is above 1/N of the sum may be kept more than once.
    """

    unbiased = True

    def __init__(self, k, score, kept: int, candidates: int = 1):
        """k is a whole number of positions, or a share of the maskable ones; score as in `scores.py`; kept is N,
        candidates is m, masks of each sentence.

        Raises InputError where either is below 1.
        """
        self.k, self.score = k, score
        self.kept, self.candidates = _at_least_one(kept, "rows kept"), _at_least_one(candidates, "candidates")

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        masks, scores = scored(self, model, ids, rng, maskable, attention_mask)  # (B, M, K), (B, M)
        probabilities, weights = resample_probabilities(scores.reshape(-1))
        kept = systematic_resample(
            probabilities, rng.random(), self.kept
        )  # (N,), as places among the pairs, sentence by sentence
        positions, importance = masks.reshape(scores.size, -1)[kept], weights[kept]
        diagnostics = weight_diagnostics(importance) | {"tau": tau(scores.reshape(1, -1))}
        drawn = MaskBatch(positions, split_weight_over_positions(importance, positions), diagnostics, kept=kept)
        return with_rows(drawn, ids, attention_mask, kept // self.candidates)


def scored(proposal, model, ids, rng, maskable, attention_mask) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Draw a pool's candidates and score them -> masks (B, M, K), scores (B, M)."""
    M = proposal.candidates
    masks = UniformMasks(maskable, sizes(proposal.k, maskable)).sample(rng, M).swapaxes(0, 1)  # (B, M, K)
    rows = numpy.repeat(numpy.arange(len(ids)), M)  # (B*M,)
    tokens = None if attention_mask is None else backend.to_host(attention_mask)[rows]
    scores = proposal.score(model, ids[rows], masks.reshape(len(rows), -1), tokens)
    return masks, checked_scores(scores, (len(rows),)).reshape(len(ids), M)


def _at_least_one(number: int, what: str) -> int:
    if number < 1:
        raise InputError(f"a pool needs at least one of its {what}, not {number}")
    return number
