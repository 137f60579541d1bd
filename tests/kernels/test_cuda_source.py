"""What the CUDA source must hold beyond its figures: barriers, bounds, strides, types; and that it is CUDA.

`test_kernels.py` holds the same source against the plain formulas. The last tests of each kind break the source on purpose,
to see that the emulation of `cuda_on_cpu.py` would tell.
"""

import shutil
import subprocess
import sys
import types

import numpy
import pytest

from minimapnet import Bert, BertConfig, backend, gradients
from minimapnet.kernels import reference
from minimapnet.kernels.cuda_source import SOURCE
from tests.helpers import cuda_on_cpu, strict_cupy
from tests.kernels.test_kernels import (
    CASES,
    call,
    check,
    embedding_gradient,
    gelu,
    layernorm_forward,
    name_of,
    softmax_backward,
    softmax_cross_entropy,
    softmax_forward,
)

WIDE = [softmax_forward(700, True), softmax_backward(700, 1), softmax_cross_entropy(257), layernorm_forward(700)]
ROWS = [*WIDE, embedding_gradient(5, 90, 33)]


@pytest.fixture
def kernels(monkeypatch):
    """Return CuPy's kernels on the CPU, in use with the strict stand-in."""
    for name, value in (("name", "strict"), ("xp", strict_cupy), ("kernels", cuda_on_cpu.cupy_kernels())):
        monkeypatch.setattr(backend, name, value)
    return backend.kernels


@pytest.fixture
def with_source(kernels, monkeypatch):
    """Return a function that replaces part of the CUDA source for the length of the test."""

    def replace(old, new, occurrence=0):
        pieces = SOURCE.split(old)
        assert len(pieces) > occurrence + 1, f"{old!r} is not in the source {occurrence + 1} times"
        source = old.join(pieces[: occurrence + 1]) + new + old.join(pieces[occurrence + 1 :])
        monkeypatch.setattr(kernels, "SOURCE", source)
        kernels._kernel.cache_clear()

    yield replace
    kernels._kernel.cache_clear()


def in_both_orders(kernels, monkeypatch, case):
    results = []
    for descending in (False, True):
        monkeypatch.setattr(cuda_on_cpu.RawKernel, "descending", descending)
        outputs, after = call(kernels, case, "float32")
        results.append([*outputs, *after.values()])
    return results


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_order_in_which_threads_run_changes_no_bit(kernels, monkeypatch, case):
    for one, other in zip(*in_both_orders(kernels, monkeypatch, case), strict=True):
        numpy.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("occurrence", range(SOURCE.count("__syncthreads();")))
def test_a_barrier_left_out_is_noticed(kernels, with_source, monkeypatch, occurrence):
    right = [in_both_orders(kernels, monkeypatch, case) for case in ROWS]
    with_source("__syncthreads();", "", occurrence)
    wrong = [in_both_orders(kernels, monkeypatch, case) for case in ROWS]
    assert not all(
        numpy.array_equal(good, bad)
        for goods, bads in zip(right, wrong, strict=True)
        for order_good, order_bad in zip(goods, bads, strict=True)
        for good, bad in zip(order_good, order_bad, strict=True)
    )


