"""Every kernel against its plain formula, in every library: what it gives, what it writes to, what it leaves alone.

The CUDA kernels run on a GPU where there is one, and else on the CPU (see cuda_on_cpu.py).
"""

import math
from dataclasses import dataclass

import numpy
import pytest
from scipy import special

from minimapnet import backend
from minimapnet.kernels import reference

TOLERANCE = {"float64": 1e-12, "float32": 4e-6}  # of values about 1, made by sums of up to 700 terms
WIDTHS = (1, 31, 33, 257, 700)  # 700 is wider than a block of CUDA threads
SAVED = ((4,), (1,), ())  # first axis of what was saved beside gradients (4, 4, ...); where it is (), 4 is the second's
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


@dataclass
class Case:
    """A call of a kernel: host values, and which of the arrays the kernel is there to write to."""

    kernel: str
    arrays: dict
    options: dict
    written: tuple = ()


def draws(*shape):
    return numpy.random.default_rng([7, *shape]).standard_normal(shape)


def gelu(width, form):
    return Case("gelu_forward", {"x": 3 * draws(3, width)}, {"form": form})


def layernorm_forward(width):
    arrays = {"x": 2 + draws(2, 3, width), "weight": draws(width), "bias": draws(1, width)[0]}
    return Case("layernorm_forward", arrays, {"eps": 1e-5})


def layernorm_backward(width, *saved):
    arrays = {"dy": draws(4, 4, width), "xhat": draws(*saved, 4, width), "rstd": 1 / (1 + abs(draws(*saved, 4, 1)))}
    return Case("layernorm_backward", arrays | {"weight": draws(width)}, {})


def softmax_forward(width, padded):
    arrays = {"scores": 5 * draws(3, 2, 4, width)}
    if padded:
        arrays["bias"] = draws(3, 1, 1, width)
    return Case("softmax_forward", arrays, {"scale": 0.3}, ("scores",))


def softmax_backward(width, *saved):
    probs = abs(draws(*saved, 4, 2, width))
    arrays = {"dprobs": draws(4, 4, 2, width), "probs": probs / probs.sum(axis=-1, keepdims=True)}
    return Case("softmax_backward", arrays, {"scale": 0.3}, ("dprobs",))


def softmax_cross_entropy(width):
    targets = numpy.random.default_rng(width).integers(0, width, 6)
    return Case("softmax_cross_entropy", {"logits": 4 * draws(6, width), "targets": targets}, {}, ("logits",))


def embedding_gradient(rows, count, width):
    ids = numpy.random.default_rng(rows).integers(0, rows, count)
    arrays = {"ids": ids, "d": draws(count, width), "out": draws(rows, width)}
    return Case("embedding_gradient", arrays, {}, ("out",))


def adamw(size, decayed, step, weight_decay):
    names = ("params", "grads", "mean", "square")
    arrays = {name: draws(i + 1, size)[i] for i, name in enumerate(names)}
    arrays["square"] = arrays["square"] ** 2
    options = {"step": step, "decayed": decayed, "lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": weight_decay}
    return Case("adamw_step", arrays, options, ("params", "mean", "square"))


CASES = (
    [gelu(width, form) for width in (*WIDTHS, 0) for form in ("erf", "tanh", "relu")]
    + [layernorm_forward(width) for width in WIDTHS]
    + [layernorm_backward(width, *saved) for width in WIDTHS for saved in SAVED]
    + [softmax_forward(width, padded) for width in WIDTHS for padded in (False, True)]
    + [softmax_backward(width, *saved) for width in WIDTHS for saved in SAVED]
    + [softmax_cross_entropy(width) for width in WIDTHS]
    + [embedding_gradient(*sizes) for sizes in ((5, 90, 33), (1, 200, 31), (2000, 40, 64), (7, 1, 1))]
    + [adamw(*sizes) for sizes in ((1, 0, 1, 0.1), (1000, 0, 1, 0.1), (1000, 613, 4, 0.1), (1000, 1000, 9, 0.0))]
)


def name_of(case):
    shapes = ["x".join(map(str, array.shape)) for array in case.arrays.values()]
    return "-".join(
        [case.kernel, *shapes, *(str(value) for value in case.options.values() if isinstance(value, (str, int)))]
    )


every_case = pytest.mark.parametrize("case", CASES, ids=name_of)


