"""The exercises of step 8, masks of many tokens."""

import itertools

import numpy
import pytest

from minimapnet import ConditionalBernoulli, UniformMasks
from minimapnet.masks import FullyExploredMasks, all_masks


@pytest.mark.parametrize("k", [2, 3, 5, 6])
def test_pairs_by_listing_all_masks(answers, k):
    odds = numpy.exp(2 * numpy.random.default_rng(k).normal(size=6))
    masks = all_masks(6, k)
    q = numpy.exp(ConditionalBernoulli(numpy.log(odds), k).log_prob(masks[:, None]))[:, 0]  # (S,)
    chosen = (masks[:, :, None] == numpy.arange(6)).any(axis=1)  # (S, n)
    assert numpy.allclose(answers.pair_probabilities(odds, k), (q[:, None] * chosen).T @ chosen, rtol=1e-10)


def test_pairs_add_up(answers):
    odds = numpy.random.default_rng(0).gamma(1.0, size=30)
    pairs = answers.pair_probabilities(odds, 4)
    inclusion = ConditionalBernoulli(numpy.log(odds), 4).inclusion_probabilities()[0]
    assert numpy.allclose(numpy.diag(pairs), inclusion)
    assert numpy.allclose(pairs.sum(axis=1), 4 * inclusion)  # a mask with i has four words, i among them


@pytest.mark.parametrize(("k", "share"), [(1, 0.5), (2, 0.3), (3, 0.7), (4, 0.1)])
def test_the_temper_by_listing_all_masks(answers, k, share):
    log_odds = 2 * numpy.random.default_rng(k).normal(size=9)
    masks = all_masks(9, k)[:, None]  # (S, 1, k)

    def size(exponent):
        log_w = UniformMasks(9, k).log_prob(masks) - ConditionalBernoulli(exponent * log_odds, k).log_prob(masks)
        return 1 / numpy.exp(log_w + UniformMasks(9, k).log_prob(masks)).sum()  # E_q[w^2] = E_p[w]

    found = answers.temper_for(log_odds, k, share)
    assert 0.002 < found < 0.998
    assert size(found - 0.001) > share > size(found + 0.001)


def test_the_temper_of_a_long_sentence(answers):
    rng = numpy.random.default_rng(5)
    log_odds = 1.5 * rng.normal(size=128)
    found = answers.temper_for(log_odds, 19, 0.5)
    tempered = ConditionalBernoulli(found * log_odds, 19)
    drawn = tempered.sample(rng, 20_000)
    w = numpy.exp(UniformMasks(128, 19).log_prob(drawn) - tempered.log_prob(drawn))[:, 0]
    assert abs(w.mean() - 1) < 0.05
    assert abs(1 / (w * w).mean() - 0.5) < 0.05


def test_odds_that_need_no_temper(answers):
    assert answers.temper_for(0.01 * numpy.random.default_rng(0).normal(size=20), 3, 0.5) > 0.999


@pytest.mark.parametrize(("k", "R"), [(1, 1), (1, 3), (2, 1), (2, 2), (2, 3), (3, 2), (1, 6)])
def test_disjoint_masks_by_listing_all_orders(answers, k, R):
    f = numpy.random.default_rng(R).normal(size=6)
    orders = numpy.array(list(itertools.permutations(range(6))))  # (720, 6)
    masks = f[orders[:, : k * R]].reshape(-1, R, k).mean(axis=2)  # (720, R): the masks' values
    assert numpy.isclose(answers.disjoint_variance(f, k, R), masks.mean(axis=1).var(), atol=1e-14)


def test_disjoint_masks_by_drawing(answers):
    rng = numpy.random.default_rng(3)
    f = rng.normal(size=20)
    means = [f[FullyExploredMasks(20, 3).sample(rng, 4)[:, 0]].mean() for _ in range(4000)]
    assert abs(numpy.var(means) / answers.disjoint_variance(f, 3, 4) - 1) < 0.15
