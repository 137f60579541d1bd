"""The optimal proposals: against the loop of gradients, and as the least of all second moments."""

import numpy
import pytest
from scipy import optimize

import minimapnet
from minimapnet import ConditionalBernoulli, InputError, UniformMasks, optimal_mask_proposal, optimal_position_proposal
from minimapnet.masks.systematic import SystematicMasks
from minimapnet.masks.uniform import SinglePosition
from minimapnet.proposals import SetProposal, optimal
from minimapnet.proposals.optimal import best_conditional_bernoulli
from tests.helpers import proposal_checks as checks
from tests.helpers.norm_loop import norms, sequence_loop
from tests.helpers.proposal_checks import IDS, MASKABLE, SHARE, SIZES, TOKENS, T

NAMES = ("UniformMasks", "ConditionalBernoulli", "optimal_position_proposal", "optimal_mask_proposal")


def loop_norms(model, masks):
    """Return |g(M)| of masks (S, B, K) by one backward pass for each -> (S, B), 0 for padding."""
    found = numpy.zeros(masks.shape[:2])
    for s, positions in enumerate(masks):
        positions = numpy.where((positions[:, :1] < 0) & (numpy.arange(masks.shape[2]) == 0), 1, positions)
        weights = (positions != -1) / (positions != -1).sum(axis=1, keepdims=True)
        found[s] = norms(sequence_loop(model, IDS, positions, weights, TOKENS))
    return numpy.where(masks[:, :, 0] >= 0, found, 0.0)


@pytest.fixture(scope="module")
def enumerated():
    """Return all masks (S, B, K), q* (S, B), and the norms (S, B) that it was made from."""
    masks, q = optimal_mask_proposal(checks.model(), IDS, SHARE, TOKENS, MASKABLE)
    return masks, q, loop_norms(checks.model(), masks)


def second_moment(masks, found, q):
    """Return E_q[w^2 |g|^2] = sum_M p(M)^2 |g(M)|^2 / q(M) by sentence (B,)."""
    p = checks.uniform(masks)
    return (p**2 * found**2 / numpy.where(p > 0, q, 1.0)).sum(axis=0)


def least(masks, found):
    return (checks.uniform(masks) * found).sum(axis=0) ** 2  # (E_p |g|)^2


def test_public_names():
    assert set(NAMES) <= set(minimapnet.__all__)


def test_positions_in_proportion_to_their_norms(xp):
    model = checks.model()
    q = optimal_position_proposal(model, IDS, TOKENS, MASKABLE)
    masks = checks.list_masks(MASKABLE, (1, 1, 1))
    expected = numpy.zeros(IDS.shape)
    for b, found in enumerate(loop_norms(model, masks).T):
        listed = masks[:, b, 0] >= 0
        expected[b, masks[listed, b, 0]] = found[listed] / found.sum()
    assert type(q) is numpy.ndarray and q.dtype == numpy.float64
    numpy.testing.assert_allclose(q, expected, rtol=1e-10)
    q = optimal_position_proposal(model, IDS)
    assert (q > 0).all()
    numpy.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-12)


def test_masks_in_proportion_to_their_norms(enumerated):
    masks, q, found = enumerated
    numpy.testing.assert_array_equal(masks, checks.list_masks(MASKABLE, SIZES))
    numpy.testing.assert_allclose(q, found / found.sum(axis=0), rtol=1e-10)


def test_masks_on_every_backend(xp):
    masks, q = optimal_mask_proposal(checks.model(), IDS[2:, :5], 2)
    p = optimal_position_proposal(checks.model(), IDS[2:, :5])
    numpy.testing.assert_allclose(q, loop_norms_of(checks.model(), IDS[2:, :5], masks), rtol=1e-10)
    one, q = optimal_mask_proposal(checks.model(), IDS[2:, :5], 1)
    numpy.testing.assert_array_equal(one[:, 0, 0], numpy.arange(5))
    numpy.testing.assert_allclose(q.T, p, rtol=1e-10)


