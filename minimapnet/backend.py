"""Which array library computes: NumPy on the CPU or CuPy on a GPU, behind one flag.

Every module reads `backend.xp` and `backend.kernels` when it computes, never when it is imported, so `use` works at
any moment. What is random is drawn on the host, by generators keyed by (seed, purpose, step): the same numbers on
every backend, and no generator state to save.
"""

import hashlib
import importlib
from types import ModuleType
from typing import TypeAlias

import numpy

from minimapnet.errors import InputError
from minimapnet.kernels import numpy_kernels

NAMES = ("numpy", "cupy", "auto")

Array: TypeAlias = numpy.ndarray  # of the library in use: CuPy's has the same interface, and type checkers see NumPy's

name: str = "numpy"
xp: ModuleType = numpy
kernels: ModuleType = numpy_kernels


def use(backend: str) -> str:
    """Switch the array library for everything that is computed from now on; return the name of the one in use.

    "numpy" is the CPU, "cupy" the GPU, "auto" the GPU where one works and else the CPU. Arrays made before the switch
    stay where they are: move them with `to_host` and `to_device`.

    Raises InputError for another name, and for "cupy" where CuPy is not installed or finds no working GPU.
    """
    global name, xp, kernels
    if backend not in NAMES:
        raise InputError(f"unknown backend {backend!r}: choose one of {', '.join(NAMES)}")
    if backend == "auto":
        backend = "numpy" if _why_no_cupy() else "cupy"
    if backend == "cupy":
        reason = _why_no_cupy()
        if reason:
            raise InputError(f"the cupy backend cannot be used: {reason}")
        library, fast = importlib.import_module("cupy"), importlib.import_module("minimapnet.kernels.cupy_kernels")
    else:
        library, fast = numpy, numpy_kernels
    name, xp, kernels = backend, library, fast
    return name


def _why_no_cupy() -> str | None:
    """Return why CuPy cannot be used here, or None where it can: an importable CuPy is not yet a working device."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "CuPy is not installed; install minimapnet[cuda12] or minimapnet[cuda13] to match the driver"
    try:
        if cupy.cuda.is_available() and cupy.cuda.runtime.getDeviceCount() > 0:
            float((cupy.ones((2, 2)) @ cupy.ones((2, 2))).sum())  # a product, waited for: a listed device may refuse to work
            return None
    except Exception as error:  # CuPy raises many kinds, by driver and by version
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"no GPU works here ({detail}); use --backend numpy"
    return "no GPU is visible to CuPy; use --backend numpy"


def to_host(array) -> numpy.ndarray:
    """Return `array` as a NumPy array: a copy from the GPU where it is there, else itself; lists are taken too.

    Raises InputError for lists of unequal length.
    """
    if hasattr(array, "get"):
        return array.get()
    try:
        return numpy.asarray(array)
    except ValueError:
        raise InputError("rows must be of equal length: pad the shorter ones") from None


def to_device(array):
    """Return `array` as an array of the library in use: a copy to the GPU where that is CuPy, else itself."""
    return xp.asarray(array)


def check_ids(ids, size: int, name: str) -> numpy.ndarray:
    """Return `ids` as a host array of int64, every one of them in [0, size).

    CuPy wraps indices that are out of range without a word, so they are looked at before they reach it.

    Raises InputError, naming `name` and the first bad value, for ids out of range or not integers.
    """
    ids = to_host(ids)
    if ids.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, not {ids.dtype}")
    bad = (ids < 0) | (ids >= size)
    if bad.any():
        where = tuple(int(i) for i in numpy.argwhere(bad)[0])
        raise InputError(f"{name} must lie between 0 and {size - 1}, but at {where} stands {int(ids[where])}")
    return ids.astype(numpy.int64, copy=False)


def generator(seed: int, purpose: str, *step: int) -> numpy.random.Generator:
    """Return the host's random generator for one (seed, purpose, step): always the same, on every backend.

    `step` may have several parts (a step and a sentence, say). Philox is counter-based: its key is the whole state.
    """
    key = "/".join([str(int(seed)), purpose, *(str(int(part)) for part in step)])
    digest = hashlib.sha256(key.encode()).digest()
    return numpy.random.Generator(numpy.random.Philox(key=int.from_bytes(digest[:16], "little")))
