"""Proposals: the unbiased ones against sums over all masks, what `draw` draws, diagnostics, and bad input.

Pools are held against sums over all pools in test_pools.py; the biased kinds are in test_bias.py.
"""

import numpy
import pytest

from minimapnet import InputError, gradients, proposals
from minimapnet.mapnet.learner import MapNetScore
from minimapnet.masks.conditional_bernoulli import ConditionalBernoulli
from minimapnet.proposals import (
    BatchPoolProposal,
    FullyExploredProposal,
    PoolProposal,
    PositionProposal,
    SetProposal,
    SingleProposal,
    SpanProposal,
    UniformProposal,
    WholeWordProposal,
    scores,
)
from minimapnet.proposals.base import split_weight_over_positions, tau
from minimapnet.proposals.importance import importance_weights
from minimapnet.proposals.scores import MaskScore
from tests.helpers import proposal_checks as checks
from tests.helpers import tiny
from tests.helpers.mask_checks import chi_square
from tests.helpers.proposal_checks import IDS, MASKABLE, SHARE, SIZES, TOKENS, T

WIDE = numpy.random.default_rng(8).lognormal(0, 1.5, T)  # position scores, from about 0.1 to 10
wide = checks.fixed_position_scores(WIDE)
CONTINUES = numpy.arange(11) % 3 == 0

BY_IMPORTANCE = {
    "single, optimal": (SingleProposal(scores.exact_norm), (1, 1, 1)),
    "single, mixed": (SingleProposal(wide, 0.2), (1, 1, 1)),
    "single, MAPNet": (SingleProposal(MapNetScore(checks.mapnet(1.0)), 0.1), (1, 1, 1)),
    "set": (SetProposal(SHARE, scores.exact_norm), SIZES),
    "set, wide": (SetProposal(SHARE, wide), SIZES),
    "set, tempered": (SetProposal(SHARE, wide, 0.3), SIZES),
    "set, mixed": (SetProposal(SHARE, wide, 1.0, 0.1), SIZES),
    "set, all uniform": (SetProposal(SHARE, wide, 1.0, 1.0), SIZES),
}
EVERY_KIND = {
    "uniform": UniformProposal(SHARE),
    "uniform, two masks": UniformProposal(SHARE, 2),
    "fully explored": FullyExploredProposal(SHARE, 2),
    "whole word": WholeWordProposal(SHARE, CONTINUES),
    "span": SpanProposal(SHARE),
    "single": SingleProposal(scores.exact_norm, 0.1),
    "set": SetProposal(SHARE, scores.mean_loss, 0.5, 0.1),
    "position": PositionProposal(SHARE, scores.output_bound, 0.1),
    "pool": PoolProposal(SHARE, scores.exact_norm, 4),
    "batch pool": BatchPoolProposal(SHARE, scores.norm_from_tokens, 5, 3),
}


def test_every_kind_is_tried():
    kinds = {getattr(proposals, name) for name in proposals.__all__} - {proposals.Proposal, proposals.MaskBatch}
    assert {type(proposal) for proposal in EVERY_KIND.values()} == kinds
    assert {name for name, one in EVERY_KIND.items() if not one.unbiased} == {"whole word", "span", "position"}


# Unbiased: the expectation over all masks


@pytest.mark.parametrize(("proposal", "k"), BY_IMPORTANCE.values(), ids=BY_IMPORTANCE)
def test_importance_weights_give_the_uniform_expectation(proposal, k):
    model, masks = checks.model(), checks.list_masks(MASKABLE, k)
    p = checks.uniform(masks)
    masks_drawn_from = checks.distribution_of(proposal, model, IDS, MASKABLE, TOKENS)
    q = numpy.exp(masks_drawn_from.log_prob(masks))  # (S, B)
    numpy.testing.assert_allclose(q.sum(axis=0), 1, rtol=1e-12)
    with numpy.errstate(invalid="ignore"):  # where a sentence has fewer masks, p and q are 0
        weights = numpy.where(p > 0, importance_weights(masks_drawn_from, masks), 0.0)
    found = checks.gradient_sum(model, IDS, masks, checks.per_mask(q * weights, masks), TOKENS)
    checks.assert_same_gradient(found, checks.gradient_sum(model, IDS, masks, checks.per_mask(p, masks), TOKENS))
    assert proposal.unbiased