def to_device(array, dtype):
    return backend.to_device(array.astype(dtype) if array.dtype.kind == "f" else array)


def call(kernels, case, dtype, placed=to_device):
    """Return what the kernel returns, as a list of host arrays, and its arguments after the call, by name, on the host."""
    arrays = {name: placed(array, dtype) for name, array in case.arrays.items()}
    results = getattr(kernels, case.kernel)(**arrays, **case.options)
    results = () if results is None else results if isinstance(results, tuple) else (results,)
    return [backend.to_host(result) for result in results], {name: backend.to_host(a) for name, a in arrays.items()}


def check(kernels, case, dtype, placed=to_device):
    results, after = call(kernels, case, dtype, placed)
    rounded = Case(
        case.kernel, {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in case.arrays.items()}, case.options
    )
    expected, expected_after = call(reference, rounded, "float64")
    assert len(results) == len(expected)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    for result, right in zip(results, expected, strict=True):
        assert result.dtype == dtype
        assert result.shape == right.shape
        numpy.testing.assert_allclose(result, right, **tolerance)
    for name, array in after.items():
        if name in case.written:
            numpy.testing.assert_allclose(array, expected_after[name], **tolerance)
        else:
            numpy.testing.assert_array_equal(array, rounded.arrays[name], err_msg=f"{name} is not the kernel's to change")


@every_dtype
@every_case
def test_a_kernel_is_its_plain_formula(kernels, case, dtype):
    check(kernels, case, dtype)


@every_case
def test_the_same_call_gives_the_same_bits(kernels, case):
    first, second = (call(kernels, case, "float32") for _ in range(2))
    for one, other in zip([*first[0], *first[1].values()], [*second[0], *second[1].values()], strict=True):
        numpy.testing.assert_array_equal(one, other)


def rows_apart(array, dtype):
    """Lay an array out with a gap between its rows: its last axis alone is contiguous."""
    if array.dtype.kind != "f" or array.ndim < 2 or array.shape[-1] == 1:
        return to_device(array, dtype)
    wide = to_device(numpy.concatenate([array, array], axis=-1), dtype)
    return wide[..., : array.shape[-1]]


@pytest.mark.parametrize("case", [case for case in CASES if not case.written], ids=name_of)
def test_rows_need_not_lie_side_by_side(kernels, case):
    check(kernels, case, "float64", rows_apart)


@pytest.mark.parametrize("name", ["probs", "d"])
def test_what_is_only_read_need_not_lie_side_by_side(kernels, name):
    case = {"probs": softmax_backward(33, 4), "d": embedding_gradient(5, 90, 33)}[name]

    def placed(array, dtype):
        return (rows_apart if array is case.arrays[name] else to_device)(array, dtype)

    check(kernels, case, "float64", placed)


@pytest.mark.parametrize("margin", [8.0, 20.0, 60.0])
def test_a_certain_guess_keeps_its_digits(kernels, margin):
    """In float32 p rounds to 1 from a margin of about 17 on; the loss and 1 - p must not become 0."""
    logits = draws(4, 40)
    targets = numpy.array([0, 7, 39, 12])
    logits[numpy.arange(4), targets] = margin
    logits = logits.astype("float32")
    exact = numpy.exp(logits.astype("float64") - margin)
    exact[numpy.arange(4), targets] = 0
    others = exact.sum(axis=1)  # of an unnormalised total of 1 + others
    residual = backend.to_device(logits)
    losses = kernels.softmax_cross_entropy(residual, backend.to_device(targets))
    numpy.testing.assert_allclose(backend.to_host(losses), numpy.log1p(others), rtol=1e-5)
    at_target = backend.to_host(residual)[numpy.arange(4), targets]
    numpy.testing.assert_allclose(at_target, -others / (1 + others), rtol=1e-5)


@pytest.mark.parametrize("case", [softmax_cross_entropy(33), embedding_gradient(5, 90, 33)], ids=name_of)
def test_no_rows_at_all(kernels, case):
    arrays = {name: array if name == "out" else array[:0] for name, array in case.arrays.items()}
    check(kernels, Case(case.kernel, arrays, case.options, case.written), "float64")


