"""Every distribution with a log_prob, in one batch of sentences of different lengths, against tables of all masks."""

import math

import numpy
import pytest

from minimapnet.errors import InputError
from minimapnet.masks import ConditionalBernoulli, FullyExploredMasks, SinglePosition, UniformMasks, all_masks, base
from tests.helpers.mask_checks import all_subsets, chi_square, table

WEIGHTS = numpy.random.default_rng(1).normal(size=(3, 10)) * 1.5
WEIGHTS[0, 3] = WEIGHTS[0, 7]  # a tie
WEIGHTS[1, 0] = numpy.nan  # not maskable: not looked at
MASKABLE = numpy.array([[1] * 10, [0, 1, 1, 0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]], bool)
K = numpy.array([3, 1, 2])

MAKE = {
    "uniform": lambda w, maskable, k: UniformMasks(maskable, k),
    "single": lambda w, maskable, k: SinglePosition(w, maskable),
    "conditional": lambda w, maskable, k: ConditionalBernoulli(w, k, maskable),
    "explored": lambda w, maskable, k: FullyExploredMasks(maskable, k),
}
every = pytest.mark.parametrize("name", MAKE)
independent = pytest.mark.parametrize("name", [name for name in MAKE if name != "explored"])  # draws, of each other


@every
def test_probabilities_over_all_masks_sum_to_one(name):
    numpy.testing.assert_allclose(table(MAKE[name](WEIGHTS, MASKABLE, K)).sum(axis=0), 1, rtol=1e-12)


@every
def test_inclusion_probabilities_are_those_by_enumeration(name):
    distribution = MAKE[name](WEIGHTS, MASKABLE, K)
    expected = table(distribution).T @ (all_subsets(10) >= 0)  # (B, T)
    found = distribution.inclusion_probabilities()
    numpy.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (found[~MASKABLE] == 0).all()


@independent
def test_draws_follow_the_probabilities(name):
    distribution = MAKE[name](WEIGHTS, MASKABLE, K)
    positions = distribution.sample(numpy.random.default_rng(2), 20_000)
    for b, probabilities in enumerate(table(distribution).T):
        assert chi_square(positions[:, b], probabilities) > 1e-3


def test_the_check_of_draws_rejects_another_distribution():
    uniform = UniformMasks(MASKABLE, K).sample(numpy.random.default_rng(3), 20_000)
    conditional = table(ConditionalBernoulli(WEIGHTS * 0.1, K, MASKABLE))
    assert all(chi_square(uniform[:, b], conditional[:, b]) < 1e-3 for b in range(3))


@independent
def test_sentences_are_drawn_independently_of_each_other(name):
    distribution = MAKE[name](WEIGHTS[:2, 1:4], numpy.ones((2, 3), bool), 1)
    first, second = numpy.moveaxis(distribution.sample(numpy.random.default_rng(4), 20_000), 1, 0)  # (S, K) each
    together = numpy.concatenate([first, numpy.where(second >= 0, second + 3, -1)], axis=1)
    a, b = table(distribution).T
    assert chi_square(together, (a[None, :] * b[:, None]).ravel()) > 1e-3


@every
def test_draws_are_ascending_padded_and_repeatable(name):
    distribution = MAKE[name](WEIGHTS, MASKABLE, K)
    positions = distribution.sample(numpy.random.default_rng(5), 50)
    assert positions.dtype == numpy.int64 and positions.shape[:2] == (50, 3)
    masked = positions >= 0
    if distribution.k is not None:
        assert (masked.sum(axis=-1) == distribution.k).all() and positions.shape[2] == distribution.k.max()
    assert not (masked[..., 1:] & ~masked[..., :-1]).any()
    assert (numpy.diff(positions, axis=-1)[masked[..., 1:]] > 0).all()
    numpy.testing.assert_array_equal(positions, distribution.sample(numpy.random.default_rng(5), 50))
    assert numpy.isfinite(distribution.log_prob(positions)).all()


@every
def test_a_sentence_in_a_batch_is_as_it_is_alone(name):
    batch = MAKE[name](WEIGHTS, MASKABLE, K)
    for b, maskable in enumerate(MASKABLE):
        places = numpy.flatnonzero(maskable)
        alone = MAKE[name](WEIGHTS[b, places], numpy.ones((1, len(places)), bool), int(K[b]))
        draws = alone.sample(numpy.random.default_rng(6), 20)  # (S, 1, K)
        positions = numpy.full((20, 3, draws.shape[-1]), -1)
        positions[:, b] = numpy.where(draws[:, 0] >= 0, places[draws[:, 0]], -1)
        numpy.testing.assert_allclose(batch.log_prob(positions)[:, b], alone.log_prob(draws)[:, 0], rtol=1e-12)
        found = batch.inclusion_probabilities()[b, places]
        numpy.testing.assert_allclose(found, alone.inclusion_probabilities()[0], rtol=1e-12)


@every
def test_the_order_and_the_padding_of_positions_do_not_matter(name):
    distribution = MAKE[name](WEIGHTS, MASKABLE, K)
    positions = distribution.sample(numpy.random.default_rng(7), 5)
    wider = numpy.concatenate([numpy.full((5, 3, 2), -1), positions[..., ::-1]], axis=-1)
    numpy.testing.assert_array_equal(distribution.log_prob(wider), distribution.log_prob(positions))
    numpy.testing.assert_array_equal(distribution.log_prob(positions[2]), distribution.log_prob(positions)[2])


