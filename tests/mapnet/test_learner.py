"""Proposals that learn: that they draw by MAPNet's scores, stay unbiased, and lower what they learn by."""

import numpy
import pytest

from minimapnet import InputError, backend, gradients_and_norms
from minimapnet.mapnet.learner import OBJECTIVES, MapNetScore
from minimapnet.mapnet.quality import position_probabilities
from minimapnet.proposals import BatchPoolProposal, PoolProposal, PositionProposal, SingleProposal, UniformProposal
from minimapnet.proposals.base import Scores
from tests.helpers import proposal_checks as checks
from tests.helpers.proposal_checks import IDS, MASKABLE, SHARE, TOKENS, mapnet

DRAWS = {
    "single": lambda score: SingleProposal(score, 0.1),
    "pool": lambda score: PoolProposal(SHARE, score, 4, 0.1),
    "batch pool": lambda score: BatchPoolProposal(SHARE, score, 5, 3, 0.1),
}
KINDS = {
    f"{draws}, {name}": lambda net, make=make, name=name: make(MapNetScore(net, name))
    for draws, make in DRAWS.items()
    for name in OBJECTIVES
}
KINDS["position"] = lambda net: PositionProposal(SHARE, MapNetScore(net), 0.3)
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def step(model, proposal, number):
    """Make one step of training without the model's: draw, take the norms, learn."""
    drawn = proposal.draw(model, IDS, numpy.random.default_rng(number), MASKABLE, TOKENS)
    norms = gradients_and_norms(model, drawn.ids, drawn.positions, drawn.weights, drawn.attention_mask)[2]
    return drawn, backend.to_host(norms)


@every_kind
def test_a_step_of_every_kind(xp, make):
    """On every backend, with padding, and the same again from the same state."""
    model, proposal = checks.model(), make(mapnet())
    assert proposal.learns_after(1) and proposal.unbiased == (not isinstance(proposal, PositionProposal))
    before = backend.to_host(proposal.score.network.flat).copy()
    first, norms = step(model, proposal, 1)
    assert set(proposal.learn(first, norms)) == {"mapnet_loss"}
    assert (backend.to_host(proposal.score.network.flat) != before).any()

    other = make(mapnet(seed=5))
    other.load_state(proposal.state())
    results = [step(model, one, 2)[0] for one in (proposal, other)]
    assert all((results[0].weights == one.weights).all() for one in results)
    for one in (proposal, other):
        assert one.learn(*step(model, one, 3), 0.5).keys() == {"mapnet_loss"}
    for name, array in proposal.state().items():
        assert type(array) is numpy.ndarray and (array == other.state()[name]).all(), name
    assert (first.positions >= -1).all()


def test_single_masks_are_weighted_by_their_probability():
    """q = (1 - u) softmax(f) + u / n of the maskable positions, and the weights 1 / (n q)."""
    net = mapnet()
    proposal = SingleProposal(MapNetScore(net), 0.2)
    drawn = proposal.draw(None, IDS, numpy.random.default_rng(0), MASKABLE, TOKENS)
    odds = numpy.where(MASKABLE, numpy.exp(net.log_norms(IDS, TOKENS)), 0)
    n = MASKABLE.sum(axis=1)
    q = 0.8 * odds / odds.sum(axis=1, keepdims=True) + 0.2 * MASKABLE / n[:, None]
    own = numpy.take_along_axis(q, drawn.positions, axis=1)[:, 0]
    numpy.testing.assert_allclose(drawn.weights[:, 0], 1 / (n * own), rtol=1e-10)


@pytest.mark.parametrize("kind", ["pool", "batch pool"])
def test_pools_keep_by_the_mixture_of_scores(kind):
    """Each candidate's probability is (1 - u) S / sum S + u / count, its weight 1 / (count q); MAPNet runs once."""
    net, seen = mapnet(), []
    forward = net.forward
    net.forward = lambda ids, attention_mask=None: seen.append(len(ids)) or forward(ids, attention_mask)
    score = MapNetScore(net)
    proposal = PoolProposal(SHARE, score, 4, 0.2) if kind == "pool" else BatchPoolProposal(SHARE, score, 5, 4, 0.2)
    drawn = proposal.draw(None, IDS, numpy.random.default_rng(3), MASKABLE, TOKENS)
    assert seen == [3]
    selected = drawn.choice.selected
    scores = numpy.exp(drawn.choice.scores.values.reshape(drawn.choice.groups, -1))  # (G, M)
    assert scores.shape == ((3, 4) if kind == "pool" else (1, 12))
    q = 0.8 * scores / scores.sum(axis=1, keepdims=True) + 0.2 / scores.shape[1]
    numpy.testing.assert_allclose(drawn.weights.sum(axis=1), 1 / (scores.shape[1] * q.ravel()[selected]), rtol=1e-10)
    f, sentences = net.log_norms(IDS, TOKENS), selected // 4
    k = (drawn.positions >= 0).sum(axis=1)
    own = numpy.where(drawn.positions >= 0, numpy.exp(2 * f[sentences[:, None], drawn.positions]), 0).sum(axis=1)
    numpy.testing.assert_allclose(scores.ravel()[selected], numpy.sqrt(own) / k, rtol=1e-10)
    if kind == "batch pool":
        assert (drawn.ids == IDS[sentences]).all()


