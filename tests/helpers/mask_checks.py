"""Checks of mask distributions against tables of all masks of one short sentence."""

import itertools

import numpy
from scipy import stats


def all_subsets(T):
    """List all 2^T sets of positions -> int (2^T, T), padded with -1; row r holds the bits of the number r."""
    bits = (numpy.arange(2**T)[:, None] >> numpy.arange(T)) & 1
    return numpy.where(bits, numpy.arange(T), -1)


def table(distribution):
    """Return the probability of every set of positions for every sentence -> (2^T, B)."""
    B, T = distribution.maskable.shape
    return numpy.exp(distribution.log_prob(numpy.repeat(all_subsets(T)[:, None], B, axis=1)))


def codes(positions):
    """Return each mask's row in `all_subsets`: positions (..., K) -> (...)."""
    return numpy.where(positions >= 0, 1 << numpy.maximum(positions, 0), 0).sum(axis=-1)


def chi_square(positions, probabilities):
    """Return the p-value of draws (S, K) against a table (2^T,) or a dict {set of positions: probability}.

    A draw that cannot occur gives 0; sets that are rarer than 5 draws are counted together.
    """
    if isinstance(probabilities, dict):
        sets, given = list(probabilities), list(probabilities.values())
        probabilities = numpy.zeros(2 ** (1 + max(itertools.chain(*sets))))
        probabilities[[sum(1 << i for i in s) for s in sets]] = given
    numpy.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-12)
    observed = numpy.bincount(codes(positions), minlength=len(probabilities))
    if len(observed) > len(probabilities) or observed[probabilities == 0].any():
        return 0.0
    expected = len(positions) * probabilities
    rare = expected < 5
    observed, expected = observed[~rare].tolist(), expected[~rare].tolist()
    if rare.any() and (rest := len(positions) * probabilities[rare].sum()) > 0:
        observed, expected = [*observed, len(positions) - sum(observed)], [*expected, rest]
    return stats.chisquare(observed, expected).pvalue


def assert_frequencies(positions, inclusion):
    """Fail where a position of one sentence's draws (S, K) is masked too often or too seldom for inclusion (T,).

    "Too" is what a binomial count does with a probability of less than 1e-6.
    """
    found = numpy.bincount(positions[positions >= 0], minlength=len(inclusion))
    seldom, often = stats.binom.cdf(found, len(positions), inclusion), stats.binom.sf(found - 1, len(positions), inclusion)
    assert (seldom > 1e-6).all() and (often > 1e-6).all()
