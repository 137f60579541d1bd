"""Where the variance of a gradient comes from: the data or the masks, and what a proposal can remove of the latter.

    Var g = Var_x(E_M[g | x]) + E_x[Var_M(g | x)] = data variance + mask variance        (law of total variance)

"Variance" is the trace of the covariance. Drawing M ~ q and weighting by w = p/q leaves the mean as it is, and the second
moment E_q |w g|^2 is least, (E_p |g|)^2, at q* proportional to p |g|. So no choice of single masks within a sentence
removes more than the *headroom*, E_x[Var_{M ~ p}(|g| | x)], and what it does remove is E_p |g|^2 - E_q |w g|^2.

`decompose_variance` estimates all this from draws, `enumeration.exact_variance` enumerates all masks.

Axis letters: N sentences, R masks of each, P parameters, G groups of parameters, Q the whole and then the groups.
"""

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.gradient_norms.norms import sequence_squares
from minimapnet.masks.uniform import UniformMasks
from minimapnet.progress import progress
from minimapnet.proposals.base import Proposal
from minimapnet.proposals.pools import BatchPoolProposal
from minimapnet.variance.accumulators import VarianceAccumulator, leave_one_out, share
from minimapnet.variance.jackknife import intervals, standard_errors
from minimapnet.variance.passes import Groups, mean_gradient, mean_gradients, sentences
from minimapnet.variance.report import Estimate, ProposalVariance, VarianceReport, Variances

FEWEST_SENTENCES = 3  # leaving one out must leave two, between which there is a variance
FEWEST_MASKS = 2


def decompose_variance(
    model, ids, k, masks: int = 16, seed: int = 0, maskable=None, attention_mask=None, proposals=None
) -> VarianceReport:
    """Estimate data variance, mask variance and headroom of the model's gradient on a sample of sentences.

    ids (N, T) are the *unmasked* tokens of sentences that were drawn independently of each other; `masks` is the number R
    of uniform masks that are drawn for each, from `seed`; k is a number of positions, one for each sentence (N,), or a share
    of the maskable positions (a float below 1); `maskable` bool (N, T) is true where a mask may fall, by default where
    attention_mask (N, T) is 1. `proposals` {name: Proposal} are held against uniform masks, R estimates of each for each
    sentence; see `ProposalVariance`.

    Every estimate is unbiased (ratios are ratios of such) and has a standard error and a 95 % interval by the jackknife over
    sentences; `Estimate` says how far to trust these. The cost is that of the gradients, the memory that of a few
    parameter-sized vectors (one more for every biased proposal, and one for every thread), whatever N and R: see
    `accumulators`.

    Raises InputError for fewer than 3 sentences or 2 masks, for k below 1 or above what is maskable, and as `gradients`.
    """
    batch = sentences(ids, k, maskable, attention_mask)
    if len(batch) < FEWEST_SENTENCES:
        raise InputError(f"{len(batch)} sentences are too few for a standard error: give {FEWEST_SENTENCES} at least")
    if masks < FEWEST_MASKS:
        raise InputError(f"{masks} masks a sentence have no variance: draw {FEWEST_MASKS} at least")
    accumulator = VarianceAccumulator(Groups(model.shapes))
    trials = [_ProposalUnderTest(name, proposal, accumulator) for name, proposal in (proposals or {}).items()]
    draws = [_uniform(sentence, masks, seed, b) for b, sentence in enumerate(batch)]  # of (R, K)
    gradients = mean_gradients(model, accumulator.groups, batch, draws)
    for b, sentence in enumerate(progress(batch, unit="sentence", leave=False)):
        mean, squares = next(gradients)  # (P,), (G, R)
        accumulator.add(mean, squares)
        for trial in trials:
            trial.add(model, sentence, masks, backend.generator(seed, f"variance/{trial.name}", b), mean)
    return _report(batch, masks, accumulator, trials)


def _uniform(sentence, masks, seed, b) -> numpy.ndarray:
    """Draw the uniform masks (R, K) of sentence number b."""
    return UniformMasks(sentence.maskable, sentence.k).sample(backend.generator(seed, "variance/uniform", b), masks)[:, 0]


