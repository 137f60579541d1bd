"""The conditional Bernoulli distribution: exact integers as the oracle, gradients, stability, and the inverse."""

import math

import numpy
import pytest

from minimapnet.errors import InputError
from minimapnet.masks import ConditionalBernoulli, all_masks, conditional_bernoulli
from tests.helpers.mask_checks import assert_frequencies, table

EXTREME = round(50 / math.log(2))  # log-odds of -50 to 50 are powers of 2 up to this


def exact_polynomials(weights, k):
    """Return e_0 .. e_k of whole numbers, exactly."""
    e = [1] + [0] * k
    for w in weights:
        for j in range(k, 0, -1):
            e[j] += w * e[j - 1]
    return e


def powers(seed, n):
    """Draw n powers of 2 from the whole range, as exponents; many of them are tied."""
    return numpy.random.default_rng(seed).integers(-EXTREME, EXTREME + 1, size=n)


def test_probabilities_are_products_over_their_sum():
    log_odds = numpy.random.default_rng(0).normal(size=8)
    every = all_masks(8, 3)
    products = numpy.exp(log_odds[every].sum(axis=1))
    found = ConditionalBernoulli(log_odds, 3).log_prob(every[:, None])[:, 0]
    numpy.testing.assert_allclose(found, numpy.log(products / products.sum()), rtol=1e-12)


@pytest.mark.parametrize("shape", ["spread", "halves", "equal"])
def test_large_sentences_agree_with_exact_integers(shape):
    n, k = 512, 77
    exponents = {
        "spread": powers(1, n),
        "halves": numpy.repeat([-EXTREME, EXTREME], [n - k + 2, k - 2]),  # two of k must come from the unlikely half
        "equal": numpy.full(n, EXTREME),
    }[shape]
    weights = [1 << int(a) + EXTREME for a in exponents]
    distribution = ConditionalBernoulli(exponents * math.log(2), k)
    whole = exact_polynomials(weights, k)[k]

    likely = numpy.argsort(-exponents, kind="stable")[:k]
    for mask in (likely, numpy.arange(k), numpy.arange(n - k, n)):
        exact = sum(int(exponents[i]) + EXTREME for i in mask) * math.log(2) - math.log(whole)
        assert distribution.log_prob(mask[None])[0] == pytest.approx(exact, abs=1e-9)

    inside, outside = distribution.log_inclusion_probabilities()
    assert numpy.exp(inside).sum() == pytest.approx(k, abs=1e-8)
    for i in (0, 17, 255, 256, 400, n - 1):
        without = exact_polynomials(weights[:i] + weights[i + 1 :], k)
        assert inside[0, i] == pytest.approx(math.log(weights[i] * without[k - 1]) - math.log(whole), abs=1e-9)
        assert outside[0, i] == pytest.approx(math.log(without[k]) - math.log(whole), abs=1e-9)


def test_large_sentences_are_drawn_as_inclusion_says():
    n, k = 512, 77
    maskable = numpy.random.default_rng(2).random((2, n)) < 0.9
    log_odds = numpy.stack([powers(3, n) * math.log(2), numpy.random.default_rng(4).normal(size=n)])
    distribution = ConditionalBernoulli(log_odds, [k, 30], maskable)
    positions = distribution.sample(numpy.random.default_rng(5), 2000)
    assert ((positions >= 0).sum(axis=-1) == [k, 30]).all()
    log_q = distribution.log_prob(positions)
    assert numpy.isfinite(log_q).all() and (log_q < 1e-9).all()
    for b, inclusion in enumerate(distribution.inclusion_probabilities()):
        assert_frequencies(positions[:, b], numpy.minimum(inclusion, 1))


