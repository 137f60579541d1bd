"""The replicas' sums of outer products, against the dense backward that they stand for."""

import numpy
import tiny

from minimapnet import backend
from minimapnet.model.masked_batch import masked_batch
from minimapnet.model.norm_reader import NormReader
from minimapnet.model.replicas import _feed_end_backward, _multiplied_out


def test_the_end_of_a_layer_from_outer_products_is_the_dense_one(xp):
    model = tiny.model(dtype="float64")
    config, S, T, R, M = model.config, 2, 5, 4, 3
    ids = numpy.arange(2, 2 + S * T).reshape(S, T) % config.vocab_size
    _, (encoder_cache, _, _) = model.forward(masked_batch(config, ids, numpy.array([[1], [3]])))
    tokenwise_cache = encoder_cache[1][0][1]
    rng = numpy.random.default_rng(0)
    u = backend.to_device(rng.standard_normal((S, R, M, T)))
    v = backend.to_device(rng.standard_normal((S, R, M, config.hidden_size)))
    ours, dense = NormReader(None, tied=True, factors={}), NormReader(None, tied=True, factors={})

    found = _feed_end_backward(0, u, v, tokenwise_cache, ours)
    expected = model.feed_end_backward(0, _multiplied_out(u, v), tokenwise_cache, dense)

    for one, other in zip(found, expected, strict=True):
        assert one.shape[:3] == (R, S, T)
        assert abs(backend.to_host(other)).max() > 1e-3
        numpy.testing.assert_allclose(backend.to_host(one), backend.to_host(other), rtol=1e-9, atol=1e-12)
    assert ours.squares.keys() == dense.squares.keys() == {"layer0.feed_norm", "layer0.feed_out"}
    for name, squares in dense.squares.items():
        assert squares.shape == (R, S)
        numpy.testing.assert_allclose(backend.to_host(ours.squares[name]), backend.to_host(squares), rtol=1e-10)
