"""The replicas' sums of outer products, against the dense backward that they stand for."""

import numpy
import pytest

from minimapnet import backend
from minimapnet.gradient_norms.ghost_norm import GradientNormAccumulator
from minimapnet.gradient_norms.token_replicas import _ffn_backward, _multiplied_out
from minimapnet.model.batch import masked_batch
from tests.helpers import tiny


@pytest.mark.parametrize("batch_size_that_fits", [1, 3, 4])
def test_a_feed_forward_from_outer_products_is_the_dense_one(xp, monkeypatch, batch_size_that_fits):
    model = tiny.model(dtype="float64")
    config, S, T, R, M = model.config, 2, 5, 4, 3
    monkeypatch.setattr(backend.kernels, "PRODUCT_ELEMENTS", batch_size_that_fits * S * T * config.intermediate_size)
    ids = numpy.arange(2, 2 + S * T).reshape(S, T) % config.vocab_size
    _, (encoder_cache, _, _) = model.forward(masked_batch(config, ids, numpy.array([[1], [3]])))
    ffn_cache = encoder_cache[1][0][2]
    rng = numpy.random.default_rng(0)
    u = backend.to_device(rng.standard_normal((S, R, M, T)))
    v = backend.to_device(rng.standard_normal((S, R, M, config.hidden_size)))
    ours, dense = GradientNormAccumulator(None, tied=True, factors={}), GradientNormAccumulator(None, tied=True, factors={})

    found = _ffn_backward(0, u, v, ffn_cache, ours)
    expected = model.ffn_backward(0, _multiplied_out(u, v), ffn_cache, dense)

    assert found.shape == (R, S, T, config.hidden_size)
    assert abs(backend.to_host(expected)).max() > 1e-3
    numpy.testing.assert_allclose(backend.to_host(found), backend.to_host(expected), rtol=1e-9, atol=1e-12)
    assert ours.squares.keys() == dense.squares.keys() == {"layer0.feed_norm", "layer0.feed_out", "layer0.feed_in"}
    for name, squares in dense.squares.items():
        assert squares.shape == (R, S)
        numpy.testing.assert_allclose(backend.to_host(ours.squares[name]), backend.to_host(squares), rtol=1e-10)
