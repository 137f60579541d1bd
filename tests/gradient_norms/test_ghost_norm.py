"""The norm accumulator's four ways to a squared norm, each against the product multiplied out in float64."""

import numpy
import pytest

from minimapnet import backend
from minimapnet.gradient_norms.accumulators import GradientAccumulator
from minimapnet.gradient_norms.ghost_norm import (
    GradientNormAccumulator,
    _gram_squares,
    factor,
    row_squares,
    squares,
    sum_rows,
)


def reference(x, d):
    """Return |sum_t (x_t, 1) d_t^T|^2 for each unit, in float64 on the host."""
    x, d = x.astype("float64"), d.astype("float64")
    weight = numpy.einsum("utc,utf->ucf", numpy.broadcast_to(x, (len(d), *x.shape[1:])), d)
    return (weight**2).sum(axis=(1, 2)) + (d.sum(axis=1) ** 2).sum(axis=1)


def rows(units, T, C, F, dtype, seed=0):
    rng = numpy.random.default_rng(seed)
    return rng.standard_normal((units, T, C)).astype(dtype), rng.standard_normal((units, T, F)).astype(dtype)


def cancelling(units, T, C, F, seed=0):
    """Rows as trained models have them: inputs that share a large part, and gradients that nearly add up to zero."""
    x, d = rows(units, T, C, F, "float64", seed)
    x += 30.0
    d -= d.mean(axis=1, keepdims=True)
    return x.astype("float32"), d.astype("float32")


def read(x, d, multiply_out=False, factors=None, gradients=None):
    accumulator = GradientNormAccumulator(None, tied=True, gradients=gradients, factors=factors)
    accumulator._should_multiply_out = lambda x, d: multiply_out
    accumulator.linear("layer", backend.to_device(x), backend.to_device(d))
    return backend.to_host(accumulator.squares["layer"])


@pytest.mark.parametrize("shape", [(4, 1, 5, 3), (4, 7, 5, 3), (4, 3, 8, 6)])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-5)])
def test_linear_in_every_form(xp, shape, dtype, rtol):
    x, d = rows(*shape, dtype)
    numpy.testing.assert_allclose(read(x, d), reference(x, d), rtol=rtol)
    numpy.testing.assert_allclose(read(x, d, multiply_out=True), reference(x, d), rtol=rtol)
    numpy.testing.assert_allclose(read(x[:1], d, factors={}), reference(x[:1], d), rtol=rtol)


def test_float32_keeps_its_digits_where_terms_cancel(xp):
    x, d = cancelling(3, 24, 16, 8)
    expected = reference(x, d)
    terms = (numpy.linalg.norm(x, axis=2) * numpy.linalg.norm(d, axis=2)).sum(axis=1) ** 2
    assert (terms / expected > 1e4).all()  # a float32 Gram form would be left with three digits or fewer
    numpy.testing.assert_allclose(read(x, d), expected, rtol=1e-4)
    numpy.testing.assert_allclose(read(x, d, multiply_out=True), expected, rtol=1e-4)
    numpy.testing.assert_allclose(read(x[:1], d, factors={}), reference(x[:1], d), rtol=1e-4)


@pytest.mark.parametrize(("T", "C"), [(6, 9), (9, 6)])
def test_replicas_of_several_sentences(xp, T, C):
    R, S = 4, 4  # equal, so that a mix-up of the axes would broadcast and show in the numbers alone
    x, d = rows(S, T, C, R * 3, "float64")
    d = numpy.moveaxis(d.reshape(S, T, R, 3), 2, 0)  # (R, S, T, 3)
    expected = [reference(x, d[r]) for r in range(R)]
    numpy.testing.assert_allclose(read(x, d, factors={}), expected, rtol=1e-12)

    accumulator = GradientNormAccumulator(None, tied=False, factors={})
    accumulator.layernorm("norm", backend.to_device(x), backend.to_device(numpy.broadcast_to(d[..., :1], (R, S, T, C))))
    products = x * d[..., :1]
    scale, shift = products.sum(axis=2), d[..., 0].sum(axis=2)
    expected = (scale**2).sum(axis=2) + C * shift**2
    numpy.testing.assert_allclose(backend.to_host(accumulator.squares["norm"]), expected, rtol=1e-12)


