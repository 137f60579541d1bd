"""Stands in for `cupyx.scipy.special`."""

from scipy import special

from tests.helpers.strict_cupy.array import unwrap, wrap


def erf(x):
    return wrap(special.erf(unwrap(x, "erf")))
