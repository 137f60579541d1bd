"""Finite differences: the judge of every backward pass.

A backward is right where its gradient of sum(out * upstream) agrees with central differences of the forward. The upstream
gradient is mandatory, and should be random: under one of ones, softmax and LayerNorm sum to a constant, and "return 0" would
pass. Everything is float64; a step of 1e-5 leaves errors of about 1e-10 by truncation and 1e-11 by rounding.

A function under test maps {name: device array} to (out, pullback), where pullback(dout) gives {name: gradient}.
"""

import numpy

from minimapnet import backend

EPS, RTOL, ATOL = 1e-5, 1e-6, 1e-9


def random_upstream(seed: int):
    """Return a function from an output's shape to a random upstream gradient on the host."""
    return lambda shape: numpy.random.default_rng(seed).standard_normal(shape)


def check_elementwise(function, values, upstream, place=None) -> None:
    """Assert that the pullback's gradient of every element of every array in `values` agrees with finite differences.

    `values` {name: float64 host array}; `upstream` gives the upstream gradient for an output's shape, both on the host.
    `place` {name: function} says how an array, or the upstream gradient "dout", is laid out on the device where that is not
    simply contiguous.
    """
    out, pullback = function(placed(values, place))
    dout = upstream(out.shape)
    gradients = pullback(placed({"dout": dout}, place)["dout"])
    assert set(gradients) == set(values), f"gradients of {sorted(gradients)} for inputs {sorted(values)}"
    for name, value in values.items():
        expected = _differences(function, values, name, dout, place)
        actual = backend.to_host(gradients[name])
        assert actual.shape == value.shape, f"{name}: a gradient of shape {actual.shape} for a value of {value.shape}"
        numpy.testing.assert_allclose(actual, expected, rtol=RTOL, atol=ATOL, err_msg=f"the gradient of {name}")


def check_direction(objective, point, gradient, seed: int) -> None:
    """Assert that `gradient` agrees with the finite difference of `objective` along one random direction.

    `point` and `gradient` are flat float64 host arrays of all parameters; `objective` maps such a point to a float.
    """
    direction = numpy.random.default_rng(seed).standard_normal(point.shape)
    direction /= numpy.linalg.norm(direction)
    expected = (objective(point + EPS * direction) - objective(point - EPS * direction)) / (2 * EPS)
    numpy.testing.assert_allclose(gradient @ direction, expected, rtol=RTOL, atol=ATOL)


def placed(values, place=None):
    """Put host arrays on the device, in the layouts that `place` names."""
    return {name: (place or {}).get(name, backend.to_device)(value.copy()) for name, value in values.items()}


def _differences(function, values, name, dout, place):
    value = values[name]
    gradient = numpy.empty_like(value)
    for index in numpy.ndindex(value.shape):
        outs = []
        for step in (EPS, -EPS):
            moved = value.copy()
            moved[index] += step
            outs.append(backend.to_host(function(placed({**values, name: moved}, place))[0]))
        gradient[index] = ((outs[0] - outs[1]) * dout).sum() / (2 * EPS)
    return gradient
