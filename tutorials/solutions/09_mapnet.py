"""Solutions to the exercises of step 9, MAPNet."""

import numpy
from scipy import special


def mask_score(f, mask):
    """Return log S of a mask and its gradient with respect to f: f (n,), mask (k,) different positions -> (number, (n,)).

    With t_i = 2 f_i - 2 log k, log S is half the logarithm of sum exp(t_i). The largest t is taken out of the sum before
    the exponentials, so that none is above 1. The slope of log sum exp(t) with respect to t_i is t's softmax, and the 2 of
    t cancels the half: the gradient is each position's share of S^2.
    """
    parts = 2 * (f[mask] - numpy.log(len(mask)))  # (k,)
    largest = parts.max()
    exponentials = numpy.exp(parts - largest)
    gradient = numpy.zeros(len(f))
    gradient[mask] = exponentials / exponentials.sum()
    return (largest + numpy.log(exponentials.sum())) / 2, gradient


def best_baseline(norms, f):
    """Return the baseline b with the least noise in the gradient of cross-entropy: norms, f (n,) -> a number.

    With s_i = grad log q_i the second moment is E[(h - b)^2 |s|^2] = E[h^2 |s|^2] - 2 b E[h |s|^2] + b^2 E[|s|^2], least at
    b = E[h |s|^2] / E[|s|^2]: a mean of h in which draws with a long score function count more.
    """
    q = special.softmax(f)  # (n,)
    h = norms / (len(norms) * q)
    lengths = ((numpy.eye(len(f)) - q) ** 2).sum(axis=1)  # (n,): |s_i|^2
    return float(q @ (h * lengths) / (q @ lengths))
