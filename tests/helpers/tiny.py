"""A tiny model and batch for the tests: float64, every parameter random, so that nothing is zero by symmetry."""

from contextlib import contextmanager

import numpy

from minimapnet import Bert, BertConfig, backend
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather
from minimapnet.kernels import numpy_kernels

IDS = numpy.array([[4, 5, 6, 4, 7, 10], [2, 9, 9, 3, 8, 2], [6, 1, 10, 5, 3, 4]])  # (B, T) = (3, 6)
POSITIONS = numpy.array([[1, 4], [0, 3], [5, 2]])  # (B, K) = (3, 2)
RAGGED = numpy.array([[1, 4], [-1, 3], [-1, -1]])  # two masked, one, none
PADDING = numpy.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
TYPES = numpy.array([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])
WEIGHTS = numpy.random.default_rng(11).standard_normal(POSITIONS.shape)  # the upstream gradient of the losses


def config(**changes) -> BertConfig:
    """Return a configuration of some 700 parameters."""
    fields = {
        "vocab_size": 11,
        "hidden_size": 6,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 7,
        "max_position_embeddings": 6,
        "layer_norm_eps": 1e-5,
        "mask_token_id": 1,
        "dtype": "float64",
    }
    return BertConfig(**(fields | changes))


def model(**changes) -> Bert:
    """Return a model whose parameters, biases and LayerNorms too, are drawn from N(0, 1/4); scales from N(1, 1/4)."""
    made = Bert(config(**changes), seed=3)
    draw = numpy.random.default_rng(12).standard_normal(made.flat.size) / 2
    made.flat[...] = backend.to_device(draw.astype(made.config.dtype))
    for name, value in made.params.items():
        if name.endswith("norm.weight"):
            value += 1.0
    return made


def cut(monkeypatch, *edges):
    """Make every batch of edges[-1] sentences be cut at the edges given."""
    parts = [slice(start, stop) for start, stop in zip((0, *edges[:-1]), edges, strict=True)]

    def split_batch(sentences, tokens):
        assert sentences == edges[-1]
        return parts

    monkeypatch.setattr(backend.kernels, "split_batch", split_batch)


def host(gradients) -> dict:
    """Take {name: array} to the host."""
    return {name: backend.to_host(array) for name, array in gradients.items()}


def read(made, dlosses, cache) -> dict:
    """Run a model's backward and give all its gradients on the host."""
    accumulator = GradientAccumulator()
    made.backward(dlosses, cache, accumulator)
    views = {name: backend.xp.empty(shape, made.config.dtype) for name, shape in made.shapes.items()}
    gather([accumulator], views, made.decoder_name)
    return host(views)


@contextmanager
def numpy_in_use(monkeypatch):
    """Make NumPy the backend for a while, whatever the fixture has chosen."""
    with monkeypatch.context() as inner:
        for name, value in (("name", "numpy"), ("xp", numpy), ("kernels", numpy_kernels)):
            inner.setattr(backend, name, value)
        yield


class NoReader:
    """Reads nothing: for a backward that is after its input's gradient alone."""

    def linear(self, name, x, dy): ...
    def layernorm(self, name, xhat, dy): ...
    def embedding(self, name, ids, dy): ...
    def decoder(self, h, dlogits): ...
