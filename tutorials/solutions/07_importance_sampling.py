"""Solutions to the exercises of step 7, importance sampling."""

import itertools

import numpy


def best_share(norms, guessed):
    """Return the share u of uniform masks with which a proposal has the least second moment.

    norms, guessed (n,) -> a number.

    The second moment is a sum of terms c_i / (guessed_i + u (1/n - guessed_i)), with c_i = |g_i|^2 / n^2. One over a
    positive linear function is convex, and so is a sum of such. So its slope never falls: where it is negative, the best u
    lies above, and where it is positive, below. We halve the interval until it is short.
    """
    n = len(norms)
    difference = 1 / n - guessed

    def slope(u):
        return -(norms**2 * difference / (guessed + u * difference) ** 2).sum() / n**2

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2


def best_by_kind(norms, kinds):
    """Return the best proposal (n,) of those with one probability for each kind: norms (n,), kinds (n,) whole numbers.

    A kind of N words with the mean squared norm S and the probability q for each word adds N S / (n^2 q) to the second
    moment. With Q = N q, the probability of the whole kind, that is (N/n)^2 S / Q: the same problem as that of the text,
    with kinds for words, N/n for p and sqrt(S) for the norm. So Q is proportional to N sqrt(S), and q to sqrt(S): to the
    root mean square of the kind's norms, in which the large ones count more than in their mean.
    """
    root = numpy.empty(len(norms))
    for kind in numpy.unique(kinds):
        root[kinds == kind] = numpy.sqrt((norms[kinds == kind] ** 2).mean())
    return root / root.sum()


def normalised_mean(f, q, R):
    """Return the exact mean of sum(w f) / sum(w) over R draws from q: f, q (n,) -> a number.

    For R = 1 the weight cancels, and what is left is the mean under q: wrong. With more draws the error falls, about as 1/R.
    """
    outcomes = numpy.array(list(itertools.product(range(len(f)), repeat=R)))  # (n^R, R)
    weights = 1 / (len(f) * q[outcomes])  # (n^R, R)
    estimates = (weights * f[outcomes]).sum(axis=1) / weights.sum(axis=1)  # (n^R,)
    return float(q[outcomes].prod(axis=1) @ estimates)