@every_kind
def test_norms_may_lie_far_apart(make):
    """So far that float32, and float64 too, have no ratio for them: still a draw, and still a step."""
    net = mapnet()
    net.params["readout.weight"] *= 2000
    assert numpy.ptp(net.log_norms(IDS, TOKENS)) > 2000
    proposal = make(net)
    drawn = proposal.draw(None, IDS, numpy.random.default_rng(1), MASKABLE, TOKENS)
    assert numpy.isfinite(drawn.weights).all()
    assert numpy.isfinite(proposal.learn(drawn, numpy.ones(len(drawn.positions)))["mapnet_loss"])
    assert numpy.isfinite(net.flat).all()


def test_scores_without_a_uniform_share_stay_positive():
    assert Scores(numpy.array([[-5000.0, 3000.0, 2999.0]]), log=True).relative().min() > 0
    drawn = PoolProposal(2, MapNetScore(mapnet(5000.0)), 6).draw(None, IDS[:1], numpy.random.default_rng(1))
    assert numpy.isfinite(drawn.weights).all()


TRUE = numpy.random.default_rng(9).lognormal(0, 1, 11)  # |g| of a token, wherever it stands


def fixed_norms(drawn):
    """Return the norms of rows whose token gradients are orthogonal, each as long as its token says."""
    tokens = numpy.take_along_axis(drawn.ids, numpy.maximum(drawn.positions, 0), axis=1)
    return numpy.sqrt(((drawn.weights * TRUE[tokens]) ** 2).sum(axis=1))


MANY = numpy.tile(IDS, (6, 1)), numpy.tile(MASKABLE, (6, 1)), numpy.tile(TOKENS, (6, 1))  # 18 sentences


def excess(f):
    """Return the second moment of single masks drawn by f (B, T) beyond the least, a sum over all of them."""
    g = numpy.where(MASKABLE, TRUE[IDS], 0)
    q = position_probabilities(f, MASKABLE, 0.0)
    return sum((g[b, row] ** 2 / q[b, row]).sum() for b, row in enumerate(MASKABLE)) - (g.sum(axis=1) ** 2).sum()


@pytest.mark.parametrize("kind", [*list(KINDS)[:3], "pool, cross-entropy", "batch pool, regression", "position"])
def test_learning_finds_the_norms(kind):
    """Within 150 steps most of the headroom of single masks is won by what any kind has learned from its own masks."""
    proposal = KINDS[kind](mapnet(0.01))
    proposal.score.learning_rate = 5e-3
    for number in range(150):
        drawn = proposal.draw(None, MANY[0], numpy.random.default_rng(number), *MANY[1:])
        proposal.learn(drawn, fixed_norms(drawn))
    assert excess(proposal.score.network.log_norms(IDS, TOKENS)) < 0.3 * excess(numpy.zeros(IDS.shape))


# Bad input


def test_what_cannot_be_learned_from():
    proposal = SingleProposal(MapNetScore(mapnet()))
    drawn = proposal.draw(None, IDS, numpy.random.default_rng(0), MASKABLE, TOKENS)
    for norms in (numpy.ones(4), numpy.array([1, numpy.nan, 1]), numpy.array([1, -1, 1])):
        with pytest.raises(InputError, match="3 finite norms"):
            proposal.learn(drawn, norms)
    proposal.learn(drawn, numpy.zeros(3))  # nothing to learn from, and nothing breaks
    assert numpy.isfinite(proposal.score.network.flat).all()
    uniform = UniformProposal(1).draw(None, IDS, numpy.random.default_rng(0), MASKABLE, TOKENS)
    with pytest.raises(InputError, match="not from another proposal's masks"):
        proposal.learn(uniform, numpy.ones(3))
    positions = PositionProposal(2, MapNetScore(mapnet(), "cross-entropy"))
    drawn = positions.draw(None, IDS, numpy.random.default_rng(0), MASKABLE, TOKENS)
    with pytest.raises(InputError, match="cross-entropy needs a mask's probability"):
        positions.learn(drawn, numpy.ones(3))


def test_bad_settings():
    for options, match in (
        ({"objective": "guess"}, "unknown objective 'guess'"),
        ({"learn_every": 0}, "at least 1, not 0"),
        ({"learning_rate": 0.0}, "must be positive"),
    ):
        with pytest.raises(InputError, match=match):
            MapNetScore(mapnet(), **options)
    for make in (lambda score: SingleProposal(score, 1.5), lambda score: PoolProposal(2, score, 2, 1.5)):
        with pytest.raises(InputError, match="share of uniform masks"):
            make(MapNetScore(mapnet()))


def test_a_state_of_another_kind():
    proposal = SingleProposal(MapNetScore(mapnet()))
    for state in ({}, {"mapnet": numpy.zeros(3)}, proposal.state() | {"mapnet": numpy.zeros(3)}):
        with pytest.raises(InputError, match="another proposal or of another MAPNet"):
            proposal.load_state(state)
    with pytest.raises(InputError, match="learns nothing"):
        UniformProposal(1).load_state(proposal.state())