class _ProposalUnderTest:
    """One proposal under test. `rows` is what one of its estimates takes, `bounded` whether the headroom bounds it."""

    def __init__(self, name: str, proposal: Proposal, accumulator: VarianceAccumulator):
        if isinstance(proposal, BatchPoolProposal):
            raise InputError(f"{name} chooses among sentences: it has no mask variance within one of them")
        self.name, self.proposal, self.accumulator = name, proposal, accumulator
        self.rows, self.bounded = 1, True

    def add(self, model, sentence, count, rng, uniform) -> None:
        """Draw `count` estimates for a sentence, whose mean gradient under uniform masks is `uniform` (P,)."""
        groups, proposal = self.accumulator.groups, self.proposal
        ids, maskable, attention_mask = sentence.copies(count)
        drawn = proposal.draw(model, ids, rng, maskable, attention_mask)
        self.rows = len(drawn.positions) // count
        importance = _importance(drawn)
        self.bounded = proposal.unbiased and self.rows == 1 and importance is not None
        if self.bounded:
            squares_by_group = sequence_squares(model, ids, drawn.positions, drawn.weights, attention_mask)
            squares = [backend.to_host(squares_by_group[name]).astype(numpy.float64) for name in groups.names]
            self.accumulator.add_weighted(self.name, numpy.array(squares), importance)
        else:
            mean, squares = _estimates(model, groups, sentence, drawn, self.rows, count)  # (P,), (G, R)
            self.accumulator.add_estimates(self.name, mean, squares, self.rows, None if proposal.unbiased else uniform)

    def report(self, estimate) -> ProposalVariance:
        """Return what came out; `estimate` gives the Estimates (Q,) of a function of the columns' means, between bounds."""
        freed = f"{self.name}/removed"
        headroom = numpy.array([one.value for one in estimate(lambda m: m["norms"])]) if self.bounded else numpy.inf
        least = 1 - estimate(lambda m: share(m["norms"], m["within"]))[0].value if self.bounded else 0.0
        removed = estimate(lambda m: m[freed], high=headroom)
        estimates = {
            "mask": estimate(lambda m: m["within"] - m[freed], low=0.0)[0],
            "ratio": estimate(lambda m: 1 - share(m[freed], m["within"]), low=least)[0],
            "removed_by_group": dict(zip(self.accumulator.groups.names, removed[1:], strict=True)),
        }
        if self.bounded:
            estimates["share_won"] = estimate(lambda m: share(m[freed], m["norms"]), high=1.0)[0]
        if not self.proposal.unbiased:
            estimates["sentence_bias"] = estimate(lambda m: m[f"{self.name}/sentence bias"])[0]
            estimates["bias"] = estimate(lambda m: m[f"{self.name}/square"] - m[f"{self.name}/step"])[0]
        return ProposalVariance(self.proposal.unbiased, self.rows, **estimates)


def _importance(drawn) -> numpy.ndarray | None:
    """Return the importance weights of whole masks (R,), or None where the positions of a mask have weights of their own."""
    masked = drawn.positions != -1
    importance = drawn.weights.sum(axis=1)  # (R,)
    shared = masked * (importance / masked.sum(axis=1))[:, None]
    return importance if numpy.allclose(drawn.weights, shared, rtol=1e-9, atol=0) else None


def _estimates(model, groups, sentence, drawn, rows, count):
    """Return the mean (P,) of `count` estimates, of `rows` rows each, and their squared norms (G, count)."""
    if rows == 1:
        return mean_gradient(model, groups, sentence, drawn.positions, drawn.weights)
    total, squares = 0.0, []
    for start in range(0, rows * count, rows):
        own = slice(start, start + rows)
        vector, _ = mean_gradient(model, groups, sentence, drawn.positions[own], drawn.weights[own])
        squares.append(groups.squares(vector))
        total = total + vector
    return total / count, numpy.stack(squares, axis=1)


def _report(batch, masks, accumulator, trials) -> VarianceReport:
    def estimate(function, low=-numpy.inf, high=numpy.inf):
        values, without = leave_one_out(accumulator.columns, function)  # (Q,), (N, Q)
        ends = intervals(values, without, low, high).T.tolist()  # (Q, 2)
        errors = standard_errors(without)
        return [Estimate(float(v), float(e), tuple(pair)) for v, e, pair in zip(values, errors, ends, strict=True)]

    parts = zip(
        estimate(lambda m: m["step"] - m["noise"], low=0.0),
        estimate(lambda m: m["within"], low=0.0),
        estimate(lambda m: m["norms"], low=0.0),
        strict=True,
    )
    whole, *groups = (Variances(*part) for part in parts)
    return VarianceReport(
        sentences=len(batch),
        masks=masks,
        positions=float(numpy.mean([sentence.k for sentence in batch])),
        maskable=float(numpy.mean([sentence.maskable.sum() for sentence in batch])),
        whole=whole,
        mask_share=estimate(lambda m: share(m["within"], m["step"] - m["noise"] + m["within"]), 0.0, 1.0)[0],
        headroom_share=estimate(lambda m: share(m["norms"], m["within"]), 0.0, 1.0)[0],
        signal=estimate(lambda m: m["square"] - m["step"])[0],
        groups=dict(zip(accumulator.groups.names, groups, strict=True)),
        proposals={trial.name: trial.report(estimate) for trial in trials},
    )