BACKWARD, CROSS_ENTROPY, EMBEDDING = softmax_backward(33, 1), softmax_cross_entropy(33), embedding_gradient(5, 90, 33)
BROKEN = {  # what is replaced, by what, the case that shows it, and what the failure says
    "a column too far": ("dprobs[c] = real(scale)", "dprobs[c + 1] = real(scale)", BACKWARD, "out of bounds"),
    "a row too far": ("row = blockIdx.x, target", "row = blockIdx.x + 1, target", CROSS_ENTROPY, "out of bounds"),
    "the wrong saved row": ("row % saved_rows * width", "row * width", BACKWARD, "Not equal"),
    "a strand forgotten": ("k = 1; k < STRANDS", "k = 2; k < STRANDS", EMBEDDING, "Not equal"),
    "a shift dropped": ("(bias ? bias[c] : real(0))", "real(0)", WIDE[0], "Not equal"),
    "a barrier for some": ("__syncthreads();  // all", "if (channel < width) __syncthreads();  // all", EMBEDDING, "joined"),
    "part of a warp": ("ALL_LANES, value", "0xffff, value", WIDE[0], "part of a warp"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_kernel_is_noticed(kernels, with_source, name):
    old, new, case, message = BROKEN[name]
    check(kernels, case, "float64")
    with_source(old, new)
    with pytest.raises(AssertionError, match=message):
        check(kernels, case, "float64")


def test_arguments_of_another_type_are_noticed(kernels):
    x = strict_cupy.zeros(4)
    for args in ((x.astype("float32"), x, x, 4), (x, x, x, 4.0), (x, x, 7, 4), (x[::2], x, x, 2)):
        with pytest.raises(AssertionError):
            kernels._kernel("gelu_erf", "float64")((1,), (32,), args)
    with pytest.raises(ValueError, match="zip"):
        kernels._kernel("gelu_erf", "float64")((1,), (32,), (x, x, x))


def test_a_kernel_may_write_to_no_input(kernels, with_source):
    with_source("y[i] = x[i] * phi;", "y[i] = x[i] * phi, const_cast<real*>(x)[i] = 0;")
    with pytest.raises(AssertionError, match="declares const"):
        check(kernels, gelu(33, "erf"), "float64")


def test_threads_stride_through_arrays_that_outnumber_them(kernels, monkeypatch):
    monkeypatch.setattr(kernels, "FLAT_BLOCKS", 2)
    monkeypatch.setattr(kernels, "FLAT_THREADS", 32)
    for case in CASES:
        if case.kernel in ("gelu_forward", "adamw_step"):
            check(kernels, case, "float64")


@pytest.mark.parametrize("make_unfit", [lambda a: a[:, ::2], lambda a: a.T], ids=["every-other-column", "transposed"])
def test_what_is_written_in_place_must_be_contiguous(kernels, make_unfit):
    unfit = make_unfit(strict_cupy.ones((6, 6)))
    ids = strict_cupy.arange(len(unfit))
    calls = {
        "scores": lambda: kernels.softmax_forward(unfit, 1.0),
        "dprobs": lambda: kernels.softmax_backward(unfit, unfit, 1.0),
        "logits": lambda: kernels.softmax_cross_entropy(unfit, ids),
        "out": lambda: kernels.embedding_gradient(ids, unfit, unfit),
    }
    for what, attempt in calls.items():
        with pytest.raises(ValueError, match=f"{what} is written in place"):
            attempt()


def test_buffers_of_another_dtype_are_refused(kernels):
    params, mean = strict_cupy.ones(4), strict_cupy.ones(4, "float32")
    with pytest.raises(ValueError, match="mean is written in place: it must be contiguous and of float64, not float32"):
        kernels.adamw_step(params, params, mean, mean, 1, 4, lr=1.0, betas=(0.9, 0.9), eps=1.0, weight_decay=0.0)


def test_ids_of_32_bits_are_widened(kernels):
    case = embedding_gradient(5, 90, 33)
    case.arrays["ids"] = case.arrays["ids"].astype("int32")
    check(kernels, case, "float64")


def test_a_model_learns_the_same_on_cuda_kernels(kernels, monkeypatch):
    config = BertConfig(
        vocab_size=40, hidden_size=8, num_attention_heads=2, intermediate_size=12, mask_token_id=3, dtype="float64"
    )
    rng = numpy.random.default_rng(5)
    ids, positions = rng.integers(4, 40, (3, 9)), numpy.array([[0, 4, -1], [2, 5, 6], [8, -1, -1]])
    mask = numpy.arange(9) < numpy.array([[7], [9], [9]])
    losses, grads = {}, {}
    for name, its_kernels in (("cuda", kernels), ("plain", reference)):
        monkeypatch.setattr(backend, "kernels", its_kernels)
        losses[name], grads[name] = gradients(Bert(config, seed=1), ids, positions, attention_mask=mask)
    assert losses["cuda"] == pytest.approx(losses["plain"], rel=1e-12)
    for name, right in grads["plain"].items():
        numpy.testing.assert_allclose(grads["cuda"][name].get(), right.get(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_importing_the_kernels_asks_nothing_of_a_device(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", types.ModuleType("cupy"))  # so whatever is asked is an AttributeError
    monkeypatch.delitem(sys.modules, "minimapnet.kernels.cupy_kernels", raising=False)
    from minimapnet import kernels as package

    monkeypatch.delattr(package, "cupy_kernels", raising=False)
    module = __import__("minimapnet.kernels.cupy_kernels", fromlist=["gelu_forward"])
    monkeypatch.delitem(sys.modules, "minimapnet.kernels.cupy_kernels")
    monkeypatch.delattr(package, "cupy_kernels")
    assert module.split_batch(5, 8) == [slice(0, 5)]


@pytest.mark.parametrize("real", ["float", "double"])
def test_nvrtc_compiles_the_source(real):
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    try:
        program = nvrtc.createProgram(SOURCE, "kernels.cu", (), ())
    except RuntimeError as reason:
        pytest.skip(f"no NVRTC here: {reason}")
    try:
        nvrtc.compileProgram(program, ("-std=c++17", f"-DREAL={real}", "--gpu-architecture=sm_80"))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    assert "warning" not in nvrtc.getProgramLog(program)


@pytest.mark.parametrize("real", ["float", "double"])
def test_nvcc_compiles_the_source(real, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    source = tmp_path / "kernels.cu"
    source.write_text(SOURCE)
    command = ["nvcc", "-cubin", "-arch=sm_80", "-std=c++17", "-Werror=all-warnings", f"-DREAL={real}", "-o"]
    done = subprocess.run([*command, str(tmp_path / "kernels.cubin"), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