def test_unweighted_masks_of_a_proposal_do_not_pass():
    """The sum over all masks would show a wrong weight."""
    model, masks = checks.model(), checks.list_masks(MASKABLE, SIZES)
    proposal = SetProposal(SHARE, wide, 0.3)
    q = numpy.exp(checks.distribution_of(proposal, model, IDS, MASKABLE, TOKENS).log_prob(masks))
    found = checks.gradient_sum(model, IDS, masks, checks.per_mask(q, masks), TOKENS)
    expected = checks.gradient_sum(model, IDS, masks, checks.per_mask(checks.uniform(masks), masks), TOKENS)
    with pytest.raises(AssertionError):
        checks.assert_same_gradient(found, expected)


def test_all_partitions_together_give_the_uniform_expectation():
    """Every order of the positions once, through `draw` itself: k divides n, and not."""
    model, ids = checks.model(), IDS[:1, :5]
    for k, masks in ((2, 2), (1, 5), (3, 1)):
        keys = checks.orders(5)
        proposal = FullyExploredProposal(k, masks * len(keys))
        drawn = proposal.draw(model, ids, checks.Scripted(keys[:, None]))
        found = gradients(model, drawn.ids, drawn.positions, drawn.weights)[1]
        found = numpy.concatenate([array.ravel() for array in found.values()])
        listed = checks.list_masks(numpy.ones((1, 5), bool), (k,))
        p = checks.per_mask(checks.uniform(listed), listed)
        checks.assert_same_gradient(found, checks.gradient_sum(model, ids, listed, p))
    assert FullyExploredProposal.unbiased


# What draw draws, by many draws


SENTENCE = numpy.ones((1, 5), bool)
PAIRS, SINGLES = checks.list_masks(SENTENCE, (2,)), checks.list_masks(SENTENCE, (1,))
narrow = checks.fixed_position_scores(WIDE[:5])
by_table = checks.fixed_mask_scores(PAIRS, numpy.random.default_rng(4).lognormal(0, 1, len(PAIRS)))


@pytest.mark.parametrize(
    ("proposal", "masks"),
    [
        (UniformProposal(2), PAIRS),
        (FullyExploredProposal(2), PAIRS),
        (SingleProposal(narrow), SINGLES),
        (SingleProposal(narrow, 0.3), SINGLES),
        (SingleProposal(MapNetScore(checks.mapnet(1.0)), 0.1), SINGLES),
        (SetProposal(2, narrow, 0.5), PAIRS),
        (SetProposal(2, narrow, 0.7, 0.2), PAIRS),
        (PoolProposal(2, by_table, 4), PAIRS),
    ],
    ids=["uniform", "fully explored", "single", "single, mixed", "single, MAPNet", "set", "set, mixed", "pool"],
)
def test_drawn_masks_have_the_uniform_expectation(proposal, masks):
    drawn = proposal.draw(None, numpy.zeros((20_000, 5), int), numpy.random.default_rng(6))
    counted = checks.indicators_of(drawn, masks) * checks.importance_of(drawn)[:, None]  # (N, S)
    checks.assert_mean_is(counted, checks.uniform(masks)[:, 0])
    assert proposal.unbiased and (drawn.weights[:, :1] == drawn.weights).all()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_sets_are_drawn_as_the_weights_assume(share):
    proposal = SetProposal(2, narrow, 1.0, share)
    drawn = proposal.draw(None, numpy.zeros((5000, 5), int), numpy.random.default_rng(7))
    odds = ConditionalBernoulli(numpy.log(WIDE[:5]), 2)
    q = (1 - share) * numpy.exp(odds.log_prob(PAIRS)[:, 0]) + share / 10
    assert chi_square(drawn.positions, {tuple(mask): one for mask, one in zip(PAIRS[:, 0], q, strict=True)}) > 1e-3
    found = checks.indicators_of(drawn, PAIRS) @ (0.1 / q)
    numpy.testing.assert_allclose(checks.importance_of(drawn), found, rtol=1e-12)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_kind_draws_for_sentences_of_different_lengths(xp, name, monkeypatch):
    proposal = EVERY_KIND[name]
    model = checks.model()
    drawn = proposal.draw(model, IDS, numpy.random.default_rng(2), MASKABLE, TOKENS)
    with tiny.numpy_in_use(monkeypatch):
        same = proposal.draw(checks.model(), IDS, numpy.random.default_rng(2), MASKABLE, TOKENS)
    numpy.testing.assert_array_equal(drawn.positions, same.positions)
    numpy.testing.assert_allclose(drawn.weights, same.weights, rtol=1e-9)

    assert type(drawn.positions) is type(drawn.weights) is numpy.ndarray
    assert drawn.positions.dtype == numpy.int64 and drawn.weights.dtype == numpy.float64
    assert (drawn.weights > 0).tolist() == (drawn.positions != -1).tolist()
    ids, tokens = drawn.ids, drawn.attention_mask
    for row, words, mask in zip(drawn.positions, ids, tokens, strict=True):
        b = int(numpy.flatnonzero((words == IDS).all(axis=1) & (mask == TOKENS).all(axis=1))[0])
        masked = row[row >= 0]
        assert MASKABLE[b, masked].all()
        k = 1 if name == "single" else SIZES[b]
        assert len(masked) == k or (name == "whole word" and 0 < len(masked) < k)
    loss, _ = gradients(model, ids, drawn.positions, drawn.weights, tokens)
    assert numpy.isfinite(loss)
    assert 0 < drawn.diagnostics["effective_sample_size"] <= 1 + 1e-12
    assert drawn.diagnostics["largest_weight"] > 0 and drawn.diagnostics.get("tau", 1) >= 1


