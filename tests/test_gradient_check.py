"""The checker itself: it must reject what is wrong, or its consent means nothing."""

import numpy
import pytest

from minimapnet import backend
from tests.helpers.gradient_check import check_direction, check_elementwise, random_upstream
from tests.helpers.layer_cases import ATTENTIONS, LAYERS

WRONGS = {"zero": lambda g: g * 0.0, "sign flipped": lambda g: -g, "scaled by 7": lambda g: g * 7.0}
CASES = LAYERS | {f"attention-{name}": case for name, case in ATTENTIONS.items()}


def spoiled(function, name, wrong):
    """Return `function` with its gradient of `name` made wrong."""

    def worse(values):
        out, pullback = function(values)

        def wrong_pullback(dout):
            gradients = pullback(dout)
            return gradients | {name: wrong(gradients[name])}

        return out, wrong_pullback

    return worse


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("wrong", WRONGS.values(), ids=WRONGS)
def test_wrong_backwards_are_rejected(xp, case, wrong):
    for name in case.values:
        with pytest.raises(AssertionError, match=f"the gradient of {name}"):
            check_elementwise(spoiled(case.function, name, wrong), case.values, random_upstream(1))


def test_one_wrong_element_is_rejected(xp):
    case = LAYERS["linear"]

    def nudge(gradient):
        host = backend.to_host(gradient).copy()
        host[1, 2, 0] += 1e-5 * abs(host[1, 2, 0])
        return backend.to_device(host)

    with pytest.raises(AssertionError, match="the gradient of x"):
        check_elementwise(spoiled(case.function, "x", nudge), case.values, random_upstream(1))


def test_a_missing_gradient_is_rejected(xp):
    def forgets_x(values):
        out, pullback = LAYERS["linear"].function(values)
        return out, lambda dout: {name: g for name, g in pullback(dout).items() if name != "x"}

    with pytest.raises(AssertionError, match="for inputs"):
        check_elementwise(forgets_x, LAYERS["linear"].values, random_upstream(1))


def softmax(values):
    """Softmax with a backward that returns 0."""
    probs = values["x"].copy()  # (1, 1, 3, 4)
    backend.kernels.softmax_forward(probs, 1.0)
    return probs, lambda dout: {"x": dout * 0.0}


def layernorm(values):
    """LayerNorm of scale 1 and shift 0 with a backward that returns 0."""
    width = values["x"].shape[-1]
    ones, zeros = backend.xp.ones(width, "float64"), backend.xp.zeros(width, "float64")
    y, _, _ = backend.kernels.layernorm_forward(values["x"], ones, zeros, 1e-12)
    return y, lambda dout: {"x": dout * 0.0}


@pytest.mark.parametrize("function", [softmax, layernorm])
def test_an_upstream_gradient_of_ones_would_let_return_0_pass(xp, function):
    values = {"x": numpy.random.default_rng(2).standard_normal((1, 1, 3, 4))}
    check_elementwise(function, values, numpy.ones)  # passes, although the backward is wrong: so it must be random
    with pytest.raises(AssertionError, match="the gradient of x"):
        check_elementwise(function, values, random_upstream(1))


@pytest.mark.parametrize("wrong", WRONGS.values(), ids=WRONGS)
def test_a_wrong_direction_is_rejected(wrong):
    point = numpy.random.default_rng(3).standard_normal(50)
    gradient = numpy.cos(point)
    check_direction(lambda p: float(numpy.sin(p).sum()), point, gradient, seed=4)
    with pytest.raises(AssertionError):
        check_direction(lambda p: float(numpy.sin(p).sum()), point, wrong(gradient), seed=4)
