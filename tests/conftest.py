"""One fixture runs a test's body on every backend: NumPy, the strict stand-in for CuPy, and CuPy where a GPU works."""

import sys
from pathlib import Path

import pytest

from minimapnet import backend

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests: strict_cupy, plain_kernels, gradient_check


@pytest.fixture(params=["numpy", "strict", "cupy"])
def xp(request, monkeypatch):
    """Give the array library under test, in use for the length of the test; data goes in by `backend.to_device`."""
    if request.param == "strict":
        import plain_kernels
        import strict_cupy

        for name, value in (("name", "strict"), ("xp", strict_cupy), ("kernels", plain_kernels)):
            monkeypatch.setattr(backend, name, value)
        yield strict_cupy
        return
    try:
        backend.use(request.param)
    except backend.InputError as reason:
        pytest.skip(str(reason))
    yield backend.xp
    backend.use("numpy")
