"""The strict stand-in's array: a NumPy array in a box that opens only where CuPy's would.

Refused as CuPy refuses: implicit conversion (`numpy.asarray`, assignment into a NumPy array), operators and functions that
mix it with NumPy arrays or lists, use as an integer index (CuPy has no `__index__`), hashing. Kept as CuPy keeps it: a
single element or a reduction is a 0-d device array, never a Python number; slices are views; `@=` is not in place.

Refused although CuPy allows it, since each is a hidden transfer, a wait, or a quiet promotion:
- lists and NumPy arrays as indices, and NumPy arrays as the value of an assignment: CuPy copies them to the device;
- NumPy's functions on device arrays: CuPy takes them over (only `numpy.shape`, `ndim` and `size` work here);
- NumPy scalars in arithmetic: they would promote float32 to float64 (indices and shapes may be NumPy integers);
- indices out of range: CuPy wraps them silently, this raises IndexError;
- `float`, `int` and `bool` of arrays of one element that are not 0-d.
"""

import operator

import numpy

# What may stand beside device arrays in a call: options, shapes, Python's own numbers.
PLAIN = (bool, int, float, str, type, numpy.dtype, type(None), type(Ellipsis))


def unwrap(value, where, sequences=False):
    """Return what NumPy may see of an argument of `where`; TypeError for host arrays, and for lists unless `sequences`."""
    if isinstance(value, ndarray):
        return value._array
    if sequences and isinstance(value, numpy.integer):
        return int(value)
    if isinstance(value, numpy.generic) or not isinstance(value, (*PLAIN, list, tuple)):
        raise TypeError(f"{where}: unsupported type {type(value)} beside device arrays")
    if isinstance(value, (list, tuple)):
        if not sequences:
            raise TypeError(f"{where}: a {type(value).__name__} is no device array")
        if any(isinstance(part, float) for part in value):
            raise TypeError(f"{where}: a list of numbers is no device array")
        return type(value)(unwrap(part, where, sequences) for part in value)
    return value


def wrap(result):
    """Return NumPy's result as CuPy would: arrays and scalars as device arrays, tuples part by part, the rest as it is."""
    if isinstance(result, tuple):
        return tuple(wrap(part) for part in result)
    if isinstance(result, list):
        return [wrap(part) for part in result]
    if isinstance(result, (numpy.ndarray, numpy.generic)):
        device = ndarray.__new__(ndarray)
        device._array = numpy.asarray(result)
        return device
    return wrap(numpy.asarray(result)) if isinstance(result, (bool, int, float)) else result


def _index(index):
    """What NumPy may see of an index; the Ellipsis at its end makes a single element a view, as in CuPy."""
    parts = [_index_part(part) for part in (index if isinstance(index, tuple) else (index,))]
    return tuple(parts) if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _index_part(part):
    if isinstance(part, ndarray):
        return part._array
    if part is None or part is Ellipsis or isinstance(part, (bool, int, slice, numpy.integer)):
        return part
    raise TypeError(f"index: {type(part)} is no device array")


class ndarray:
    """Made by `asarray` and the namespace's functions."""

    __hash__ = None

    def __init__(self, *_):
        raise TypeError("make device arrays by asarray, empty, zeros ...")

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    itemsize = property(lambda self: self._array.itemsize)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: self._array.flags)
    T = property(lambda self: wrap(self._array.T))

    def get(self):
        return self._array.copy()

    def item(self):
        return self._array.item()

    def tolist(self):
        return self._array.tolist()

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return wrap(self._array[_index(index)])

    def __setitem__(self, index, value):
        self._array[_index(index)] = unwrap(value, "assignment")

    def __repr__(self):
        return f"strict_cupy.{self._array!r}"

    def _number(self):
        if self.ndim:
            raise TypeError(f"only a 0-d array is a number, not one of shape {self.shape}")
        return self._array.item()

    def __float__(self):
        return float(self._number())

    def __int__(self):
        return int(self._number())

    def __bool__(self):
        return bool(self._number())

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion to a NumPy array is not allowed: use .get()")

    def __array_ufunc__(self, ufunc, *_, **__):
        raise TypeError(f"{ufunc.__name__}: a NumPy function or array beside a device array")

    def __array_function__(self, function, types, args, kwargs):
        if function in (numpy.shape, numpy.ndim, numpy.size):  # they look at no element
            return function(args[0]._array, *args[1:], **kwargs)
        raise TypeError(f"{function.__name__}: a NumPy function of a device array")


def _method(name):
    def method(self, *args, **kwargs):
        args = [unwrap(arg, name, sequences=True) for arg in args]
        kwargs = {key: unwrap(value, name, sequences=True) for key, value in kwargs.items()}
        result = getattr(self._array, name)(*args, **kwargs)
        return self if result is self._array else wrap(result)

    return method


METHODS = """
    all any argmax argmin argsort astype clip copy cumsum diagonal dot fill flatten max mean min nonzero prod ravel repeat
    reshape round sort squeeze std sum swapaxes take transpose var view
"""
for _name in METHODS.split():
    setattr(ndarray, _name, _method(_name))


def _operators(name):
    """The operator, its reflection and its in-place form, as methods."""
    plain, in_place = getattr(operator, name), getattr(operator, f"i{name.rstrip('_')}")

    def forward(self, other):
        return wrap(plain(self._array, unwrap(other, name)))

    def reflected(self, other):
        return wrap(plain(unwrap(other, name), self._array))

    def assigned(self, other):
        array = self._array
        in_place(array, unwrap(other, name))  # raises rather than rebinds where NumPy cannot write in place
        return self

    return forward, reflected, assigned


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor"):
    _short = _name.rstrip("_")
    _forward, _reflected, _assigned = _operators(_name)
    setattr(ndarray, f"__{_short}__", _forward)
    setattr(ndarray, f"__r{_short}__", _reflected)
    if _short != "matmul":
        setattr(ndarray, f"__i{_short}__", _assigned)


def _comparison(name):
    plain = getattr(operator, name)
    return lambda self, other: wrap(plain(self._array, unwrap(other, name)))


def _unary(name):
    plain = getattr(operator, name)
    return lambda self: wrap(plain(self._array))


for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(ndarray, f"__{_name}__", _comparison(_name))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _unary(_name))
