"""MAPNet's gradients against finite differences, for all objectives; and what the objectives are in expectation."""

import itertools

import numpy
import pytest
from scipy import special

from minimapnet import backend
from minimapnet.mapnet import objectives
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.mapnet.objectives import mask_scores_backward, mask_scores_forward
from tests.helpers import tiny
from tests.helpers.gradient_check import check_direction

DRAW = numpy.random.default_rng(21)
NORMS = DRAW.lognormal(0, 1, 3)
IMPORTANCE = DRAW.lognormal(0, 1, 3)
SENTENCES = numpy.array([2, 0, 1])
POSITIONS = numpy.array([[5, 1, 3], [0, 2, -1], [3, -1, -1]])  # of sentences 2, 0 and 1, whose last two tokens are padding
WEIGHTS = numpy.where(POSITIONS >= 0, DRAW.lognormal(0, 1, POSITIONS.shape), 0.0)
CANDIDATES = numpy.array([[[0, 1], [2, 4], [1, 5]], [[0, 1], [3, 0], [2, -1]], [[0, 5], [4, 3], [1, 2]]])  # (B, M, K)


def mapnet(**changes) -> MapNet:
    """Return a MAPNet with every parameter random, the readout too."""
    fields = {"vocab_size": 11, "hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 7}
    fields |= {"max_position_embeddings": 6, "layer_norm_eps": 1e-5, "dtype": "float64"}
    made = MapNet(MapNetConfig(**(fields | changes)), seed=3)
    made.flat[...] = backend.to_device(numpy.random.default_rng(4).standard_normal(made.flat.size).astype(made.config.dtype))
    return made


def regression(f):
    scores, cache = mask_scores_forward(f, SENTENCES, POSITIONS, WEIGHTS)
    loss, dscores = objectives.regression(scores, numpy.log(NORMS), IMPORTANCE)
    return loss, mask_scores_backward(dscores, cache)


def of_positions(function):
    """Single masks: a sentence's maskable positions are the candidates."""

    def objective(f):
        maskable = (tiny.PADDING == 1) & (numpy.arange(6) > 0)
        return function(numpy.where(maskable, f, -numpy.inf), numpy.array([3, 6 + 1, 12 + 5]), 0.2, NORMS, 0.7)

    return objective


def of_pools(function, groups, kept):
    """Pools of a sentence (3 groups) or of the batch (1 group): three masks of each sentence."""

    def objective(f):
        masks = CANDIDATES.reshape(9, 2)
        even = (masks >= 0) / (masks >= 0).sum(axis=1, keepdims=True)
        scores, cache = mask_scores_forward(f, numpy.arange(9) // 3, masks, even)
        loss, dscores = function(scores.reshape(groups, -1), numpy.array(kept), 0.1, NORMS, 0.7)
        return loss, mask_scores_backward(dscores.reshape(-1), cache)

    return objective


OBJECTIVES = {"regression": regression}
for name in ("cross_entropy", "second_moment"):
    function = getattr(objectives, name)
    OBJECTIVES[f"{name}, single"] = of_positions(function)
    OBJECTIVES[f"{name}, pool"] = of_pools(function, 3, [1, 5, 6])
    OBJECTIVES[f"{name}, batch pool"] = of_pools(function, 1, [4, 4, 8])


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_gradients_by_finite_differences(xp, monkeypatch, objective):
    """Of every parameter, along random directions, through the network: with padding, and a batch cut in two."""
    tiny.cut(monkeypatch, 1, 3)
    made = mapnet()
    f, cache = made.forward(tiny.IDS, tiny.PADDING)
    _, df = objective(backend.to_host(f))
    found = made.backward(backend.to_device(df), cache)
    assert {name: array.shape for name, array in found.items()} == made.shapes
    start = backend.to_host(made.flat).copy()

    def loss(point):
        made.flat[...] = backend.to_device(point)
        return objective(backend.to_host(made.log_norms(tiny.IDS, tiny.PADDING)))[0]

    out = xp.empty_like(made.flat)
    made.backward(backend.to_device(df), cache, out)
    gradient = backend.to_host(out)
    for name, array in found.items():  # as views of a flat buffer and by name they are the same
        largest = numpy.abs(backend.to_host(array)).max()
        if name == "readout.bias" and objective is not regression:
            assert largest < 1e-12  # they see the shape of q alone, to which a common shift of f makes no difference
        else:
            assert largest > 0 or name.endswith(("qkv.bias", "type_embedding")), name
    for seed in range(6):
        check_direction(loss, start, gradient, seed)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_wrong_gradient_does_not_pass(objective):
    made = mapnet()
    f, cache = made.forward(tiny.IDS, tiny.PADDING)
    _, df = objective(f)
    start = made.flat.copy()

    def loss(point):
        made.flat[...] = point
        return objective(made.log_norms(tiny.IDS, tiny.PADDING))[0]

    out = numpy.empty_like(made.flat)
    for wrong in (0.0, -1.0, 1.01):
        made.backward(wrong * df, cache, out)
        with pytest.raises(AssertionError):
            check_direction(loss, start, out, 0)


# In expectation, summed over everything that can be drawn


U, N = 0.15, 6
F = DRAW.standard_normal((1, N))
TRUE = DRAW.lognormal(0, 1, N)  # |g| of each single mask


def q_of(f):
    return (1 - U) * special.softmax(f, axis=-1) + U / f.shape[-1]


def true_second_moment(f):
    return float((TRUE**2 / (N * N * q_of(f))).sum())


def true_cross_entropy(f):
    return float(-(TRUE / TRUE.sum() * numpy.log(q_of(f))).sum())


def derivative(function, f):
    steps = 1e-5 * numpy.eye(f.size).reshape(-1, *f.shape)
    return numpy.array([(function(f + step) - function(f - step)) / 2e-5 for step in steps]).reshape(f.shape)


@pytest.mark.parametrize(
    ("objective", "true", "factor"),
    [(objectives.cross_entropy, true_cross_entropy, TRUE.mean()), (objectives.second_moment, true_second_moment, 1.0)],
    ids=["cross-entropy", "second moment"],
)
def test_expected_gradients_are_those_of_what_is_meant(objective, true, factor):
    """E_q of the estimate is d/df of the cross-entropy to q*, and of the second moment; for any running mean."""
    q = q_of(F)[0]
    h = TRUE / (N * q)  # w |g|
    for scale in (0.4, 3.0):
        estimates = [objective(F, numpy.array([i]), U, h[i : i + 1], scale)[1] for i in range(N)]
        expected = scale * sum(share * estimate for share, estimate in zip(q, estimates, strict=True))
        numpy.testing.assert_allclose(expected, factor * derivative(true, F), rtol=1e-6, atol=1e-9)


def test_a_pools_expected_gradient_is_of_its_second_moment():
    """Over all pools of two masks of two out of four positions: E over pools of sum_c q(c) w^2 |g|^2, w = 1 / (2 q)."""
    masks = numpy.array(list(itertools.combinations(range(4), 2)))
    norms, f = numpy.random.default_rng(3).lognormal(0, 1, len(masks)), F[:, :4]

    def pool(f, candidates):
        return mask_scores_forward(f, numpy.zeros(2, int), masks[candidates], numpy.full((2, 2), 0.5))

    def true(f):
        pools = itertools.product(range(6), repeat=2)
        return sum((norms[list(c)] ** 2 / (4 * q_of(pool(f, list(c))[0]))).sum() for c in pools) / 36

    total = 0.0
    for candidates in map(list, itertools.product(range(6), repeat=2)):
        scores, cache = pool(f, candidates)
        q = q_of(scores)
        for c in (0, 1):
            h = norms[candidates[c]] / (2 * q[c])
            dscores = objectives.second_moment(scores[None], numpy.array([c]), U, numpy.array([h]), 0.7)[1]
            total = total + q[c] / 36 * 0.7 * mask_scores_backward(dscores[0], cache)
    numpy.testing.assert_allclose(total, derivative(true, f), rtol=1e-6, atol=1e-9)


def test_regression_counts_masks_as_uniform_ones():
    """By importance weights its expectation under q is the uniform mean over the masks."""
    q, targets = q_of(F)[0], numpy.log(TRUE)
    each = [objectives.regression(F[0, i : i + 1], targets[i : i + 1], 1 / (N * q[i : i + 1])) for i in range(N)]
    assert sum(q[i] * each[i][0] for i in range(N)) == pytest.approx(((F[0] - targets) ** 2).mean() / 2, rel=1e-12)
    numpy.testing.assert_allclose([q[i] * each[i][1][0] for i in range(N)], (F[0] - targets) / N, rtol=1e-12)


def test_scores_of_masks():
    """The formula itself: at k = 1 it is f, and padding does not count."""
    scores, _ = mask_scores_forward(F, numpy.zeros(2, int), numpy.array([[1, 4, -1], [3, -1, -1]]), HALVES)
    assert scores[0] == pytest.approx(numpy.log(numpy.sqrt(numpy.exp(2 * F[0, [1, 4]]).sum()) / 2), rel=1e-12)
    assert scores[1] == pytest.approx(F[0, 3], rel=1e-12)


HALVES = numpy.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])