@pytest.mark.parametrize("dtype,within", [("float32", 1.5e-7), ("float64", 1e-15)])
def test_gelu_is_exact_wherever_it_bends(kernels, dtype, within):
    x = numpy.linspace(-12, 12, 40001).astype(dtype)
    x = x[x != 0]
    y, slope = (backend.to_host(a) for a in kernels.gelu_forward(backend.to_device(x), "erf"))
    wide = x.astype("float64")
    phi = special.erfc(-wide / math.sqrt(2)) / 2
    assert abs(y / wide - phi).max() < within
    assert abs(slope - phi - wide * numpy.exp(-wide * wide / 2) / math.sqrt(2 * math.pi)).max() < 4 * within


@every_dtype
def test_relu_is_flat_at_zero_and_hides_no_nan(kernels, dtype):
    x = numpy.array([-numpy.inf, -2, -0.0, 0.0, 1e-30, 3, numpy.inf, numpy.nan], dtype)
    y, slope = (backend.to_host(a) for a in kernels.gelu_forward(backend.to_device(x), "relu"))
    numpy.testing.assert_array_equal(y, [0, 0, 0, 0, x[4], 3, numpy.inf, numpy.nan])
    numpy.testing.assert_array_equal(slope, [0, 0, 0, 0, 1, 1, 1, 0])


@every_dtype
def test_padding_gets_no_attention_and_large_scores_no_overflow(kernels, dtype):
    scores = 1e4 * draws(2, 2, 5, 40)
    bias = numpy.where(numpy.arange(40) < 30, 0.0, numpy.finfo(dtype).min / 2).reshape(1, 1, 1, 40).repeat(2, axis=0)
    probs = to_device(scores, dtype)
    kernels.softmax_forward(probs, 0.5, to_device(bias, dtype))
    probs = backend.to_host(probs)
    assert (probs[..., 30:] == 0).all()
    numpy.testing.assert_allclose(probs.sum(axis=-1), 1, rtol=TOLERANCE[dtype])


@every_dtype
def test_cross_entropy_of_large_logits(kernels, dtype):
    logits, targets = numpy.array([[1e4, 0.0, -1e4], [0.0, 2e4, 1e4]]), numpy.array([1, 1])
    device = to_device(logits, dtype)
    losses = kernels.softmax_cross_entropy(device, backend.to_device(targets))
    numpy.testing.assert_array_equal(backend.to_host(losses), [1e4, 0])
    numpy.testing.assert_array_equal(backend.to_host(device), [[1, -1, 0], [0, 0, 0]])


@pytest.mark.oracle
@every_dtype
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_takes_the_steps_of_pytorch(kernels, dtype, weight_decay):
    torch = pytest.importorskip("torch")
    size, decayed = 500, 320
    options = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-6}
    start = draws(size).astype(dtype)
    theirs = [torch.tensor(part, requires_grad=True) for part in (start[:decayed].copy(), start[decayed:].copy())]
    groups = [{"params": theirs[:1], "weight_decay": weight_decay}, {"params": theirs[1:], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, **options)
    params, mean, square = (to_device(array, dtype) for array in (start, numpy.zeros(size), numpy.zeros(size)))
    for step in range(1, 8):
        grads = (10.0 ** (step - 4) * draws(step, size)[0]).astype(dtype)
        kernels.adamw_step(
            params, to_device(grads, dtype), mean, square, step, decayed, weight_decay=weight_decay, **options
        )
        for part, g in zip(theirs, (grads[:decayed], grads[decayed:]), strict=True):
            part.grad = torch.tensor(g)
        optimizer.step()
        expected = numpy.concatenate([part.detach().numpy() for part in theirs])
        numpy.testing.assert_allclose(backend.to_host(params), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("sentences,tokens", [(1, 1), (1, 700), (2, 3), (7, 200), (64, 128), (300, 16)])
def test_the_parts_of_a_batch_are_the_whole_batch(kernels, sentences, tokens):
    parts = kernels.split_batch(sentences, tokens)
    assert [i for part in parts for i in range(sentences)[part]] == list(range(sentences))
    assert 1 <= kernels.workers(len(parts)) <= len(parts)


@pytest.mark.parametrize("rows", [1, 2, 5000, 30522])
def test_the_parts_of_a_table_are_the_whole_table(kernels, rows):
    assert [i for part in kernels.split_rows(rows) for i in range(rows)[part]] == list(range(rows))


def test_run_gives_results_in_order(kernels):
    assert kernels.run([lambda i=i: i * i for i in range(9)]) == [i * i for i in range(9)]
