"""Proposals: what a trainer plugs in to choose masks. Each gives positions, weights and diagnostics for a batch.

    proposal                draws                                           weight of a mask        uniform objective
    UniformProposal         k positions                                     1                       unbiased
    FullyExploredProposal   disjoint masks of a sentence                    1                       unbiased
    WholeWordProposal       whole words, at most k positions                1                       biased
    SpanProposal            k positions in spans                            1                       biased
    SingleProposal          one position, by its score                      1 / (n q_i)             unbiased, k = 1
    SetProposal             k positions, conditional Bernoulli              p(M) / q(M)             unbiased, explodes with k
    PoolProposal            one of m uniform masks, by its score            mean(s) / s             unbiased
    BatchPoolProposal       N of m B (sentence, mask) pairs, by score       mean(s) / s             unbiased
    PositionProposal        k positions, inclusion by score                 1 / (n pi_i), each its  biased by its contexts

The interface is `base.Proposal`; scores, by which five of them draw, are in `scores.py`, and the one that learns is
`mapnet.learner.MapNetScore`. A mask's weight is shared among its positions as weight / k. `training.proposal_registry`
has all of them by name.
"""

from minimapnet.proposals.base import MaskBatch, Proposal
from minimapnet.proposals.importance import PositionProposal, SetProposal, SingleProposal
from minimapnet.proposals.pools import BatchPoolProposal, PoolProposal
from minimapnet.proposals.structured import FullyExploredProposal, SpanProposal, UniformProposal, WholeWordProposal

__all__ = [
    "BatchPoolProposal",
    "FullyExploredProposal",
    "MaskBatch",
    "PoolProposal",
    "PositionProposal",
    "Proposal",
    "SetProposal",
    "SingleProposal",
    "SpanProposal",
    "UniformProposal",
    "WholeWordProposal",
]