# The network


def test_it_starts_without_an_opinion(xp):
    made = MapNet(MapNetConfig.for_model(tiny.config(hidden_size=256, num_attention_heads=4)))
    assert (made.config.hidden_size, made.config.num_hidden_layers, made.config.intermediate_size) == (64, 1, 256)
    f = backend.to_host(made.log_norms(tiny.IDS, tiny.PADDING))
    assert f.shape == (3, 6) and f.dtype == numpy.float64 and (f == 0).all()


def test_padding_changes_nothing(xp):
    made = mapnet()
    f = backend.to_host(made.log_norms(tiny.IDS, tiny.PADDING))
    other = numpy.where(tiny.PADDING == 1, tiny.IDS, 3)
    assert (backend.to_host(made.log_norms(other, tiny.PADDING))[tiny.PADDING == 1] == f[tiny.PADDING == 1]).all()
    alone = backend.to_host(made.log_norms(tiny.IDS[1:2, :4]))
    numpy.testing.assert_allclose(alone, f[1:2, :4], rtol=1e-12)
    assert numpy.abs(backend.to_host(made.log_norms(tiny.IDS)) - f)[1, :4].max() > 1e-3  # without the mask they count


def test_it_looks_both_ways(xp):
    made, changed = mapnet(), tiny.IDS.copy()
    changed[:, 3] = 2
    moved = backend.to_host(made.log_norms(changed)) != backend.to_host(made.log_norms(tiny.IDS))
    assert moved[[0, 2]].all()


def test_same_seed_same_network(xp):
    config = MapNetConfig.for_model(tiny.config())
    flats = [backend.to_host(MapNet(config, seed).flat) for seed in (1, 1, 2)]
    assert (flats[0] == flats[1]).all() and (flats[0] != flats[2]).any()
