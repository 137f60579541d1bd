"""The array libraries that the benchmarks run on: ours, and the strict stand-in for CuPy of the tests, to rehearse a GPU.

Figures of the stand-in mean nothing: it shows that a benchmark would run on a device, not how fast.
"""

import sys
from pathlib import Path

from minimapnet import backend
from minimapnet.kernels import reference

NAMES = ("numpy", "cupy", "strict")


def use(name: str) -> None:
    """Switch to a backend by its name; "strict" is the stand-in, with the plain kernels."""
    if name != "strict":
        backend.use(name)
        return
    sys.path.append(str(Path(__file__).parents[1]))
    from tests.helpers import strict_cupy

    backend.name, backend.xp, backend.kernels = "strict", strict_cupy, reference


def device(name: str) -> str:
    """Return PyTorch's name of the device that a backend computes on."""
    return "cuda" if name == "cupy" else "cpu"


def synchronize() -> None:
    """Wait until the device has done all that it was given."""
    if backend.name == "cupy":
        backend.xp.cuda.get_current_stream().synchronize()


def used_bytes() -> int | None:
    """Return the bytes of a GPU's memory that CuPy's pool holds, None on the CPU."""
    return backend.xp.get_default_memory_pool().total_bytes() if backend.name == "cupy" else None