def test_uniform_masks_are_one_in_n_over_k():
    uniform = UniformMasks(9, 4)
    assert uniform.log_prob(uniform.sample(numpy.random.default_rng(8), 1))[0, 0] == pytest.approx(-math.log(126), rel=1e-13)


def test_all_positions_can_be_masked():
    for name in ("uniform", "conditional", "explored"):
        distribution = MAKE[name](WEIGHTS[2:, 1:6], numpy.ones((1, 5), bool), 5)
        positions = distribution.sample(numpy.random.default_rng(9), 3)
        numpy.testing.assert_array_equal(positions, numpy.broadcast_to(numpy.arange(5), (3, 1, 5)))
        numpy.testing.assert_allclose(distribution.log_prob(positions), 0, atol=1e-12)
        numpy.testing.assert_allclose(distribution.inclusion_probabilities(), 1, rtol=1e-12)


def test_long_uniform_masks_are_complete():
    """At 49 left and 49 needed a rounded product 49 * (1/49) would be below 1."""
    positions = UniformMasks(512, 500).sample(numpy.random.default_rng(10), 200)
    assert (positions >= 0).all()


class Edge:
    """Stands in for a generator whose every draw is one and the same number."""

    def __init__(self, value):
        self.value = value

    def random(self, shape):
        return numpy.full(shape, self.value)


@pytest.mark.parametrize("name", ["uniform", "single", "conditional"])
@pytest.mark.parametrize("value", [0.0, 1 - 2.0**-53])
def test_the_outermost_random_numbers_stay_on_maskable_positions(name, value):
    distribution = MAKE[name](WEIGHTS, MASKABLE, K)
    assert numpy.isfinite(distribution.log_prob(distribution.sample(Edge(value), 1))).all()


def test_single_position_is_the_conditional_bernoulli_of_one():
    single, conditional = SinglePosition(WEIGHTS, MASKABLE), ConditionalBernoulli(WEIGHTS, 1, MASKABLE)
    positions = single.sample(numpy.random.default_rng(11), 50)
    numpy.testing.assert_allclose(single.log_prob(positions), conditional.log_prob(positions), rtol=1e-12)


def test_too_many_masks_to_list(monkeypatch):
    monkeypatch.setattr(base, "MOST_MASKS", 100)
    with pytest.raises(InputError, match="120 masks of 3 out of 10"):
        all_masks(10, 3)


BAD = {
    "k above n": (lambda: UniformMasks(4, 5), "between 1 and the 4 maskable positions of sentence 0, but is 5"),
    "k above n of one": (lambda: ConditionalBernoulli(WEIGHTS, [3, 5, 2], MASKABLE), "4 maskable positions of sentence 1"),
    "k of 0": (lambda: ConditionalBernoulli(numpy.zeros(3), 0), "but is 0"),
    "k not whole": (lambda: UniformMasks(4, 1.5), "whole number"),
    "k by the wrong count": (lambda: UniformMasks(MASKABLE, [1, 2]), "one for each sentence"),
    "empty sentence": (lambda: UniformMasks(0, 1), "sentence 0 of the batch has no maskable position"),
    "empty sentence of a batch": (
        lambda: SinglePosition(numpy.zeros((2, 3)), [[True] * 3, [False] * 3]),
        "sentence 1 of the batch has no maskable",
    ),
    "no sentence": (lambda: UniformMasks(numpy.ones((0, 3), bool), 1), "of shape"),
    "lengths for bools": (lambda: UniformMasks([4, 5], 1), "array .sentences, tokens. of bools"),
    "NaN log-odds": (lambda: ConditionalBernoulli([0.0, numpy.nan], 1), r"finite, but at \(0, 1\) stands nan"),
    "infinite log-odds": (lambda: ConditionalBernoulli([numpy.inf, 0.0], 1), r"log-odds must be finite.*stands inf"),
    "log-odds of minus infinity": (lambda: ConditionalBernoulli([-numpy.inf, 0.0], 1), "leave positions out by `maskable`"),
    "NaN log weights": (lambda: SinglePosition([numpy.nan]), "log weights must be finite"),
    "infinite log weights": (lambda: SinglePosition([numpy.inf, 0.0]), "log weights must be finite"),
    "shapes that differ": (lambda: SinglePosition(numpy.zeros(3), [True, True]), r"shape \(1, 2\), not \(1, 3\)"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_error(what):
    make, message = BAD[what]
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@every
def test_bad_positions_are_one_clear_error(name):
    distribution = MAKE[name](WEIGHTS, MASKABLE, K)
    for positions, message in (
        ([[10], [1], [1]], "between 0 and 9"),
        ([[-2], [1], [1]], "between 0 and 9"),
        ([[4, 4], [1, -1], [1, 2]], "twice"),
        ([[1], [1]], r"of shape \(..., 3, masked\)"),
        ([[1.0], [1.0], [1.0]], "must be integers"),
    ):
        with pytest.raises(InputError, match=message):
            distribution.log_prob(numpy.array(positions))
