"""The exercises of step 6, held against gradients that are built, the memory that they take, and finite differences."""

import tracemalloc

import numpy
import pytest

from minimapnet import Bert, gradients, token_losses
from minimapnet.model.batch import masked_batch
from tests.helpers import tiny


def layer_gradient(x, d):
    """Return the gradient of a linear layer, weight and bias, as one vector."""
    return numpy.concatenate([(x.T @ d).reshape(-1), d.sum(axis=0)])


def use(rng, T, C, F):
    return rng.normal(size=(T, C)), rng.normal(size=(T, F))


@pytest.mark.parametrize("shape", [(1, 1, 3, 4), (5, 5, 3, 4), (2, 7, 6, 2)])
def test_the_inner_product_is_that_of_the_built_gradients(answers, shape):
    T1, T2, C, F = shape
    rng = numpy.random.default_rng(0)
    one, other = use(rng, T1, C, F), use(rng, T2, C, F)
    expected = layer_gradient(*one) @ layer_gradient(*other)
    assert answers.inner_product(*one, *other) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shared_weights_have_cross_terms(answers, count):
    rng = numpy.random.default_rng(1)
    uses = [use(rng, T, 3, 4) for T in range(2, 2 + count)]
    total = sum(layer_gradient(*one) for one in uses)
    assert answers.shared_squares(uses) == pytest.approx(total @ total, rel=1e-10)


@pytest.mark.parametrize("name", ["inner_product", "shared_squares"])
def test_no_array_of_the_weights_size_is_built(answers, name):
    rng = numpy.random.default_rng(2)
    one, other = use(rng, 3, 1000, 1200), use(rng, 3, 1000, 1200)
    tracemalloc.start()
    if name == "inner_product":
        answers.inner_product(*one, *other)
    else:
        answers.shared_squares([one, other])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1000 * 1200 * 8 / 4  # bytes; the weight's gradient alone would take four times as many


IDS = numpy.array([[1, 5, 6, 7, 5, 2], [1, 8, 5, 9, 10, 2]])  # 5 occurs twice
POSITIONS = numpy.array([[1, 3], [2, -1]])


@pytest.fixture(scope="module")
def model():
    return Bert(tiny.config(mask_token_id=3, pad_token_id=0), seed=0)


def directional(answers, model, direction):
    """Return what a DirectionReader finds for the mean loss of all masked words."""
    batch = masked_batch(model.config, IDS, POSITIONS)
    losses, cache = model.forward(batch)
    accumulator = answers.DirectionReader(direction)
    model.backward(numpy.full_like(losses, 1 / len(losses)), cache, accumulator)
    return accumulator.total


def test_the_direction_reader_foretells_the_change_of_the_loss(answers, model):
    rng = numpy.random.default_rng(3)
    direction = {name: rng.normal(size=array.shape) for name, array in model.params.items()}
    found = directional(answers, model, direction)
    before, changes = model.flat.copy(), []
    for step in (1e-5, -1e-5):
        for name, array in model.params.items():
            array += step * direction[name]
        changes.append(token_losses(model, IDS, POSITIONS).sum() / 3)
        model.flat[...] = before
    assert found == pytest.approx((changes[0] - changes[1]) / 2e-5, rel=1e-6)


def test_along_a_parameter_it_is_the_product_with_its_gradient(answers, model):
    rng = numpy.random.default_rng(4)
    weights = numpy.array([[1, 1], [1, 0]]) * len(IDS) / 3
    _, built = gradients(model, IDS, POSITIONS, weights)
    for name, array in model.params.items():
        direction = {other: numpy.zeros_like(values) for other, values in model.params.items()}
        direction[name] = rng.normal(size=array.shape)
        expected = float((direction[name] * built[name]).sum())
        assert directional(answers, model, direction) == pytest.approx(expected, rel=1e-9, abs=1e-12), name