@pytest.mark.parametrize("units", [(3,), (4, 3)])
def test_rows_of_equal_ids_are_added_up(xp, units):
    """Both as an input table alone and, tied, as the decoder too: against the table of V rows itself."""
    V, T, C, K = 12, 6, 5, 1 if len(units) == 2 else 2
    ids = numpy.array([[4, 4, 7, 4, 7, 0], [1, 2, 3, 4, 5, 6], [8, 8, 8, 8, 8, 8]])  # 3, 6 and 1 different ones
    rng = numpy.random.default_rng(0)
    dy, h, dlogits = (rng.standard_normal((*units, *shape)) for shape in ((T, C), (K, C), (K, V)))
    accumulator = GradientNormAccumulator(None, tied=True, factors={})
    accumulator.embedding("type_embedding", backend.to_device(ids), backend.to_device(dy))
    accumulator.decoding = backend.to_device(h), backend.to_device(dlogits)
    accumulator.embedding("word_embedding", backend.to_device(ids), backend.to_device(dy))
    table = numpy.einsum("stv,...stc->...svc", numpy.eye(V)[ids], dy)  # (U, V, C)
    tied = table + dlogits.swapaxes(-1, -2) @ h
    for name, expected in (("type_embedding", table), ("word_embedding", tied)):
        numpy.testing.assert_allclose(
            backend.to_host(accumulator.squares[name]), (expected**2).sum(axis=(-1, -2)), rtol=1e-12
        )


def test_a_factor_is_made_once_for_all_replicas(xp):
    factors = {}
    x, d = rows(1, 5, 7, 3, "float64")
    read(x, d, factors=factors)
    kept = factors["layer"]
    read(x, d, factors=factors)
    assert factors["layer"] is kept


@pytest.mark.parametrize(("T", "C"), [(3, 9), (9, 3), (4, 4), (4, 3)])
def test_factor_has_the_gram_matrix_of_its_rows(xp, T, C):
    x = rows(2, T, C, 1, "float64")[0]
    for one, found in zip(x, backend.to_host(factor(backend.to_device(x))), strict=True):
        assert found.shape == (min(T, C + 1), T)
        numpy.testing.assert_allclose(found.T @ found, one @ one.T + 1, rtol=1e-12)
        if len(found) == T:
            numpy.testing.assert_array_equal(found, numpy.triu(found))


@pytest.mark.parametrize("T", [1, 2, 3, 5, 9, 10, 11, 21])
def test_every_band_of_a_factor_counts(xp, T):
    x, d = rows(3, T, 9, 4, "float64")
    numpy.testing.assert_allclose(read(x[:1], d, factors={}), reference(x[:1], d), rtol=1e-12)


def test_equal_rows_can_be_factored(xp):
    x, d = rows(1, 6, 9, 4, "float64")
    x[:, 3:] = x[:, :3]
    numpy.testing.assert_allclose(read(x, d, factors={}), reference(x, d), rtol=1e-12)


def test_products_are_the_gradient(xp, monkeypatch):
    x, d = rows(5, 6, 4, 3, "float64")
    for elements in (1, 24, 1 << 20):  # one sequence at a time, two, all
        monkeypatch.setattr(backend.kernels, "PRODUCT_ELEMENTS", elements)
        gradients = GradientAccumulator()
        found = read(x, d, multiply_out=True, gradients=gradients)
        numpy.testing.assert_allclose(found, reference(x, d), rtol=1e-12)
        weight = numpy.einsum("utc,utf->cf", x, d)
        numpy.testing.assert_allclose(backend.to_host(gradients.sums["layer.weight"]), weight, rtol=1e-12)
        numpy.testing.assert_allclose(backend.to_host(gradients.sums["layer.bias"]), d.sum(axis=(0, 1)), rtol=1e-12)


def test_helpers(xp):
    x = rows(3, 4, 5, 1, "float64")[0]
    device = backend.to_device(x)
    numpy.testing.assert_allclose(backend.to_host(squares(device)), (x**2).sum(axis=(1, 2)), rtol=1e-12)
    numpy.testing.assert_allclose(backend.to_host(row_squares(device)), (x**2).sum(axis=2), rtol=1e-12)
    numpy.testing.assert_allclose(backend.to_host(sum_rows(device)), x.sum(axis=1, keepdims=True), rtol=1e-12)
    without_bias = backend.to_host(_gram_squares(device, device, 0.0))
    numpy.testing.assert_allclose(without_bias, [((a.T @ a) ** 2).sum() for a in x], rtol=1e-12)
