"""Proposals that look at nothing but the sentence: uniform masks, and the field's structured masks, each with equal weights.

Axis letters: B sentences, T positions, K places for masked positions, R masks of one sentence.
"""

import abc

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.base import MaskDistribution
from minimapnet.masks.structured import FullyExploredMasks, SpanMasks, WholeWordMasks
from minimapnet.masks.uniform import UniformMasks
from minimapnet.proposals.base import (
    MaskBatch,
    Proposal,
    checked_batch,
    rows_of,
    sizes,
    split_weight_over_positions,
    weight_diagnostics,
)


class StructuredProposal(Proposal):
    """Masks of a distribution that needs the sentence's length alone, or its words, each with importance weight 1."""

    def __init__(self, k, masks: int = 1):
        """k is a whole number of positions, or a share of the maskable ones (a float below 1).

        Each sentence gets `masks` masks, in consecutive rows of `MaskBatch.ids` where they are more than one.
        Raises InputError for fewer than one.
        """
        if masks < 1:
            raise InputError(f"a sentence needs at least one mask, not {masks}")
        self.k, self.masks = k, masks

    @abc.abstractmethod
    def distribution(self, ids: numpy.ndarray, maskable: numpy.ndarray) -> MaskDistribution:
        """Return the masks' distribution for ids (B, T) and maskable (B, T), both on the host."""

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        ids, maskable = checked_batch(ids, maskable, attention_mask)
        masks = self.distribution(ids, maskable).sample(rng, self.masks)  # (R, B, K)
        R, B, K = masks.shape
        positions, ones = masks.swapaxes(0, 1).reshape(B * R, K), numpy.ones(B * R)
        weights = split_weight_over_positions(ones, positions)
        rows = rows_of(numpy.repeat(numpy.arange(B), R), ids, attention_mask)
        return MaskBatch(**rows, positions=positions, weights=weights, diagnostics=weight_diagnostics(ones))


class UniformProposal(StructuredProposal):
    """Uniform sets of k positions: the base distribution itself. Unbiased."""

    unbiased = True

    def distribution(self, ids, maskable):
        return UniformMasks(maskable, sizes(self.k, maskable))


class FullyExploredProposal(StructuredProposal):
    """The masks of a sentence are disjoint: they come from one random partition, then from the next. Unbiased.

    Every single mask is uniform, so the mean over the masks has the uniform expectation; that they are disjoint lowers its
    variance, for which `masks` must be above 1 (floor(n/k) of them are a whole partition).
    Source: Zheng et al. 2020, arXiv 2010.06040.
    """

    unbiased = True

    def distribution(self, ids, maskable):
        return FullyExploredMasks(maskable, sizes(self.k, maskable))


class WholeWordProposal(StructuredProposal):
    """Whole words, at most k positions. Biased for the uniform objective.

    Its objective is the mean loss over whole-word masks: tokens of a word are never guessed from each other, and masks that
    cut a word, which uniform ones mostly do, never occur. Source: see `WholeWordMasks`.
    """

    unbiased = False

    def __init__(self, k, continues, masks: int = 1):
        """continues bool (V,): true for the token ids that continue the word before them (in WordPiece those with ##)."""
        super().__init__(k, masks)
        self.continues = numpy.asarray(continues, bool)

    def distribution(self, ids, maskable):
        backend.check_ids(ids, len(self.continues), "token ids")
        words = numpy.cumsum(~self.continues[ids], axis=1)  # (B, T)
        return WholeWordMasks(numpy.where(maskable, words, -1), sizes(self.k, maskable))


class SpanProposal(StructuredProposal):
    """k positions in contiguous spans. Biased for the uniform objective.

    Its objective is the mean loss over span masks: a token's nearest neighbours are more often masked with it than uniform
    masks would have it, and positions near a sentence's start are masked less often. Source: see `SpanMasks`.
    """

    unbiased = False

    def distribution(self, ids, maskable):
        return SpanMasks(maskable, sizes(self.k, maskable))