def test_positions_left_out_change_nothing():
    log_odds, places = numpy.random.default_rng(6).normal(size=20) * 10, numpy.array([0, 3, 4, 9, 11, 19])
    maskable = numpy.zeros(20, bool)
    maskable[places] = True
    wide, narrow = ConditionalBernoulli(log_odds, 3, maskable), ConditionalBernoulli(log_odds[places], 3)
    every = all_masks(6, 3)[:, None]
    numpy.testing.assert_allclose(wide.log_prob(places[every]), narrow.log_prob(every), rtol=1e-12)
    assert wide.log_prob(numpy.array([[0, 1, 3]])) == -numpy.inf


def test_a_constant_added_to_all_log_odds_changes_nothing():
    log_odds = numpy.random.default_rng(7).normal(size=12)
    one, other = ConditionalBernoulli(log_odds, 4), ConditionalBernoulli(log_odds + 40, 4)
    numpy.testing.assert_allclose(other.inclusion_probabilities(), one.inclusion_probabilities(), rtol=1e-11)
    numpy.testing.assert_allclose(table(other), table(one), rtol=1e-11)


@pytest.mark.parametrize("scale", [0.1, 1, 5, 10])
def test_the_inverse_finds_the_odds_again(scale):
    rng = numpy.random.default_rng(9)
    maskable = rng.random((6, 24)) < 0.8
    k = rng.integers(1, maskable.sum(axis=1))
    log_odds = numpy.where(maskable, rng.normal(size=(6, 24)) * scale, numpy.nan)
    inclusion = ConditionalBernoulli(log_odds, k, maskable).inclusion_probabilities()
    found = ConditionalBernoulli.from_inclusion_probabilities(inclusion, maskable)
    numpy.testing.assert_array_equal(found.k, k)
    numpy.testing.assert_allclose(found.inclusion_probabilities(), inclusion, rtol=1e-9)
    if scale < 10:  # beyond, inclusion probabilities next to 1 no longer tell the odds in float64
        difference = numpy.where(maskable, found.log_odds - log_odds, numpy.nan)
        spread = numpy.nanmax(difference, axis=1) - numpy.nanmin(difference, axis=1)
        assert (spread < 1e-4).all()


def test_the_inverse_of_two_coins_does_not_swing():
    found = ConditionalBernoulli.from_inclusion_probabilities([0.3, 0.7])
    numpy.testing.assert_allclose(found.log_odds[0, 1] - found.log_odds[0, 0], math.log(0.7 / 0.3), rtol=1e-9)


def test_the_inverse_of_a_large_sentence():
    inclusion = numpy.random.default_rng(10).random(512)
    inclusion *= 77 / inclusion.sum()
    found = ConditionalBernoulli.from_inclusion_probabilities(inclusion)
    numpy.testing.assert_allclose(found.inclusion_probabilities()[0], inclusion, rtol=1e-9)


def test_the_inverse_says_when_it_fails(monkeypatch):
    monkeypatch.setattr(conditional_bernoulli, "MOST_STEPS", 3)
    with pytest.raises(InputError, match="no odds found for the inclusion probabilities of sentence 1: after 3 steps"):
        ConditionalBernoulli.from_inclusion_probabilities([[0.5, 0.5, 0.5, 0.5], [0.9, 0.5, 0.4, 0.2]])


@pytest.mark.parametrize(
    ("inclusion", "message"),
    [
        ([0.5, 0.4], "add up to a whole number k, but in sentence 0 to 0.9"),
        ([1.0, 0.5, 0.5], "is 1, which no finite odds give"),
        ([0.0, 0.5, 0.5], r"above 0 and at most 1, but at \(0, 0\) stands 0.0"),
        ([-0.5, 0.8, 0.7], "stands -0.5"),
        ([1.2, 0.8], "stands 1.2"),
        ([numpy.nan, 1.0], "must be finite"),
    ],
)
def test_the_inverse_refuses_bad_probabilities(inclusion, message):
    with pytest.raises(InputError, match=message):
        ConditionalBernoulli.from_inclusion_probabilities(inclusion)
