"""The exercises of step 2: a backward pass by hand."""

import numpy
import pytest

from minimapnet.model import layers
from tests.helpers.gradient_check import check_elementwise, random_upstream


def draw(seed, **shapes):
    rng = numpy.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("eps", [1e-12, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_rmsnorm_by_finite_differences(answers, eps, seed):
    def function(values):
        y, cache = answers.rmsnorm_forward(values["x"], values["weight"], eps)
        return y, lambda dy: dict(zip(("x", "weight"), answers.rmsnorm_backward(dy, cache), strict=True))

    check_elementwise(function, draw(seed, x=(4, 6), weight=(6,)), random_upstream(seed + 10))


def test_rmsnorm_is_layernorm_on_centred_rows(answers):
    x = 5 * draw(2, x=(3, 8))["x"] + 2
    y, _ = answers.rmsnorm_forward(x, numpy.ones(8), 1e-12)
    numpy.testing.assert_allclose((y * y).mean(axis=1), 1, rtol=1e-9)
    centred, weight = x - x.mean(axis=1, keepdims=True), numpy.linspace(0.5, 2, 8)
    expected = layers.layernorm_forward(x, weight, numpy.zeros(8), 1e-5)[0]
    numpy.testing.assert_allclose(answers.rmsnorm_forward(centred, weight, 1e-5)[0], expected, rtol=1e-10, atol=1e-12)


def block(answers):
    def function(values):
        y, cache = answers.block_forward(values["x"], {name: values[name] for name in ("W1", "b1", "W2", "b2")})

        def pullback(dy):
            dx, gradients = answers.block_backward(dy, cache)
            return {"x": dx, **gradients}

        return y, pullback

    return function


def test_the_block_by_finite_differences(answers):
    values = draw(3, x=(4, 3), W1=(3, 5), b1=(5,), W2=(5, 3), b2=(3,))
    check_elementwise(block(answers), values, random_upstream(4))


def test_a_block_that_adds_nothing_passes_everything_through(answers):
    x, dy = draw(5, x=(4, 3), dy=(4, 3)).values()
    params = draw(6, W1=(3, 5), b1=(5,)) | {"W2": numpy.zeros((5, 3)), "b2": numpy.zeros(3)}
    y, cache = answers.block_forward(x, params)
    numpy.testing.assert_array_equal(y, x)
    numpy.testing.assert_array_equal(answers.block_backward(dy, cache)[0], dy)


def test_a_backward_changes_nothing_that_it_is_given(answers):
    values = draw(7, x=(4, 3), W1=(3, 5), b1=(5,), W2=(5, 3), b2=(3,), dy=(4, 3), weight=(3,))
    x, dy, before = values["x"], values["dy"], values["dy"].copy()
    _, cache = answers.block_forward(x, {name: values[name] for name in ("W1", "b1", "W2", "b2")})
    _, cache_of_norm = answers.rmsnorm_forward(x, values["weight"], 1e-5)
    for backward, saved in ((answers.block_backward, cache), (answers.rmsnorm_backward, cache_of_norm)):
        first, second = backward(dy, saved)[0].copy(), backward(dy, saved)[0]
        numpy.testing.assert_array_equal(first, second)
        numpy.testing.assert_array_equal(dy, before)


def objective(point):
    """A smooth function, whose gradient is below."""
    return float(numpy.sin(point).sum() + 0.5 * (point * numpy.roll(point, 1)).sum())


def right_gradient(point):
    return numpy.cos(point) + 0.5 * (numpy.roll(point, 1) + numpy.roll(point, -1))


def a_thousandth(gradient):
    gradient = gradient.copy()
    gradient.flat[numpy.abs(gradient).argmax()] *= 1.001
    return gradient


WRONGS = {
    "zero": numpy.zeros_like,
    "sign flipped": numpy.negative,
    "scaled": lambda gradient: 1.01 * gradient,
    "rolled": lambda gradient: numpy.roll(gradient, 1),
    "one number, by a thousandth": a_thousandth,
}


@pytest.mark.parametrize("shape", [(5,), (60,), (4, 5, 3)])
def test_a_right_gradient_is_accepted_by_any_direction(answers, shape):
    point = numpy.random.default_rng(8).standard_normal(shape)
    for seed in range(50):
        assert answers.agrees(objective, point, right_gradient(point), numpy.random.default_rng(seed))


@pytest.mark.parametrize("wrong", WRONGS.values(), ids=WRONGS)
@pytest.mark.parametrize("shape", [(5,), (60,), (4, 5, 3)])
def test_a_wrong_gradient_is_noticed(answers, shape, wrong):
    point = numpy.random.default_rng(9).standard_normal(shape)
    noticed = [
        not answers.agrees(objective, point, wrong(right_gradient(point)), numpy.random.default_rng(seed))
        for seed in range(50)
    ]
    assert sum(noticed) >= 48  # a direction that is all but orthogonal to the mistake may miss it


def test_two_evaluations_are_enough_and_the_point_stays_as_it_is(answers):
    asked, point = [], numpy.random.default_rng(10).standard_normal(20)
    before = point.copy()

    def counted(there):
        asked.append(there.copy())
        return objective(there)

    answers.agrees(counted, point, right_gradient(point), numpy.random.default_rng(0))
    assert len(asked) == 2
    assert numpy.array_equal(point, before)
    assert not numpy.array_equal(asked[0], asked[1])
