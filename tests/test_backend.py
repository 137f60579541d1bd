"""Switching backends, moving arrays, checking ids, keyed generators."""

import importlib
import sys
import types

import numpy
import pytest

import minimapnet
from minimapnet import InputError, backend
from minimapnet.kernels import numpy_kernels
from tests.helpers import cuda_on_cpu, strict_cupy


@pytest.fixture(autouse=True)
def put_back(monkeypatch):
    """Return back the backend that each test found."""
    for attribute in ("name", "xp", "kernels"):
        monkeypatch.setattr(backend, attribute, getattr(backend, attribute))


def pretended_cupy(monkeypatch, available=True, error=None):
    """Put a module in CuPy's place whose device works, is not there, or raises `error` at the first launch."""
    module = types.ModuleType("cupy")

    def lookup(name):
        if name == "RawKernel":
            return cuda_on_cpu.RawKernel
        if name == "ones" and error:
            raise error
        return getattr(strict_cupy, name)

    module.__getattr__ = lookup
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)
    module.cuda = types.SimpleNamespace(is_available=lambda: available, runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", module)
    # The kernels import CuPy: whatever of them is imported meanwhile is taken out again.
    monkeypatch.setitem(sys.modules, "minimapnet.kernels.cupy_kernels", None)
    sys.modules.pop("minimapnet.kernels.cupy_kernels")
    monkeypatch.setattr(importlib.import_module("minimapnet.kernels"), "cupy_kernels", None, raising=False)
    return module


def test_switching_takes_effect_at_any_moment(monkeypatch):
    cupy = pretended_cupy(monkeypatch)
    model = minimapnet.Bert(minimapnet.BertConfig(vocab_size=20, hidden_size=8, intermediate_size=8, mask_token_id=1))
    ids, positions = numpy.arange(12).reshape(2, 6), numpy.array([[0], [3]])
    on_host = minimapnet.token_losses(model, ids, positions)
    assert minimapnet.use("cupy") == backend.name == "cupy"
    assert backend.xp is cupy
    assert backend.kernels.__name__ == "minimapnet.kernels.cupy_kernels"
    on_device = minimapnet.token_losses(model.to_device(), ids, positions)
    assert isinstance(on_device, strict_cupy.ndarray)
    assert minimapnet.use("numpy") == backend.name == "numpy"
    assert backend.xp is numpy
    assert backend.kernels is numpy_kernels
    numpy.testing.assert_allclose(backend.to_host(on_device), on_host, rtol=1e-5)
    numpy.testing.assert_array_equal(minimapnet.token_losses(model.to_device(), ids, positions), on_host)


def test_an_unknown_backend_is_refused_and_nothing_changes():
    with pytest.raises(InputError, match=r"unknown backend 'torch': choose one of numpy, cupy, auto"):
        minimapnet.use("torch")
    assert backend.xp is numpy


def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # then importing it is an ImportError
    return r"CuPy is not installed; install minimapnet\[cuda12\] or minimapnet\[cuda13\]"


def no_device(monkeypatch):
    pretended_cupy(monkeypatch, available=False)
    return "no GPU is visible to CuPy; use --backend numpy"


def broken_device(monkeypatch):
    pretended_cupy(monkeypatch, error=RuntimeError("driver too old\nand more"))
    return r"no GPU works here \(RuntimeError: driver too old\); use --backend numpy"


def silent_device(monkeypatch):
    pretended_cupy(monkeypatch, error=MemoryError())
    return r"no GPU works here \(MemoryError: \)"


@pytest.mark.parametrize("arrange", [no_cupy, no_device, broken_device, silent_device])
def test_where_no_gpu_works_cupy_is_an_error_and_auto_is_numpy(monkeypatch, arrange):
    message = arrange(monkeypatch)
    with pytest.raises(InputError, match="the cupy backend cannot be used: " + message) as caught:
        minimapnet.use("cupy")
    assert "\n" not in str(caught.value)
    assert backend.xp is numpy
    assert minimapnet.use("auto") == "numpy"


def test_auto_takes_a_gpu_that_works(monkeypatch):
    pretended_cupy(monkeypatch)
    assert minimapnet.use("auto") == "cupy"


def test_arrays_go_to_the_device_and_back(xp):
    host = numpy.arange(6, dtype="float32").reshape(2, 3)
    device = backend.to_device(host)
    assert isinstance(device, xp.ndarray)
    back = backend.to_host(device + 1)
    assert type(back) is numpy.ndarray
    assert back.dtype == "float32"
    numpy.testing.assert_array_equal(back, host + 1)


@pytest.mark.parametrize("value", [3, 2.5, [1, 2], (1.0, 2.0), numpy.float32(4), numpy.eye(2)])
def test_what_lies_on_the_host_stays_what_it_is(xp, value):
    numpy.testing.assert_array_equal(backend.to_host(value), value)


def test_ids_in_range_come_back_as_int64_on_the_host(xp):
    ids = backend.check_ids(backend.to_device(numpy.array([[0, 4]], dtype="int32")), 5, "token ids")
    assert type(ids) is numpy.ndarray
    assert ids.dtype == "int64"
    assert ids.tolist() == [[0, 4]]
    assert backend.check_ids(numpy.zeros((0, 3), dtype=int), 5, "token ids").shape == (0, 3)


@pytest.mark.parametrize(
    "ids,message",
    [
        ([[1, 2], [7, -1]], r"token ids must lie between 0 and 6, but at \(1, 0\) stands 7"),
        ([3, -1], r"token ids must lie between 0 and 6, but at \(1,\) stands -1"),
        ([1.0, 2.0], "token ids must be integers, not float64"),
        ([True, False], "token ids must be integers, not bool"),
    ],
)
def test_ids_out_of_range_are_named(xp, ids, message):
    with pytest.raises(InputError, match=message):
        backend.check_ids(backend.to_device(numpy.array(ids)), 7, "token ids")


def test_generators_repeat_and_do_not_depend_on_one_another(xp):
    keys = [(0, "masks", 1), (0, "masks", 2), (1, "masks", 1), (0, "dropout", 1), (0, "masks")]
    keys += [(0, "masks", 1, 0), (0, "masks", 11)]
    first = [backend.generator(*key).random(4) for key in keys]
    for key, numbers in reversed(list(zip(keys, first, strict=True))):
        numpy.testing.assert_array_equal(backend.generator(*key).random(4), numbers)
    assert len({numbers.tobytes() for numbers in first}) == len(keys)


def test_generators_are_the_same_on_every_machine():
    """Training is resumed, and results are published, by (seed, purpose, step) alone: the numbers may never change."""
    drawn = [618, 813, 620, 732, 401]
    assert backend.generator(7, "masks", 3).integers(0, 1000, 5).tolist() == drawn
    assert backend.generator(numpy.int64(7), "masks", numpy.int32(3)).integers(0, 1000, 5).tolist() == drawn
