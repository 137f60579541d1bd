"""A device to try things on where there is none: the tests' strict stand-in for CuPy, made to count what it is asked for.

Its arrays are NumPy arrays in boxes that open only where CuPy's would (see `tests/helpers/strict_cupy`). The CUDA kernels
run on it by emulation (`tests/helpers/cuda_on_cpu.py`), which needs the compiler g++ and pytest.
"""

import functools
import importlib
import shutil
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy

from minimapnet import backend

sys.path.append(str(Path(__file__).parents[1]))  # for tests.helpers, wherever the script is run from

from minimapnet.kernels import reference
from tests.helpers import strict_cupy

ndarray = strict_cupy.ndarray
WHY_NO_CUDA = (
    None
    if shutil.which("g++") and importlib.util.find_spec("pytest")
    else "the CUDA kernels are not run here: their emulation needs the compiler g++ and pytest"
)
# What looks at an array in another way, or only makes room: no launch.
FREE = """
    broadcast_to diagonal empty empty_like expand_dims moveaxis ravel reshape split squeeze swapaxes transpose view
"""


OPERATORS = """
    add sub mul truediv floordiv mod pow matmul and or xor radd rsub rmul rtruediv rfloordiv rmod rpow rmatmul rand ror rxor
    iadd isub imul itruediv ifloordiv imod ipow iand ior ixor lt le eq ne gt ge neg pos abs invert
"""


@dataclass
class Counts:
    """What a device was asked for: launches, the bytes that they read and wrote, and what went to the device and back.

    `moved` counts every array that an operation takes or gives, whole; the CUDA kernels add nothing to it. A wait is a
    number or an array that Python asked for: the device must be done with all that came before it.
    """

    launches: int = 0
    moved: int = 0
    to_device: int = 0
    to_host: int = 0
    transfers: int = 0
    waits: int = 0


_counts, _paused = Counts(), False


@contextmanager
def counted() -> Iterator[Counts]:
    """Return the counts of what is done within the block."""
    global _counts
    _counts = Counts()
    yield _counts
    _counts = Counts()


@contextmanager
def in_use(cuda: bool = False) -> Iterator[None]:
    """Make the stand-in the library in use within the block, with plain formulas as kernels, or with the CUDA kernels."""
    before = backend.name, backend.xp, backend.kernels
    backend.name, backend.xp, backend.kernels = "stand-in", strict_cupy, _cuda() if cuda else _plain()
    try:
        yield
    finally:
        backend.name, backend.xp, backend.kernels = before


def raw_kernel(source: str, name: str, options: tuple[str, ...], descending: bool = False):
    """Compile CUDA source as `cupy.RawKernel` does; `descending` turns round the order in which threads get their turns."""
    kernel = importlib.import_module("tests.helpers.cuda_on_cpu").RawKernel(source, name, options)
    kernel.descending = descending
    return kernel


@functools.cache
def _plain():
    def whole(size, *_):
        return [slice(0, size)]

    names = vars(reference) | {"split_batch": whole, "split_rows": whole, "workers": lambda tasks: 1}
    return types.SimpleNamespace(**names)


@functools.cache
def _cuda():
    emulation = importlib.import_module("tests.helpers.cuda_on_cpu")
    launch = emulation.RawKernel.__call__

    def counted_launch(*args):
        global _paused
        _counts.launches += 1
        _paused = True  # what the emulation does to its arrays is not what a device would do
        try:
            return launch(*args)
        finally:
            _paused = False

    emulation.RawKernel.__call__ = counted_launch
    return emulation.cupy_kernels()


def _count_launches_of(function):
    @functools.wraps(function)
    def counting(*args, **options):
        result = function(*args, **options)
        arrays = [one for one in (*args, *options.values()) if isinstance(one, ndarray)]
        nothing_done = function.__name__ == "ascontiguousarray" and arrays and arrays[0].flags.c_contiguous
        if not _paused and not nothing_done:
            _counts.launches += 1
            read = {id(one): one.nbytes for one in arrays}  # x * x reads one array, not two
            _counts.moved += sum(read.values()) + (result.nbytes if isinstance(result, ndarray) else 0)
        return result

    return counting


def _count_launches() -> None:
    methods = importlib.import_module("tests.helpers.strict_cupy.array").METHODS.split()
    for name in {*methods, *(f"__{name}__" for name in OPERATORS.split())} - set(FREE.split()):
        setattr(ndarray, name, _count_launches_of(getattr(ndarray, name)))
    for name in set(strict_cupy.NAMES) - set(FREE.split()) - set(strict_cupy.CONSTANTS.split()):
        strict_cupy.NAMES[name] = _count_launches_of(strict_cupy.NAMES[name])


def _count_indexing() -> None:
    get, put = ndarray.__getitem__, ndarray.__setitem__

    def by_arrays(index):
        return any(isinstance(part, ndarray) for part in (index if isinstance(index, tuple) else (index,)))

    gathered, written = _count_launches_of(get), _count_launches_of(put)
    ndarray.__getitem__ = lambda self, index: (gathered if by_arrays(index) else get)(self, index)
    ndarray.__setitem__ = written


def _count_transfers() -> None:
    send, fetch, number = strict_cupy.asarray, ndarray.get, ndarray._number

    def sent(data, dtype=None):
        device = send(data, dtype)
        if not _paused and not isinstance(data, ndarray):
            _counts.transfers += 1
            _counts.to_device += device.nbytes
        return device

    def fetched(self):
        if not _paused:
            _counts.transfers += 1
            _counts.waits += 1
            _counts.to_host += self.nbytes
        return fetch(self)

    def asked(self):
        _counts.transfers += 1
        _counts.waits += 1
        _counts.to_host += self.nbytes
        return number(self)

    strict_cupy.asarray, ndarray.get, ndarray._number = sent, fetched, asked


def to_device(host: numpy.ndarray):
    """Return a host array as one of the stand-in's, whatever library is in use."""
    return strict_cupy.asarray(host)


_count_launches()
_count_indexing()
_count_transfers()
