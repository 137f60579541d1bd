"""Solutions to the exercises of step 8, masks of many tokens."""

import numpy

from minimapnet import ConditionalBernoulli


def polynomials(odds, k):
    """Return e_0 .. e_k of the odds (n,) -> (k+1,)."""
    e = numpy.zeros(k + 1)
    e[0] = 1.0
    for o in odds:
        e[1:] = e[1:] + o * e[:-1]
    return e


def pair_probabilities(odds, k):
    """Return P(i and j in M) of the conditional Bernoulli distribution, P(i in M) for i = j: odds (n,), k >= 2 -> (n, n).

    The sets with i and j have the weight o_i o_j times e_(k-2) of the odds without both. Two words are masked together
    less often than if they were independent: there are only k places.
    """
    n = len(odds)
    whole = polynomials(odds, k)[k]
    found = numpy.empty((n, n))
    for i in range(n):
        found[i, i] = odds[i] * polynomials(numpy.delete(odds, i), k - 1)[k - 1] / whole
        for j in range(i):
            rest = polynomials(numpy.delete(odds, [i, j]), k - 2)[k - 2]
            found[i, j] = found[j, i] = odds[i] * odds[j] * rest / whole
    return found


def temper_for(log_odds, k, share):
    """Return the largest exponent in [0, 1] with an effective sample size of at least `share`: log_odds (n,) -> a number.

    E[w^2] = e_k(o^t) e_k(o^-t) / C(n, k)^2, and C(n, k) is e_k of odds that are all 1. It is 1 at t = 0, even in t, and
    convex in t, so it grows with t; we halve the interval.
    """

    def log_e(exponent):
        return ConditionalBernoulli(exponent * log_odds, k).log_normaliser[0]

    def log_size(exponent):
        return 2 * log_e(0.0) - log_e(exponent) - log_e(-exponent)

    low, high = 0.0, 1.0
    if log_size(high) >= numpy.log(share):
        return high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if log_size(middle) >= numpy.log(share) else (low, middle)
    return low


def disjoint_variance(f, k, R):
    """Return the variance of the mean of R disjoint random masks of k numbers of f (n,), R k <= n -> a number.

    Their mean is that of R k numbers drawn without replacement. With v the variance of f, two different draws have the
    covariance -v / (n - 1), since the sum of all n deviations is zero; so the mean of N = R k of them has the variance
    (N v - N (N - 1) v / (n - 1)) / N^2 = v / N * (n - N) / (n - 1). It is 0 where every word is masked once: what noise
    disjoint masks of all words have comes from the contexts alone.
    """
    n, N = len(f), R * k
    return float(numpy.var(f) / N * (n - N) / (n - 1))
