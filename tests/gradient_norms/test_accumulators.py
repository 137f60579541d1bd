"""The gradient accumulator: sums over chunks, zeros where nothing was met, and nothing it is given is changed."""

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather

RNG = numpy.random.default_rng(21)
X, DY = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 3, 5))
IDS, DX = numpy.array([[3, 0, 3], [2, 3, 4]]), RNG.standard_normal((2, 3, 4))
H, DLOGITS = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 6))
SHAPES = {"it.weight": (4, 5), "it.bias": (5,), "norm.weight": (4,), "norm.bias": (4,), "table": (6, 4), "other": (2, 2)}
SHAPES |= {"head.decoder.weight": (6, 4), "head.decoder.bias": (6,)}


def feed(accumulator, rows=slice(None)):
    """Show the accumulator everything, or the sentences of a slice."""
    put = backend.to_device
    accumulator.linear("it", put(X[rows]), put(DY[rows]))
    accumulator.layernorm("norm", put(X[rows]), put(DX[rows]))
    accumulator.embedding("table", put(IDS[rows]), put(DX[rows]))
    accumulator.decoder(put(H[rows]), put(DLOGITS[rows]))


def gathered(accumulators, decoder_name="head.decoder.weight"):
    """Return what the accumulators have read, written over buffers that hold something else before."""
    views = {name: backend.xp.full(shape, 99.0, "float64") for name, shape in SHAPES.items()}
    gather(accumulators, views, decoder_name)
    return {name: backend.to_host(view) for name, view in views.items()}


def table_gradient():
    expected = numpy.zeros((6, 4))
    numpy.add.at(expected, IDS.reshape(-1), DX.reshape(-1, 4))
    return expected


def test_the_sums(xp):
    accumulator = GradientAccumulator()
    feed(accumulator)
    got = gathered([accumulator])
    close = {"rtol": 1e-12, "atol": 1e-14}
    numpy.testing.assert_allclose(got["it.weight"], numpy.einsum("btc,btf->cf", X, DY), **close)
    numpy.testing.assert_allclose(got["it.bias"], DY.sum(axis=(0, 1)), **close)
    numpy.testing.assert_allclose(got["norm.weight"], (X * DX).sum(axis=(0, 1)), **close)
    numpy.testing.assert_allclose(got["norm.bias"], DX.sum(axis=(0, 1)), **close)
    numpy.testing.assert_allclose(got["table"], table_gradient(), **close)
    numpy.testing.assert_allclose(got["head.decoder.weight"], DLOGITS.T @ H, **close)
    numpy.testing.assert_allclose(got["head.decoder.bias"], DLOGITS.sum(axis=0), **close)
    numpy.testing.assert_array_equal(got["other"], 0)


def test_a_tied_decoder_adds_to_the_embedding(xp):
    accumulator = GradientAccumulator()
    feed(accumulator)
    got = gathered([accumulator], decoder_name="table")
    numpy.testing.assert_allclose(got["table"], table_gradient() + DLOGITS.T @ H, rtol=1e-12)
    numpy.testing.assert_array_equal(got["head.decoder.weight"], 0)


def test_chunks_and_several_readers_add_up(xp):
    whole, one, two = GradientAccumulator(), GradientAccumulator(), GradientAccumulator()
    feed(whole)
    feed(one, slice(0, 1))
    feed(two, slice(1, 2))
    together = GradientAccumulator()
    feed(together, slice(0, 1))
    feed(together, slice(1, 2))
    expected = gathered([whole])
    for accumulators in ([one, two], [together]):
        got = gathered(accumulators)
        for name in expected:
            if name.startswith("head"):  # of its five rows the chunks have shown the first two
                continue
            numpy.testing.assert_allclose(got[name], expected[name], rtol=1e-12, atol=1e-14)
        numpy.testing.assert_allclose(got["head.decoder.weight"], DLOGITS[:2].T @ H[:2], rtol=1e-12)


def test_readers_change_nothing_they_are_given(xp):
    given = [backend.to_device(array) for array in (X, DY, DX, H, DLOGITS)]
    x, dy, dx, h, dlogits = given
    accumulator = GradientAccumulator()
    for _ in range(2):  # the second addition must not write into what the first was given
        accumulator.linear("it", x, dy)
        accumulator.layernorm("norm", x, dx)
        accumulator.embedding("table", backend.to_device(IDS), dx)
        accumulator.decoder(h, dlogits)
    gathered([accumulator])
    for array, was in zip(given, (X, DY, DX, H, DLOGITS), strict=True):
        numpy.testing.assert_array_equal(backend.to_host(array), was)