def loop_norms_of(model, ids, masks):
    """Return q* (S, 1) of one sentence by a loop."""
    found = [norms(sequence_loop(model, ids, mask, numpy.full(mask.shape, 1 / mask.shape[1]))) for mask in masks]
    return numpy.array(found) / numpy.sum(found)


def test_the_least_second_moment_among_a_hundred_others(enumerated):
    masks, q, found = enumerated
    p = checks.uniform(masks)
    best = second_moment(masks, found, q)
    numpy.testing.assert_allclose(best, least(masks, found), rtol=1e-10)
    headroom = second_moment(masks, found, p) - best
    mean = (p * found).sum(axis=0)
    numpy.testing.assert_allclose(headroom, (p * (found - mean) ** 2).sum(axis=0), rtol=1e-10)  # Var_p |g|
    rng = numpy.random.default_rng(9)
    for size in numpy.geomspace(1e-3, 1, 100):
        other = q * rng.lognormal(0, size, q.shape)
        moment = second_moment(masks, found, other / other.sum(axis=0))
        assert (moment > best * (1 + 0.01 * size**2)).all()


def proposals_of(model, masks, q):
    """Return distributions over the masks listed, of every kind that has probabilities."""
    k = numpy.array(SIZES)
    exact = optimal_position_proposal(model, IDS, TOKENS, MASKABLE)
    wide = numpy.random.default_rng(1).lognormal(0, 1, IDS.shape)
    yield UniformMasks(MASKABLE, k)
    yield best_conditional_bernoulli(masks, q, T)
    for scores in (exact, wide):
        for exponent, share in ((1.0, 0.0), (0.4, 0.0), (0.4, 0.3)):
            yield SetProposal(SHARE, None, exponent, share).distribution(scores, MASKABLE)


def test_no_proposal_goes_below_the_least(enumerated):
    masks, q, found = enumerated
    for proposal in proposals_of(checks.model(), masks, q):
        probabilities = numpy.exp(proposal.log_prob(masks))
        numpy.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-10)
        moment = second_moment(masks, found, probabilities)
        assert (moment >= least(masks, found) * (1 - 1e-12)).all()
        moment_lost, divergence_lost = checks.shortfall(masks, q, proposal)
        numpy.testing.assert_allclose(moment_lost, moment / least(masks, found), rtol=1e-9)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            divergence = numpy.where(q > 0, q * numpy.log(q / probabilities), 0.0).sum(axis=0)
        numpy.testing.assert_allclose(divergence_lost, divergence, atol=1e-12)
        assert (divergence_lost > 0).all()


def test_single_masks_by_q_star_lose_nothing():
    q = optimal_position_proposal(checks.model(), IDS, TOKENS, MASKABLE)
    masks, same = optimal_mask_proposal(checks.model(), IDS, 1, TOKENS, MASKABLE)
    with numpy.errstate(divide="ignore"):
        moment_lost, divergence_lost = checks.shortfall(masks, same, SinglePosition(numpy.log(q), MASKABLE))
    numpy.testing.assert_allclose(moment_lost, 1, rtol=1e-10)
    numpy.testing.assert_allclose(divergence_lost, 0, atol=1e-10)


def test_what_a_proposal_cannot_draw_costs_everything():
    masks = checks.list_masks(numpy.ones((1, 3), bool), (2,))
    without = UniformMasks(numpy.array([[True, True, False]]), 2)
    moment_lost, divergence_lost = checks.shortfall(masks, numpy.array([[0.5], [0.5], [0.0]]), without)
    assert moment_lost[0] == divergence_lost[0] == numpy.inf
    moment_lost, divergence_lost = checks.shortfall(masks, numpy.array([[1.0], [0.0], [0.0]]), without)
    assert (moment_lost[0], divergence_lost[0]) == (1, 0)


# The best conditional Bernoulli


