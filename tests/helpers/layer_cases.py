"""Every layer at a tiny shape, in the one form that the gradient checker and the tests of layers take."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather
from minimapnet.model import layers
from minimapnet.model.attention import attention_backward, attention_forward


@dataclass(frozen=True)
class Case:
    """A layer: forward({name: array}) -> (out, cache), backward(dout, cache, accumulator) -> gradient of `entry`.

    `values` {name: host array} are its differentiable inputs, `entry` the one that is not a parameter (or None), `read`
    {accumulator's name: name in values} the parameters.
    """

    forward: Callable
    backward: Callable
    values: dict
    entry: str | None
    read: dict = field(default_factory=dict)

    def gradients(self, dout, cache) -> dict:
        """Return {name: gradient} for all of `values`, by one backward and the gradient accumulator."""
        accumulator = GradientAccumulator()
        dx = self.backward(dout, cache, accumulator)
        views = {name: backend.xp.empty(self.values[own].shape, "float64") for name, own in self.read.items()}
        gather([accumulator], views, "head.decoder.weight")
        entry = {} if self.entry is None else {self.entry: dx}
        return entry | {own: views[name] for name, own in self.read.items()}

    def function(self, values):
        """The form that `gradient_check` asks for."""
        out, cache = self.forward(values)
        return out, lambda dout: self.gradients(dout, cache)


def draw(**shapes):
    """Draw values from N(0, 1) by name and shape."""
    rng = numpy.random.default_rng(7)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def keep_mask(*shape):
    """Draw a dropout mask for p = 0.25 on the host."""
    return (numpy.random.default_rng(8).random(shape) >= 0.25) / 0.75


LINEAR = Case(
    lambda v: layers.linear_forward(v["x"], v["weight"], v["bias"]),
    lambda dy, cache, accumulator: layers.linear_backward(dy, cache, "it", accumulator),
    draw(x=(2, 3, 4), weight=(4, 5), bias=(5,)),
    "x",
    {"it.weight": "weight", "it.bias": "bias"},
)


def gelu(form):
    """GELU in one of its two forms, or ReLU, at values of which some lie far out."""
    return Case(
        lambda v: layers.gelu_forward(v["x"], form),
        lambda dy, cache, accumulator: layers.gelu_backward(dy, cache),
        {"x": 2 * draw(x=(2, 3, 4))["x"]},
        "x",
    )


LAYERNORM = Case(
    lambda v: layers.layernorm_forward(v["x"], v["weight"], v["bias"], 1e-5),
    lambda dy, cache, accumulator: layers.layernorm_backward(dy, cache, "it", accumulator),
    draw(x=(2, 3, 5), weight=(5,), bias=(5,)),
    "x",
    {"it.weight": "weight", "it.bias": "bias"},
)

EMBEDDING = Case(  # token 3 stands there three times, 1 and 5 never
    lambda v: layers.embedding_forward(backend.to_device(numpy.array([[3, 0, 3], [2, 3, 4]])), v["table"]),
    lambda dy, cache, accumulator: layers.embedding_backward(dy, cache, "it", accumulator),
    draw(table=(6, 4)),
    None,
    {"it": "table"},
)

DECODER = Case(
    lambda v: layers.decoder_forward(v["h"], v["weight"], v["bias"]),
    lambda dy, cache, accumulator: layers.decoder_backward(dy, cache, accumulator),
    draw(h=(3, 4), weight=(6, 4), bias=(6,)),
    "h",
    {"head.decoder.weight": "weight", "head.decoder.bias": "bias"},
)

CROSS_ENTROPY = Case(  # which overwrites its logits
    lambda v: layers.cross_entropy_forward(v["logits"].copy(), backend.to_device(numpy.array([2, 0, 5, 2]))),
    lambda dy, cache, accumulator: layers.cross_entropy_backward(dy, cache),
    draw(logits=(4, 6)),
    "logits",
)

DROPOUT = Case(
    lambda v: layers.dropout_forward(v["x"], backend.to_device(keep_mask(2, 3, 4))),
    lambda dy, cache, accumulator: layers.dropout_backward(dy, cache),
    draw(x=(2, 3, 4)),
    "x",
)


def attention(padded=False, dropped=False):
    """Two sentences of 4 tokens, 2 heads of 3 channels; padded: 1 token of the first and 2 of the second are padding."""
    bias = numpy.zeros((2, 1, 1, 4))
    bias[0, ..., 3:], bias[1, ..., 2:] = -1e300, -1e300

    def forward(v):
        return attention_forward(
            v["qkv"],
            2,
            backend.to_device(bias) if padded else None,
            backend.to_device(keep_mask(2, 2, 4, 4)) if dropped else None,
        )

    return Case(forward, lambda dy, cache, accumulator: attention_backward(dy, cache), draw(qkv=(2, 4, 18)), "qkv")


LAYERS = {
    "linear": LINEAR,
    "gelu-erf": gelu("erf"),
    "gelu-tanh": gelu("tanh"),
    "relu": gelu("relu"),
    "layernorm": LAYERNORM,
    "embedding": EMBEDDING,
    "decoder": DECODER,
    "cross-entropy": CROSS_ENTROPY,
    "dropout": DROPOUT,
}
ATTENTIONS = {
    "plain": attention(),
    "padded": attention(padded=True),
    "dropped": attention(dropped=True),
    "padded-dropped": attention(padded=True, dropped=True),
}


def sliced(host):
    """Put an array on the device as every second row of a wider one: its last axis is contiguous, nothing else is."""
    index = (*[slice(None, None, 2)] * (host.ndim - 1), slice(1, 1 + host.shape[-1]))
    wide = numpy.full((*[2 * size for size in host.shape[:-1]], host.shape[-1] + 3), 1e9)
    wide[index] = host
    return backend.to_device(wide)[index]


def swapped(host):
    """Put an array on the device with its leading axes in reverse order in memory."""
    order = (*reversed(range(host.ndim - 1)), host.ndim - 1)
    return backend.to_device(numpy.ascontiguousarray(host.transpose(order))).transpose(order)


LAYOUTS = {"sliced": sliced, "swapped": swapped}


def arrays_in(cache):
    """Return host copies of all arrays in a cache, however its tuples are nested."""
    if isinstance(cache, (tuple, list)):
        return [array for part in cache for array in arrays_in(part)]
    return [backend.to_host(cache).copy()] if hasattr(cache, "shape") else []
