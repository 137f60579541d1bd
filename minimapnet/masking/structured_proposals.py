"""Proposals that look at nothing but the sentence: uniform masks, and the field's structured masks, each with equal weights.

Axis letters: B sentences, T positions, K places for masked positions, R masks of one sentence.
"""

import numpy

from minimapnet.masking.basic import UniformMasks
from minimapnet.masking.proposal import Proposal, Proposed, checked_batch, sizes, spread, weight_diagnostics


class UniformProposal(Proposal):
    """Uniform sets of k positions, weight 1: the base distribution itself. Unbiased.

    With `masks` above 1 each sentence gets that many independent masks, in consecutive rows of `Proposed.ids`.
    """

    unbiased = True

    def __init__(self, k, masks: int = 1):
        """k is a whole number of positions, or a share of the maskable ones (a float below 1)."""
        self.k, self.masks = k, masks

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        masks = UniformMasks(maskable, sizes(self.k, maskable)).sample(rng, self.masks)  # (R, B, K)
        return equally_weighted(masks, ids, attention_mask)


def equally_weighted(masks: numpy.ndarray, ids: numpy.ndarray, attention_mask) -> Proposed:
    """Give masks (R, B, K) with importance weight 1, the R of a sentence in consecutive rows."""
    R, B, K = masks.shape
    positions = masks.swapaxes(0, 1).reshape(B * R, K)
    weights, diagnostics = spread(numpy.ones(B * R), positions), weight_diagnostics(numpy.ones(B * R))
    if R == 1:
        return Proposed(positions, weights, diagnostics)
    repeated = None if attention_mask is None else numpy.repeat(attention_mask, R, axis=0)
    return Proposed(positions, weights, diagnostics, numpy.repeat(ids, R, axis=0), repeated)
