"""Stands in for `cupyx.scipy.special`."""

from scipy import special

from strict_cupy.array import unwrap, wrap


def erf(x):
    return wrap(special.erf(unwrap(x, "erf")))
