"""Where the coefficients of the GELU kernel come from: the least-error polynomial P in Phi(x) = (1 + tanh(x P(x^2))) / 2.

    python benchmarks/fit_gelu.py        (about 10 seconds)

prints for several degrees the greatest error of Phi in exact arithmetic and in float32, and the coefficients. `ERF_AS_TANH`
in `minimapnet/kernels/numpy_kernels.py` is degree 6; rounding changes the ninth digit from one LAPACK to another. The fit
is minimax by Lawson's iteration: least squares at many points, each reweighted by its error, again and again.
Source: Lawson 1961, Contributions to the theory of linear least maximum approximation (thesis, UCLA).
"""

import numpy
from numpy.polynomial import Chebyshev, Polynomial, chebyshev
from scipy import special

LIMIT = 30.0  # of x^2: P is fitted on (0, LIMIT] and held beyond
POINTS, ITERATIONS = 6000, 3000


def target(x):
    """P(x^2) = atanh(erf(x / sqrt 2)) / x, written so that nothing cancels for large x."""
    z = x / numpy.sqrt(2)
    return 0.5 * (numpy.log1p(special.erf(z)) - numpy.log(special.erfc(z))) / x


def fit(degree: int):
    """Return (the greatest error of Phi on the points, the coefficients of P in powers of x^2, lowest first)."""
    square = LIMIT * (1 - numpy.cos(numpy.pi * (numpy.arange(POINTS) + 0.5) / POINTS)) / 2
    x = numpy.sqrt(square)
    tail = special.erfc(x / numpy.sqrt(2))
    phi_by_p = x * tail * (2 - tail) / 2  # dPhi/dP: what an error of P costs
    powers, wanted = chebyshev.chebvander(2 * square / LIMIT - 1, degree), target(x)
    weight, best = numpy.ones(POINTS), (numpy.inf, None)
    for _ in range(ITERATIONS):
        scale = numpy.sqrt(weight) * phi_by_p
        coefficients = numpy.linalg.lstsq(powers * scale[:, None], wanted * scale, rcond=None)[0]
        error = numpy.abs((powers @ coefficients - wanted) * phi_by_p)
        if error.max() < best[0]:
            best = error.max(), coefficients
        weight *= error
        weight /= weight.mean()
    return best[0], Chebyshev(best[1], domain=[0, LIMIT]).convert(kind=Polynomial).coef


def float32_errors(coefficients):
    """Return the greatest errors of Phi and of GELU in float32, evaluated as the kernel does, for x in [-9, 9]."""
    x = numpy.linspace(-9, 9, 2_000_001).astype(numpy.float32)
    square = numpy.minimum(x * x, numpy.float32(LIMIT))
    p = numpy.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        p = p * square + numpy.float32(coefficient)
    phi = (numpy.tanh(p * x) + numpy.float32(1)) * numpy.float32(0.5)
    exact = special.ndtr(x.astype(numpy.float64))
    return numpy.abs(phi - exact).max(), numpy.abs(x * phi - x * exact).max()


if __name__ == "__main__":
    for degree in (5, 6, 7, 8):
        error, coefficients = fit(degree)
        phi, gelu = float32_errors(coefficients)
        print(f"degree {degree}: Phi within {error:.1e}; in float32 Phi within {phi:.1e}, GELU within {gelu:.1e}")
        for coefficient in coefficients:
            print(f"    {float(coefficient)!r},")
