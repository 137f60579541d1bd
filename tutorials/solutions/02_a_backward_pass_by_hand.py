"""Solutions to the exercises of step 2, a backward pass by hand."""

import numpy

from minimapnet.gradient_norms.accumulators import GradientAccumulator
from minimapnet.model import layers


def rmsnorm_forward(x, weight, eps):
    """y = x * r * weight with r = 1 / sqrt(mean(x^2) + eps). x (N, C), weight (C,) -> y (N, C) and the cache."""
    # 1. one over the root of the mean square
    r = 1 / numpy.sqrt((x * x).mean(axis=1, keepdims=True) + eps)  # (N, 1)

    # 2. mean square 1
    xhat = x * r  # (N, C)

    # 3. another scale
    return xhat * weight, (xhat, r, weight)


def rmsnorm_backward(dy, cache):
    """The mirror of the above: dy (N, C) -> dx (N, C), dweight (C,).

    Stages 2 and 1 put into each other: LayerNorm's line without the mean, since shifting a row now does change xhat.
    """
    xhat, r, weight = cache

    # 3. y = xhat * weight
    dxhat = dy * weight  # (N, C)
    dweight = (dy * xhat).sum(axis=0)  # (C,)

    # 2. and 1. xhat = x / sqrt(mean(x^2) + eps)
    dx = r * (dxhat - xhat * (dxhat * xhat).mean(axis=1, keepdims=True))  # (N, C)
    return dx, dweight


def block_forward(x, params):
    """y = x + gelu(x W1 + b1) W2 + b2. x (N, C) -> y (N, C) and the cache."""
    # 1. up
    h, up = layers.linear_forward(x, params["W1"], params["b1"])  # (N, F)

    # 2. not linear
    h, slope = layers.gelu_forward(h, "erf")  # (N, F)

    # 3. down
    y, down = layers.linear_forward(h, params["W2"], params["b2"])  # (N, C)

    # 4. added to the input
    return x + y, (up, slope, down)


def block_backward(dy, cache):
    """The mirror of the above: dy (N, C) -> dx (N, C), {name: gradient}."""
    up, slope, down = cache
    accumulator = GradientAccumulator()

    # 4. x + y: both get dy

    # 3. y = linear(h)
    dh = layers.linear_backward(dy, down, "2", accumulator)  # (N, F)

    # 2. h = gelu(h)
    dh = layers.gelu_backward(dh, slope)  # (N, F)

    # 1. h = linear(x), and x itself was added in stage 4: the two gradients add up
    dx = dy + layers.linear_backward(dh, up, "1", accumulator)  # (N, C)
    return dx, {
        f"{letter}{i}": accumulator.sums[f"{i}.{kind}"] for letter, kind in (("W", "weight"), ("b", "bias")) for i in (1, 2)
    }


def agrees(objective, point, gradient, rng):
    """Return whether `gradient` fits the central difference of `objective` at `point` along one random direction.

    Both sides are of the size of |gradient| / sqrt(n), since the direction has length 1 and points anywhere in n dimensions.
    One wrong number shows where it is not lost among the others, so the tolerance is as small as float64 and the step allow.
    """
    eps = 1e-5
    direction = rng.standard_normal(point.shape)
    direction /= numpy.linalg.norm(direction)
    found = (objective(point + eps * direction) - objective(point - eps * direction)) / (2 * eps)
    return bool(abs((gradient * direction).sum() - found) < 1e-9 + 1e-7 * abs(found))
