"""Fixtures that run a test's body on every backend; `use` gives back the backend that a test found."""

import signal

import pytest

from minimapnet import backend
from minimapnet.kernels import numpy_kernels, reference
from tests.helpers import strict_cupy

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a script put into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    """Let learners check their own answers to a tutorial's exercises, and let a GPU's tests fail where they would skip."""
    parser.addoption("--answers", metavar="FOLDER", help="where the answers to the tutorials' exercises are, if not ours")
    parser.addoption("--no-skips", action="store_true", help="fail a test of the backend cupy where that cannot be used")


def pytest_collection_modifyitems(items):
    """Mark the cases that run on a GPU, so that `-m cupy` picks them."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec and any(callspec.params.get(fixture) == "cupy" for fixture in ("xp", "kernels")):
            item.add_marker("cupy")


@pytest.fixture(params=["numpy", "strict", "cupy"])
def xp(request, monkeypatch, pytestconfig):
    """Return the array library under test, in use for the length of the test; data goes in by `backend.to_device`.

    "strict" is the stand-in for CuPy with the plain kernels; "cupy" is skipped where no GPU works.
    """
    _use(request.param, monkeypatch, reference, pytestconfig)
    return backend.xp


@pytest.fixture(params=["numpy", "numpy-small-blocks", "cuda-on-cpu", "cupy"])
def kernels(request, monkeypatch, pytestconfig):
    """Return the kernels under test, in use with their library for the length of the test.

    NumPy's twice, in one block and in many; the CUDA kernels by emulation on the CPU; and on a GPU where one works.
    """
    from tests.helpers import cuda_on_cpu

    if request.param == "numpy-small-blocks":
        monkeypatch.setattr(numpy_kernels, "BLOCK", 64)
    name = {"numpy-small-blocks": "numpy", "cuda-on-cpu": "strict"}.get(request.param, request.param)
    _use(name, monkeypatch, None if name != "strict" else cuda_on_cpu.cupy_kernels(), pytestconfig)
    return backend.kernels


def _use(name, monkeypatch, strict_kernels, config):
    """Switch to a backend until the test ends; skip the test where that cannot be used here."""
    for attribute in ("name", "xp", "kernels"):
        monkeypatch.setattr(backend, attribute, getattr(backend, attribute))  # so that it is put back afterwards
    if name == "strict":
        backend.name, backend.xp, backend.kernels = "strict", strict_cupy, strict_kernels
        return
    try:
        backend.use(name)
    except backend.InputError as reason:
        (pytest.fail if config.getoption("--no-skips") else pytest.skip)(str(reason))