def test_everything_may_be_masked_by_default():
    rng = numpy.random.default_rng(1)
    masks = [UniformProposal(0.5).draw(None, IDS, rng, None, tokens).positions for tokens in [None, TOKENS] * 50]
    bare, padded = numpy.stack(masks[::2]), numpy.stack(masks[1::2])
    assert set(bare[:, 2].ravel()) == set(range(10)) and bare.shape[-1] == 5
    assert set(padded[:, 2].ravel()) == {-1, 0, 1, 2, 3, 4}


def test_masks_of_a_sentence_stand_in_consecutive_rows():
    drawn = FullyExploredProposal(SHARE, 3).draw(None, IDS, numpy.random.default_rng(1), MASKABLE, TOKENS)
    numpy.testing.assert_array_equal(drawn.ids, numpy.repeat(IDS, 3, axis=0))
    numpy.testing.assert_array_equal(drawn.attention_mask, numpy.repeat(TOKENS, 3, axis=0))
    three, rest = drawn.positions[:6], drawn.positions[6:]  # of the third sentence's 5 positions two masks are a partition
    for row in three.reshape(2, -1):
        assert len(set(row[row >= 0])) == (row >= 0).sum()
    assert set(rest[0]).isdisjoint(set(rest[1]) - {-1})


# Diagnostics


def test_diagnostics_by_hand():
    four = checks.fixed_position_scores(numpy.array([1.0, 1.0, 2.0, 4.0]))
    drawn = SingleProposal(four).draw(None, numpy.zeros((50, 4), int), numpy.random.default_rng(0))
    weights = numpy.array([2.0, 2.0, 1.0, 0.5])[drawn.positions[:, 0]]
    share = weights.sum() ** 2 / (50 * (weights * weights).sum())
    assert drawn.diagnostics == pytest.approx(
        {"effective_sample_size": share, "largest_weight": 2.0, "tau": (22 / 4) ** 0.5 / 2}, rel=1e-12
    )
    assert tau(numpy.array([[1.0, 3.0, 0.0], [2.0, 2.0, 2.0]]), numpy.array([[1, 1, 0], [1, 1, 1]]) == 1) == pytest.approx(
        ((5 / 4 + 1) / 2) ** 0.5, rel=1e-12
    )
    numpy.testing.assert_allclose(
        split_weight_over_positions(numpy.array([3.0, 5.0]), numpy.array([[4, 1], [2, -1]])), [[1.5, 1.5], [5, 0]]
    )


