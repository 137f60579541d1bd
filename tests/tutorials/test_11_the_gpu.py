"""The exercises of step 11: pytest tests/tutorials/test_11_the_gpu.py --answers FOLDER"""

import importlib
import math
import shutil

import numpy
import pytest

from minimapnet import backend, token_losses
from minimapnet.kernels.cuda_source import SOURCE


@pytest.fixture(scope="module")
def losses():
    """Return losses (B, K) with zeros where positions (B, K), of 1 to K words a sentence, are -1; on the host."""
    rng = numpy.random.default_rng(3)
    positions = numpy.array([[0, 4, 7], [2, -1, -1], [5, 6, -1], [-1, 3, 1]])
    return numpy.where(positions < 0, 0, rng.exponential(size=positions.shape)).astype("float32"), positions


def test_mean_losses_of_sentences(answers, xp, losses):
    values, positions = losses
    found = answers.mean_losses(backend.to_device(values), positions)
    assert isinstance(found, numpy.ndarray) and found.shape == (4,)
    for row, place, one in zip(values, positions, found, strict=True):
        assert one == pytest.approx(row[place >= 0].mean(), rel=1e-6)


def test_mean_losses_of_a_model(answers, xp):
    from tests.helpers import tiny

    model = tiny.model()
    positions = tiny.RAGGED[:2]
    found = answers.mean_losses(token_losses(model, tiny.IDS[:2], positions), positions)
    each = backend.to_host(token_losses(model, tiny.IDS[:2], positions))
    numpy.testing.assert_allclose(found, [each[0].mean(), each[1, 1]])


def test_mean_losses_bring_back_no_more_than_a_number_a_sentence(answers, losses, monkeypatch):
    from minimapnet.kernels import reference
    from tests.helpers import strict_cupy

    for name, value in (("name", "strict"), ("xp", strict_cupy), ("kernels", reference)):
        monkeypatch.setattr(backend, name, value)
    values, positions = losses
    device, fetched, get = backend.to_device(values), [], strict_cupy.ndarray.get
    monkeypatch.setattr(strict_cupy.ndarray, "get", lambda self: (fetched.append(self.size), get(self))[1])
    monkeypatch.setattr(strict_cupy.ndarray, "tolist", None)
    monkeypatch.setattr(strict_cupy.ndarray, "item", None)
    answers.mean_losses(device, positions)
    assert sum(fetched) <= len(values)


@pytest.mark.parametrize("descending", [False, True], ids=["first thread first", "last thread first"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "width", "threads"), [(5, 64, 64), (3, 700, 256), (4, 33, 64), (2, 1, 32), (1, 100, 512)])
def test_row_norms(answers, monkeypatch, rows, width, threads, dtype, descending):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: CUDA source cannot be run on the CPU")
    cuda_on_cpu, strict_cupy = (
        importlib.import_module("tests.helpers.cuda_on_cpu"),
        importlib.import_module("tests.helpers.strict_cupy"),
    )
    monkeypatch.setattr(cuda_on_cpu.RawKernel, "descending", descending)
    real = {"float32": "float", "float64": "double"}[dtype]
    kernel = cuda_on_cpu.RawKernel(SOURCE + answers.row_norms_source(), "row_norms", ("-std=c++17", f"-DREAL={real}"))
    host = numpy.random.default_rng(width).standard_normal((rows, width)).astype(dtype)
    x, norms = strict_cupy.asarray(host), strict_cupy.asarray(numpy.full(rows, -1, dtype))
    kernel((rows,), (threads,), (x, norms, width))
    numpy.testing.assert_allclose(norms.get(), numpy.linalg.norm(host.astype(float), axis=1), rtol=2e-6)


SIZES = numpy.array([4.0, 16.0, 64.0, 256.0])


@pytest.mark.parametrize(
    ("first", "second", "crossing"),
    [
        ((1e-3, 2e-4), (5e-3, 1e-5), 4e-3 / 1.9e-4),
        ((5e-3, 1e-5), (1e-3, 2e-4), 4e-3 / 1.9e-4),
        ((1e-3, 2e-4), (5e-3, 3e-4), math.inf),  # slower everywhere
        ((1e-3, 2e-4), (5e-3, 2e-4), math.inf),  # parallel
    ],
)
def test_break_even_of_exact_lines(answers, first, second, crossing):
    found = answers.break_even(SIZES, *(a + b * SIZES for a, b in (first, second)))
    if math.isfinite(crossing):
        assert found == pytest.approx(crossing, rel=1e-9)
    else:
        assert found == math.inf or found > 1e9  # parallel lines may cross far away by rounding


def test_break_even_fits_relative_errors(answers):
    """A small size measured at half its time counts as much as a large one would: the fit is not that of absolute errors."""
    first, second = 1e-3 + 2e-4 * SIZES, 5e-3 + 1e-5 * SIZES
    first[0] *= 0.5
    fitted = numpy.polyfit(SIZES, first, 1, w=1 / first)  # polyfit's weights multiply the errors
    expected = (5e-3 - fitted[1]) / (fitted[0] - 1e-5)
    assert answers.break_even(SIZES, first, second) == pytest.approx(expected, rel=1e-6)
    absolute = numpy.polyfit(SIZES, first, 1)
    assert abs(expected - (5e-3 - absolute[1]) / (absolute[0] - 1e-5)) > 0.02 * expected
