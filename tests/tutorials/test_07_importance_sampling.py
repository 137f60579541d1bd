"""The exercises of step 7, importance sampling."""

import numpy
import pytest

from minimapnet.proposals.importance import SinglePosition, UniformMixture
from tests.helpers.proposal_checks import shortfall


def example(seed, n=9):
    """Return norms (n,) and a proposal (n,) that fits them badly."""
    rng = numpy.random.default_rng(seed)
    norms = rng.gamma(0.5, size=n) + 0.01
    guessed = norms * numpy.exp(1.5 * rng.normal(size=n))
    return norms, guessed / guessed.sum()


def second_moment(norms, q):
    return float((norms**2 / q).sum() / len(norms) ** 2)


@pytest.mark.parametrize("seed", range(12))
def test_no_other_share_is_better(answers, seed):
    norms, guessed = example(seed)
    u = answers.best_share(norms, guessed)
    assert 0 <= u <= 1
    found = [second_moment(norms, (1 - v) * guessed + v / len(norms)) for v in numpy.linspace(0, 1, 2001)]
    assert abs(u - numpy.argmin(found) / 2000) < 1.5e-3


def test_the_shares_at_both_ends(answers):
    norms, _ = example(0)
    assert answers.best_share(norms, norms / norms.sum()) < 1e-3
    opposite = 1 / norms
    assert answers.best_share(norms, opposite / opposite.sum()) > 0.999


def test_the_best_share_by_the_packages_own_measure(answers):
    norms, guessed = example(3)
    masks, q = numpy.arange(len(norms))[:, None, None], (norms / norms.sum())[:, None]  # (S, 1, 1), (S, 1)

    def loss(share):
        return shortfall(masks, q, UniformMixture(SinglePosition(numpy.log(guessed)), share))[0][0]

    u = answers.best_share(norms, guessed)
    assert 0.05 < u < 0.95  # neither end, so both sides are worse
    assert loss(u) < min(loss(u - 0.05), loss(u + 0.05))


@pytest.mark.parametrize("seed", range(6))
def test_no_other_probabilities_of_the_kinds_are_better(answers, seed):
    rng = numpy.random.default_rng(seed)
    norms, kinds = rng.gamma(0.5, size=12) + 0.01, numpy.array([7, 7, 7, 2, 2, 2, 2, 0, 0, 5, 5, 5])
    q = answers.best_by_kind(norms, kinds)
    assert numpy.isclose(q.sum(), 1)
    for kind in (7, 2, 0, 5):
        assert numpy.allclose(q[kinds == kind], q[kinds == kind][0])
    for kind in (7, 2, 0, 5):
        for factor in (0.9, 0.99, 1.01, 1.1):
            other = numpy.where(kinds == kind, factor, 1.0) * q
            assert second_moment(norms, q) < second_moment(norms, other / other.sum())


def test_kinds_of_one_word_give_the_optimal_proposal(answers):
    norms, _ = example(1)
    assert numpy.allclose(answers.best_by_kind(norms, numpy.arange(len(norms))), norms / norms.sum())
    assert numpy.allclose(answers.best_by_kind(norms, numpy.zeros(len(norms), int)), 1 / len(norms))


def test_the_normalised_mean_of_two_draws(answers):
    rng = numpy.random.default_rng(0)
    f, q = rng.normal(size=5), rng.dirichlet(numpy.ones(5))
    total = 0.0
    for i in range(5):
        for j in range(5):
            total += q[i] * q[j] * (f[i] / q[i] + f[j] / q[j]) / (1 / q[i] + 1 / q[j])
    assert numpy.isclose(answers.normalised_mean(f, q, 2), total)


def test_the_normalised_mean_is_that_of_many_drawn_estimates(answers):
    rng = numpy.random.default_rng(1)
    f, q = rng.normal(size=4), rng.dirichlet(numpy.ones(4))
    drawn = rng.choice(4, p=q, size=(200_000, 3))
    estimates = (f[drawn] / q[drawn]).sum(axis=1) / (1 / q[drawn]).sum(axis=1)
    assert abs(answers.normalised_mean(f, q, 3) - estimates.mean()) < 5 * estimates.std() / len(estimates) ** 0.5


def test_what_the_normalised_mean_gets_right_and_wrong(answers):
    rng = numpy.random.default_rng(2)
    f, q = rng.normal(size=4), rng.dirichlet(numpy.ones(4))
    uniform = numpy.full(4, 0.25)
    assert numpy.isclose(answers.normalised_mean(numpy.full(4, 3.5), q, 3), 3.5)
    assert numpy.isclose(answers.normalised_mean(f, uniform, 3), f.mean())
    assert numpy.isclose(answers.normalised_mean(f, q, 1), q @ f)
    assert abs(answers.normalised_mean(f, q, 6) - f.mean()) < abs(answers.normalised_mean(f, q, 1) - f.mean())
