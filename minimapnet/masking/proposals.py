"""Proposals: what a trainer plugs in to choose masks. Each gives positions, weights and diagnostics for a batch.

The interface is `proposal.Proposal`.
"""

from minimapnet.masking.proposal import Proposal, Proposed
from minimapnet.masking.structured_proposals import UniformProposal

__all__ = ["Proposal", "Proposed", "UniformProposal"]