def test_its_inclusion_probabilities_match(enumerated):
    masks, q, _ = enumerated
    holds = (masks[:, :, :, None] == numpy.arange(T)).any(axis=2)  # (S, B, T)
    best = best_conditional_bernoulli(masks, q, T)
    numpy.testing.assert_allclose(best.inclusion_probabilities(), (q[:, :, None] * holds).sum(axis=0), rtol=1e-9)


def test_it_is_the_nearest_as_a_search_finds_it(enumerated):
    """Minimising KL(q* || .) over the log-odds of one sentence, by a routine that knows nothing of moments."""
    masks, q, _ = enumerated
    masks, q = masks[:20, 2:, :2][:10], q[:10, 2:]  # the sentence of five tokens: ten masks
    best = checks.shortfall(masks, q, best_conditional_bernoulli(masks, q, 5))[1][0]

    def divergence(log_odds):
        return checks.shortfall(masks, q, ConditionalBernoulli(log_odds, 2))[1][0]

    found = optimize.minimize(divergence, numpy.zeros(5), method="BFGS")
    assert best == pytest.approx(found.fun, rel=1e-6) and best <= found.fun + 1e-12
    assert best < checks.shortfall(masks, q, UniformMasks(5, 2))[1][0]


def test_where_all_is_masked_there_is_nothing_to_choose():
    masks, q = optimal_mask_proposal(checks.model(), IDS, numpy.array([1, 2, 5]), TOKENS, MASKABLE)
    best = best_conditional_bernoulli(masks, q, T)
    numpy.testing.assert_allclose(best.inclusion_probabilities()[2], TOKENS[2])
    numpy.testing.assert_allclose(best.inclusion_probabilities()[0], q[:10, 0], rtol=1e-9)
    masks, q = optimal_mask_proposal(checks.model(), IDS[2:, :5], 5)
    assert q.tolist() == [[1.0]]
    assert best_conditional_bernoulli(masks, q, 5).log_prob(masks)[0, 0] == pytest.approx(0, abs=1e-12)


# Bad input


def test_too_many_masks(monkeypatch):
    with pytest.raises(InputError, match="145 masks, more than the 144 whose gradients"):
        monkeypatch.setattr(optimal, "MOST_GRADIENTS", 144)
        optimal_mask_proposal(checks.model(), IDS, SHARE, TOKENS, MASKABLE)
    monkeypatch.undo()
    with pytest.raises(InputError, match="more than the 20000"):
        optimal_mask_proposal(None, numpy.zeros((1, 128), int), 19)


def test_norms_without_a_sum():
    """NaN parameters give no norms; a model that is sure of a token, and right, has no gradient."""
    model = checks.model()
    model.flat[...] = numpy.nan
    with pytest.raises(InputError, match="norms of sentence 0 are not finite or all zero"):
        optimal_position_proposal(model, IDS)
    with pytest.raises(InputError, match="norms of sentence 0 are not finite or all zero"):
        optimal_mask_proposal(model, IDS, 1)
    model.flat[...] = 0.0  # no parameter but the decoder's bias has a gradient
    numpy.testing.assert_allclose(optimal_position_proposal(model, IDS), 0.1, rtol=1e-12)
    model.params["head.decoder.bias"][7] = 1000.0
    with pytest.raises(InputError, match="norms of sentence 1 are not finite or all zero"):
        optimal_position_proposal(model, numpy.array([[7, 5, 7], [7, 7, 7]]))
    numpy.testing.assert_array_equal(optimal_position_proposal(model, numpy.array([[7, 5, 7]])), [[0, 1, 0]])


@pytest.mark.parametrize("k", [0, 6, 1.5, "2"])
def test_bad_k(k):
    with pytest.raises(InputError, match="k must"):
        optimal_mask_proposal(checks.model(), IDS[:, :5], k)


def test_systematic_masks_have_no_shortfall():
    with pytest.raises(InputError, match="systematic"):
        checks.shortfall(
            checks.list_masks(numpy.ones((1, 4), bool), (2,)), numpy.full((6, 1), 1 / 6), SystematicMasks(numpy.full(4, 0.5))
        )
