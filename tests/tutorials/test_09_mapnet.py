"""The exercises of step 9, MAPNet."""

import numpy
import pytest
from scipy import special

from minimapnet.mapnet import objectives


@pytest.mark.parametrize("mask", [[3], [0, 4], [5, 2, 1], [0, 1, 2, 3, 4, 5, 6]], ids=len)
@pytest.mark.parametrize("level", [0.0, 1000.0, -1000.0])
def test_the_score_of_a_mask_is_the_packages(answers, mask, level):
    f, mask = numpy.random.default_rng(0).normal(size=7) + level, numpy.array(mask)
    score, gradient = answers.mask_score(f, mask)
    even = numpy.full((1, len(mask)), 1 / len(mask))
    theirs, cache = objectives.mask_scores_forward(f[None], numpy.array([0]), mask[None], even)
    assert numpy.shape(gradient) == f.shape
    assert numpy.isclose(score, theirs[0], rtol=1e-12)
    assert numpy.allclose(gradient, objectives.mask_scores_backward(numpy.ones(1), cache)[0])


def test_the_gradient_of_a_score_by_differences(answers):
    f, mask = numpy.random.default_rng(1).normal(size=6), numpy.array([4, 0, 3])
    steps = 1e-5 * numpy.eye(6)
    slopes = [(answers.mask_score(f + step, mask)[0] - answers.mask_score(f - step, mask)[0]) / 2e-5 for step in steps]
    assert numpy.allclose(answers.mask_score(f, mask)[1], slopes, atol=1e-9)


def test_orthogonal_gradients_score_the_norm_of_their_mean(answers):
    lengths = numpy.random.default_rng(2).lognormal(size=5)
    gradients = numpy.diag(lengths)  # (n, P)
    mask = numpy.array([1, 4, 2])
    score, _ = answers.mask_score(numpy.log(lengths), mask)
    assert numpy.isclose(numpy.exp(score), numpy.linalg.norm(gradients[mask].mean(axis=0)))


def variance(norms, f, b):
    """Sum the gradient's variance over all draws, by its definition."""
    q = special.softmax(f)
    estimates = -(norms / (len(norms) * q) - b)[:, None] * (numpy.eye(len(f)) - q)  # (n, n)
    mean = q @ estimates
    return float(q @ ((estimates - mean) ** 2).sum(axis=1))


@pytest.mark.parametrize("seed", range(8))
def test_no_other_baseline_has_less_noise(answers, seed):
    rng = numpy.random.default_rng(seed)
    norms, f = rng.lognormal(size=6), rng.normal(size=6)
    b = answers.best_baseline(norms, f)
    least = variance(norms, f, b)
    for other in (0.0, norms.mean(), b - 0.01, b + 0.01, b - 1.0, b + 1.0):
        assert least < variance(norms, f, other)


def test_at_the_optimal_proposal_no_noise_is_left(answers):
    norms = numpy.random.default_rng(3).lognormal(size=6)
    b = answers.best_baseline(norms, numpy.log(norms) + 2.0)
    assert numpy.isclose(b, norms.mean())
    assert variance(norms, numpy.log(norms), b) < 1e-12
