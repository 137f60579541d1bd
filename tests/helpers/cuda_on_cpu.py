"""Runs the CUDA kernels without a GPU: a stand-in for `cupy.RawKernel` that compiles its source for the CPU by g++.

It is stricter than CUDA. The kinds of the arguments are held against the kernel's declaration, arrays must be contiguous,
each lies between guards that no thread may write to (and whose values show if one reads them), and arrays declared const
must come back unchanged. See `cuda_on_cpu.h` for how the threads take turns.
"""

import ctypes
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy
import pytest

from minimapnet.kernels import __path__ as kernels_folder
from tests.helpers import strict_cupy

HEADER = Path(__file__).with_suffix(".h")
KERNELS = Path(kernels_folder[0]) / "cupy_kernels.py"
GUARD = 64  # elements on each side of an array: 1e30, or -1 among integers
MOST_THREADS = 1024  # of a block


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="cuda_on_cpu_")  # removed when Python ends


@functools.cache
def compiled(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """Compile CUDA source for the CPU, with an entry for each of its kernels; skip the test where there is no g++."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the CUDA source cannot be run on the CPU")
    names = re.findall(r"__global__\s+void\s+(\w+)\(", code)
    number = len(list(Path(_folder().name).iterdir()))
    source, library = (Path(_folder().name) / f"{number}{suffix}" for suffix in (".cpp", ".so"))
    exports = "".join(f"EXPORT({name})\n" for name in names)
    source.write_text(f'#include "{HEADER}"\n{code}\n{exports}')
    command = ["g++", "-O1", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", *options, "-o", str(library), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


class RawKernel:
    """Stands in for `cupy.RawKernel`. `descending` turns round the order in which blocks, warps and threads run."""

    descending = False

    def __init__(self, code, name, options=()):
        self.code, self.name, self.options = code, name, options

    def __call__(self, grid, block, args):
        library = compiled(self.code, self.options)
        assert numpy.prod(block) <= MOST_THREADS
        assert all(size > 0 for size in (*grid, *block)), f"{self.name}: an empty grid {grid} or block {block}"
        assert len(grid) < 2 or grid[1] < 1 << 16
        guarded = {}
        values = [self._argument(kind, arg, guarded) for kind, arg in zip(self._kinds(library), args, strict=True)]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        launch = getattr(library, f"launch_{self.name}")
        launch.restype = ctypes.c_char_p
        error = launch(_three(grid), _three(block), pointers, int(self.descending))
        assert error is None, f"{self.name}: {error.decode()}"
        for array in guarded.values():
            array.take_back(self.name)

    def _kinds(self, library):
        """The types of the kernel's arguments, as it declares them."""
        argument = getattr(library, f"argument_{self.name}")
        argument.restype, argument.argtypes = ctypes.c_char_p, [ctypes.c_size_t]
        kinds = []
        while (kind := argument(len(kinds))) is not None:
            kinds.append(kind.decode())
        return kinds

    def _argument(self, kind, arg, guarded):
        """Return one argument as C has it: CuPy passes arrays as pointers, int as 64 bits, float as double."""
        if isinstance(arg, strict_cupy.ndarray):
            const, dtype = kind.startswith("const "), kind.removeprefix("const ").removesuffix("*")
            assert kind.endswith("*") and arg.dtype == dtype, f"{self.name}: an array of {arg.dtype} as {kind}"
            array = guarded.setdefault(id(arg), Guarded(arg))
            array.const = array.const and const
            return ctypes.c_void_p(array.address)
        if type(arg) is int and kind.endswith("*"):
            assert arg == 0, f"{self.name}: the number {arg} as {kind}"
            return ctypes.c_void_p(None)
        types_of = {int: ("int64", ctypes.c_longlong), float: ("float64", ctypes.c_double)}
        expected, c_type = types_of[type(arg)]
        assert kind == expected, f"{self.name}: a {type(arg).__name__} as {kind}"
        return c_type(arg)


class Guarded:
    """A copy of a device array between guards, to be written back after the launch."""

    const = True

    def __init__(self, array):
        assert array.flags.c_contiguous, "CuPy hands on the pointer alone: strides are lost"
        self.array = array
        guard = numpy.full(GUARD, 1e30 if array.dtype.kind == "f" else -1, array.dtype)
        self.copy = numpy.concatenate([guard, array.get().reshape(-1), guard])
        self.address = self.copy.ctypes.data + guard.nbytes
        self.before = self.copy.tobytes()

    def take_back(self, kernel):
        edge = GUARD * self.copy.itemsize
        after = self.copy.tobytes()
        assert after[:edge] + after[-edge:] == self.before[:edge] + self.before[-edge:], f"{kernel} writes out of bounds"
        if self.const:
            assert after == self.before, f"{kernel} writes to an array that it declares const"
        else:
            self.array[...] = strict_cupy.asarray(self.copy[GUARD:-GUARD].reshape(self.array.shape))


def _three(sizes):
    return (ctypes.c_uint * 3)(*(*sizes, 1, 1)[:3])


@functools.cache
def cupy_kernels() -> types.ModuleType:
    """Return `minimapnet/kernels/cupy_kernels.py` as it stands, on the strict stand-in for CuPy and this RawKernel."""
    cupy = types.ModuleType("cupy")
    cupy.__getattr__ = lambda name: RawKernel if name == "RawKernel" else getattr(strict_cupy, name)
    spec = importlib.util.spec_from_file_location("cupy_kernels_on_cpu", KERNELS)
    module = importlib.util.module_from_spec(spec)
    present = sys.modules.get("cupy")
    sys.modules["cupy"] = cupy
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("cupy")
        if present is not None:
            sys.modules["cupy"] = present
    return module
