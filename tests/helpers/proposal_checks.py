"""Sums over all masks, which proposals are held against, on the tiny model in float64.

Axis letters: S masks of a sentence, B sentences, T positions, K places for masked positions, M candidates of a pool.
"""

import itertools
import math

import numpy

from minimapnet import MapNet, MapNetConfig, backend, gradients
from minimapnet.masks.systematic import UNIT
from minimapnet.proposals.base import Score, Scores, checked_scores
from minimapnet.proposals.scores import MaskScore
from tests.helpers import tiny
from tests.helpers.mask_checks import codes

T = 10
IDS = numpy.random.default_rng(5).integers(2, 11, (3, T))
TOKENS = numpy.array([[1] * 10, [1] * 7 + [0] * 3, [1] * 5 + [0] * 5])  # the attention mask
MASKABLE = (TOKENS == 1) & ((numpy.arange(T) > 0) | (numpy.arange(3) != 1)[:, None])  # but for the first token of sentence 1
SHARE, SIZES = 0.3, (3, 2, 2)  # of 10, 6 and 5 maskable positions


def model():
    return tiny.model(max_position_embeddings=T)


def mapnet(spread=0.5, seed=1, **changes) -> MapNet:
    """Return a MAPNet whose predictions differ: a random readout of this size."""
    config = MapNetConfig.for_model(model().config)
    made = MapNet(config, seed)
    draw = numpy.random.default_rng(seed).standard_normal(made.params["readout.weight"].shape) * spread
    made.params["readout.weight"][...] = backend.to_device(draw)
    return made


def list_masks(maskable, k):
    """List every sentence's masks, in lexicographic order -> (S, B, K), padded with -1, whole masks too."""
    sets = [list(itertools.combinations(numpy.flatnonzero(row), size)) for row, size in zip(maskable, k, strict=True)]
    masks = numpy.full((max(map(len, sets)), len(k), max(k)), -1)
    for b, listed in enumerate(sets):
        masks[: len(listed), b, : k[b]] = listed
    return masks


def uniform(masks):
    """Return p (S, B) of the masks listed, 0 for padding."""
    listed = masks[:, :, 0] >= 0
    return listed / listed.sum(axis=0)


def gradient_sum(model, ids, masks, weights, tokens=None):
    """Return the gradient, all parameters in one vector, of (1/B) sum_b sum_s sum_j weights[s, b, j] token_loss[s, b, j]."""
    S, B, K = masks.shape
    rows = numpy.tile(numpy.arange(B), S)
    some = None if tokens is None else tokens[rows]
    _, found = gradients(model, ids[rows], masks.reshape(-1, K), (S * weights).reshape(-1, K), some)
    return numpy.concatenate([array.ravel() for array in tiny.host(found).values()])


def per_mask(importance, masks):
    """Share numbers (S, B) among the positions of their masks, evenly."""
    masked = masks != -1
    return masked * (importance / numpy.maximum(masked.sum(axis=-1), 1))[..., None]


def assert_same_gradient(found, expected):
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * numpy.abs(expected).max())


class Scripted:
    """In place of a random generator: gives the arrays that were listed, in order, of the shapes that are asked for."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def random(self, size):
        answer = self.answers.pop(0)
        assert answer.shape == tuple(numpy.atleast_1d(size))
        return answer

    def integers(self, high, size):
        answer = self.random(size)
        assert answer.max() < high
        return answer


def orders(n):
    """List keys (n!, n) whose sorting gives every order of n once."""
    return numpy.array(list(itertools.permutations(range(n))), float)


def systematic_table(masks, listed):
    """Return the exact probability of every mask listed (S, 1, K) under SystematicMasks of one sentence.

    They are those of its own `sample`.

    For every order, the offsets from one change of the outcome to the next give one mask.
    """
    keys, offsets, shares = [], [], []
    lengths = numpy.rint(masks.inclusion_probabilities()[0] * UNIT).astype(int)
    for key in orders(len(lengths)):
        edges = numpy.unique([0, *(-numpy.cumsum(lengths[numpy.argsort(key)]) % UNIT), UNIT])
        keys += [key] * (len(edges) - 1)
        offsets += list(edges[:-1])
        shares += list(numpy.diff(edges) / UNIT / math.factorial(len(lengths)))
    rng = Scripted(numpy.array(keys)[:, None], numpy.array(offsets)[:, None, None])
    drawn = masks.sample(rng, len(keys))
    return table_of(drawn, listed, numpy.array(shares)[:, None])


def table_of(drawn, listed, shares):
    """Add up the shares (S', 1) of drawn masks (S', 1, K) by the mask listed -> (S, 1)."""
    place = {int(code): s for s, code in enumerate(codes(listed[:, 0]))}
    found = [place[int(code)] for code in codes(drawn[:, 0])]
    return numpy.bincount(found, shares[:, 0], minlength=len(listed))[:, None]


def importance_of(drawn):
    """Return the importance weight of each mask that a proposal drew (N,)."""
    return drawn.weights.sum(axis=1)


def assert_mean_is(samples, expected):
    """Fail where the means of samples (R, S) are further from expected (S,) than 4.5 of their standard errors."""
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    z = (samples.mean(axis=0) - expected) / error
    assert numpy.abs(z).max() < 4.5, z


def indicators_of(drawn, listed):
    """Return which of the masks listed (S, 1, K) each drawn one (N, K) is -> (N, S)."""
    return codes(drawn.positions)[:, None] == codes(listed[:, 0])


class PositionScore(Score):
    """The scores of positions that a function of ids (B, T) gives, (B, T)."""

    def __init__(self, function):
        self.function = function

    def of_masks(self, model, ids, masks, attention_mask=None):
        raise NotImplementedError

    def of_positions(self, model, ids, maskable, attention_mask=None):
        return Scores(self.function(ids))


def fixed_position_scores(scores):
    """Make a score of positions that gives these (T,) for every sentence."""
    return PositionScore(lambda ids: numpy.tile(scores, (len(ids), 1)))


def fixed_mask_scores(listed, scores):
    """Make a score that gives scores (S,) of the masks listed (S, 1, K)."""
    table = numpy.full(codes(listed[:, 0]).max() + 1, numpy.nan)
    table[codes(listed[:, 0])] = scores
    return MaskScore(lambda model, ids, positions, attention_mask: table[codes(positions)])


def distribution_of(proposal, model, ids, maskable, attention_mask=None):
    """Return the distribution from which a proposal that scores positions draws."""
    scores = proposal.score.of_positions(model, ids, maskable, attention_mask).relative()
    return proposal.distribution(checked_scores(scores, ids.shape, maskable), maskable)


def shortfall(masks, q, proposal):
    """Return what a distribution over masks loses against q*: masks (S, B, K) and q (S, B) as `optimal_mask_proposal` lists.

    -> its second moment over the least (B,), which is 1 + chi^2(q* || q), and KL(q* || q) in nats (B,).
    """
    with numpy.errstate(divide="ignore"):
        log_q = numpy.log(q)  # (S, B), -inf where there is no mask, or no gradient
    log_ratio = numpy.where(q > 0, log_q - numpy.where(q > 0, proposal.log_prob(masks), 0.0), 0.0)
    return (q * numpy.exp(log_ratio)).sum(axis=0), (q * log_ratio).sum(axis=0)


def host_scores(score, model, ids, listed):
    """Return a score of the masks listed (S, 1, K) of one sentence (1, T) -> (S,)."""
    return backend.to_host(score(model, numpy.repeat(ids, len(listed), axis=0), listed[:, 0], None))