def test_weights_of_sets_explode_and_those_of_pools_do_not():
    """Norms with a coefficient of variation of about 0.67, k = 10 of 64: sets by these odds against pools of 8."""
    B, n, k = 400, 64, 10
    norms = numpy.random.default_rng(3).lognormal(0, 0.6, (B, n))

    def of_masks(model, ids, positions, attention_mask):
        found = norms[ids[:, 0, None], positions]
        return numpy.sqrt((found * found).sum(axis=1)) / k

    of_positions = checks.PositionScore(lambda ids: norms)
    ids = numpy.tile(numpy.arange(B)[:, None], n)
    kinds = SetProposal(k, of_positions), SetProposal(k, of_positions, 1 / k), PoolProposal(k, MaskScore(of_masks), 8)
    found = [kind.draw(None, ids, numpy.random.default_rng(1)).diagnostics for kind in kinds]
    raw, tempered, pool = (one["effective_sample_size"] for one in found)
    assert raw < 0.25 < 0.95 < pool and raw < tempered
    assert found[0]["largest_weight"] > 20 and found[2]["largest_weight"] < 2


# Bad input


@pytest.mark.parametrize("bad", [0.0, -1.0, numpy.nan, numpy.inf])
def test_scores_that_are_not_positive(bad):
    ids, place = numpy.zeros((2, 3), int), numpy.array([[1.0, 1.0, 1.0], [1.0, bad, 1.0]])

    of_masks = MaskScore(lambda model, ids, positions, attention_mask: numpy.where(numpy.arange(len(ids)) == 2, bad, 1.0))
    of_positions = checks.PositionScore(lambda ids: place)
    kinds = SingleProposal(of_positions), SetProposal(2, of_positions), PositionProposal(2, of_positions)
    for proposal in (*kinds, PoolProposal(2, of_masks, 2), BatchPoolProposal(2, of_masks, 2, 2)):
        with pytest.raises(InputError, match=r"scores must be positive and finite, but at \((1, 1|2,)\) stands"):
            proposal.draw(None, ids, numpy.random.default_rng(0))
    only = numpy.array([[True] * 3, [True, False, True]])
    for proposal in kinds:  # what is not maskable needs no score
        assert not (proposal.draw(None, ids, numpy.random.default_rng(0), only).positions[1] == 1).any()


@pytest.mark.parametrize(
    ("message", "proposal", "change"),
    [
        ("4 maskable positions of sentence 1, but is 5", UniformProposal(5), {}),
        ("4 maskable positions of sentence 1, but is 5", PoolProposal(5, wide, 2), {}),
        ("4 maskable positions of sentence 1, but is 5", SetProposal(5, narrow), {}),
        ("4 maskable positions of sentence 1, but is 5", PositionProposal(5, narrow), {}),
        ("5 maskable positions of sentence 0, but is 0", FullyExploredProposal(0), {}),
        ("a share of them between 0 and 1, not 1.5", UniformProposal(1.5), {}),
        ("sentence 0 of the batch has no maskable position", UniformProposal(1), {"maskable": numpy.zeros((2, 5), bool)}),
        ("padding of sentence 1 is said to be maskable", UniformProposal(1), {"maskable": numpy.ones((2, 5), bool)}),
        ("maskable must be of the ids' shape", UniformProposal(1), {"maskable": numpy.ones((2, 4), bool)}),
        ("attention_mask must be of the ids' shape", UniformProposal(1), {"attention_mask": numpy.ones((2, 4))}),
        ("token ids must be of shape", UniformProposal(1), {"ids": numpy.zeros(5, int)}),
        ("token ids must lie between 0 and 2", WholeWordProposal(1, [False] * 3), {"ids": numpy.full((2, 5), 3)}),
        ("scores must be of shape", PoolProposal(1, MaskScore(lambda *batch: numpy.ones(3)), 2), {}),
        ("scores must be of shape", SingleProposal(wide), {}),
        ("would never be drawn", PositionProposal(1, checks.fixed_position_scores(10.0 ** (5 * numpy.arange(5)))), {}),
    ],
)
def test_bad_input(message, proposal, change):
    batch = {"ids": numpy.zeros((2, 5), int), "attention_mask": numpy.array([[1] * 5, [1] * 4 + [0]])} | change
    with pytest.raises(InputError, match=message):
        proposal.draw(None, rng=numpy.random.default_rng(0), **batch)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UniformProposal(1, 0),
        lambda: SingleProposal(wide, 1.5),
        lambda: SetProposal(2, wide, -0.1),
        lambda: SetProposal(2, wide, 1.0, numpy.nan),
        lambda: PoolProposal(2, by_table, 0),
        lambda: BatchPoolProposal(2, by_table, 0),
    ],
)
def test_bad_settings(make):
    with pytest.raises(InputError):
        make()
