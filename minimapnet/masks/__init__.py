"""Distributions over masks of a batch of sentences: on the host, in float64, probabilities in log space throughout.

The interface (see `masks.MaskDistribution`), the same for all of them:

    sample(rng, size)          int64 positions (S, B, K), ascending in each mask, padded with -1
    log_prob(positions)        log P(mask) in nats, (..., B, K) -> (..., B), -inf for a mask that cannot occur
    inclusion_probabilities()  P(position is masked), (B, T), 0 where not maskable

A distribution is made for B sentences of T places. Which of these may be masked, say no padding and no [CLS], is a bool
array `maskable` (B, T); k is one number or one a sentence, so sentences of different lengths share a batch, and each behaves
as it would alone. One sentence may be given without its axis: UniformMasks(n, k) by its length, the others by weights (T,).
The axis B is always there in what comes out. Trainers draw with size 1, pools with size m, the variance decomposition
thousands of masks of one sentence. Log-odds and log weights must be finite wherever a position is maskable; elsewhere they
are not looked at.

Everything random comes from the NumPy generator given. A distribution's probabilities are of one mask by itself; only
FullyExploredMasks ties several masks of a sentence to each other.

    distribution          masks                                 log_prob         inclusion_probabilities
    UniformMasks          sets of k, equally likely             exact            exact
    SinglePosition        one position, by weight               exact            exact
    ConditionalBernoulli  coins given that k come up            exact            exact
    SystematicMasks       given inclusion probabilities         none             exact
    FullyExploredMasks    disjoint sets of k                    of one mask      exact
    WholeWordMasks        whole words, at most k positions      none             none
    SpanMasks             spans, k positions                    none             none

Where there is none, the method says so by an InputError.
"""

from minimapnet.masks.base import MaskDistribution, all_masks
from minimapnet.masks.conditional_bernoulli import ConditionalBernoulli
from minimapnet.masks.structured import FullyExploredMasks, SpanMasks, WholeWordMasks
from minimapnet.masks.systematic import SystematicMasks
from minimapnet.masks.uniform import SinglePosition, UniformMasks

__all__ = [
    "ConditionalBernoulli",
    "FullyExploredMasks",
    "MaskDistribution",
    "SinglePosition",
    "SpanMasks",
    "SystematicMasks",
    "UniformMasks",
    "WholeWordMasks",
    "all_masks",
]
