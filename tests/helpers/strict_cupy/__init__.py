"""A strict stand-in for the module `cupy`, for finding on a machine without a GPU what would fail on one.

Its namespace is an explicit list of what CuPy has (a test holds the list against CuPy itself where that is installed);
anything else is an AttributeError that names it. What its arrays refuse, and where that is more than CuPy refuses, is told
in `array.py`. Its functions refuse host arrays as CuPy's do; `asarray` and `array` are the way in, `asnumpy` and `.get()`
the way out, and both copy, as a transfer does.
"""

import functools

import numpy

from tests.helpers.strict_cupy import linalg as linalg
from tests.helpers.strict_cupy import special as special
from tests.helpers.strict_cupy.array import ndarray, unwrap, wrap

# Of scalars and arrays, element by element: no list or tuple may stand for an array.
ELEMENTWISE = """
    abs absolute add ceil clip cos divide equal exp expm1 floor floor_divide greater greater_equal isfinite isinf isnan
    less less_equal log log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
    negative not_equal power reciprocal rint round sign sin sqrt square subtract tanh true_divide where
"""
# Of device arrays and lists of them, with shapes and axes as integers or tuples of them.
OF_ARRAYS = """
    all allclose amax amin any arange argmax argmin argsort array_equal ascontiguousarray broadcast_arrays broadcast_to
    concatenate copyto count_nonzero cumsum diagonal dot einsum empty empty_like expand_dims eye flatnonzero flip full
    full_like inner isin linspace matmul max mean min moveaxis nonzero ones ones_like outer prod ravel repeat reshape roll
    searchsorted sort split squeeze stack std sum swapaxes take take_along_axis tensordot tile trace transpose tril triu
    unique var zeros zeros_like
"""
CONSTANTS = "bool_ dtype e finfo float32 float64 iinfo inf int8 int32 int64 nan newaxis pi uint8"


def _function(name, sequences):
    plain = getattr(numpy, name)

    @functools.wraps(plain)
    def function(*args, **kwargs):
        args = [unwrap(arg, name, sequences) for arg in args]
        out = kwargs.get("out")
        kwargs = {key: unwrap(value, name, sequences or key == "axis") for key, value in kwargs.items()}
        result = wrap(plain(*args, **kwargs))
        return result if out is None else out

    return function


# A table rather than names of this module, where `any` and `max` would hide Python's own.
NAMES = (
    {name: _function(name, sequences=False) for name in ELEMENTWISE.split()}
    | {name: _function(name, sequences=True) for name in OF_ARRAYS.split()}
    | {name: getattr(numpy, name) for name in CONSTANTS.split()}
)


def __getattr__(name):
    if name in NAMES:
        return NAMES[name]
    raise AttributeError(f"the strict stand-in for CuPy has no {name!r}: if CuPy has it, add it to the list in {__name__}")


def array(data, dtype=None, copy=True):
    """Return a device array of host data (copied), of a device array, or of a list of one of the two kinds."""
    if isinstance(data, ndarray):
        return data.astype(dtype or data.dtype, copy=bool(copy))
    if isinstance(data, (list, tuple)) and any(isinstance(part, ndarray) for part in data):
        return wrap(numpy.array([unwrap(part, "array", sequences=False) for part in data], dtype))
    return wrap(numpy.array(data, dtype))


def asarray(data, dtype=None):
    """As `array`, but a device array of the dtype is given back itself."""
    return array(data, dtype, copy=False)


def asnumpy(data):
    """Return a copy on the host."""
    return data.get() if isinstance(data, ndarray) else numpy.asarray(data)
