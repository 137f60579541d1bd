"""The strict stand-in for CuPy refuses what it must, and does what CuPy does with the rest."""

import numpy
import pytest

from tests.helpers import strict_cupy

DEVICE = strict_cupy.asarray(numpy.arange(6.0).reshape(2, 3))
HOST = numpy.ones((2, 3))

REFUSED = {
    "device + host": lambda: DEVICE + HOST,
    "host * device": lambda: HOST * DEVICE,
    "host @ device": lambda: HOST.T @ DEVICE,
    "device @ host": lambda: DEVICE @ HOST.T,
    "device < host": lambda: DEVICE < HOST,
    "device == host": lambda: DEVICE == HOST,
    "device * list": lambda: DEVICE * [1.0, 2.0, 3.0],
    "device + NumPy scalar": lambda: DEVICE + numpy.float64(1),
    "NumPy scalar * device": lambda: numpy.float64(2) * DEVICE,
    "device += host": lambda: DEVICE.copy().__iadd__(HOST),
    "host += device": lambda: HOST.copy().__iadd__(DEVICE),
    "ufunc of both": lambda: strict_cupy.maximum(DEVICE, HOST),
    "ufunc of a list": lambda: strict_cupy.exp([1.0, 2.0]),
    "ufunc into host": lambda: strict_cupy.exp(DEVICE, out=HOST.copy()),
    "matmul of both": lambda: strict_cupy.matmul(DEVICE, HOST.T),
    "where of both": lambda: strict_cupy.where(DEVICE > 1, DEVICE, HOST),
    "concatenate of both": lambda: strict_cupy.concatenate([DEVICE, HOST]),
    "sum of a list": lambda: strict_cupy.sum([1.0, 2.0]),
    "sum of host": lambda: strict_cupy.sum(HOST),
    "array of both": lambda: strict_cupy.asarray([DEVICE, HOST]),
    "method with host": lambda: DEVICE.dot(HOST.T),
    "numpy.asarray": lambda: numpy.asarray(DEVICE),
    "numpy.array of a list of them": lambda: numpy.array([DEVICE, DEVICE]),
    "numpy ufunc": lambda: numpy.exp(DEVICE),
    "numpy function": lambda: numpy.sum(DEVICE),
    "numpy.concatenate": lambda: numpy.concatenate([HOST, DEVICE]),
    "assignment into host": lambda: HOST.copy().__setitem__(0, DEVICE[0]),
    "assignment of host": lambda: DEVICE.copy().__setitem__(0, HOST[0]),
    "assignment of a list": lambda: DEVICE.copy().__setitem__(0, [1.0, 2.0, 3.0]),
    "index by host": lambda: DEVICE[numpy.array([0, 1])],
    "index by a list": lambda: DEVICE[[0, 1]],
    "index by host in a tuple": lambda: DEVICE[:, numpy.array([0, 1])],
    "host indexed by device": lambda: HOST[DEVICE.astype("int64")],
    "range of a device number": lambda: range(DEVICE.astype("int64")[0, 2]),
    "slice to a device number": lambda: DEVICE[: DEVICE.astype("int64")[0, 2]],
    "float of a row": lambda: float(DEVICE[0]),
    "float of one element that is not 0-d": lambda: float(DEVICE[0, :1]),
    "truth of an array": lambda: bool(DEVICE > 1),
    "hash": lambda: hash(DEVICE),
    "making one by hand": lambda: strict_cupy.ndarray((2, 3)),
    "iteration over a number": lambda: iter(DEVICE[0, 0]),
}


@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED)
def test_the_stand_in_refuses(attempt):
    with pytest.raises(TypeError):
        attempt()


@pytest.mark.parametrize("name", ["random", "scatter_add", "float128", "vectorize", "no_such_thing"])
def test_the_stand_in_names_what_it_lacks(name):
    with pytest.raises(AttributeError, match=name):
        getattr(strict_cupy, name)
    with pytest.raises(AttributeError, match=name):
        getattr(DEVICE, name)


def test_an_index_out_of_range_is_an_error_on_the_stand_in():
    with pytest.raises(IndexError):
        DEVICE[strict_cupy.asarray([0, 2])]


def test_transfers_copy():
    host = numpy.zeros(3)
    device = strict_cupy.asarray(host)
    host[0] = 1
    assert device.tolist() == [0, 0, 0]
    device.get()[1] = 1
    strict_cupy.asnumpy(device)[1] = 1
    assert device.tolist() == [0, 0, 0]
    assert strict_cupy.asarray(device) is device
    assert strict_cupy.array(device) is not device


def test_views_write_through_and_results_stay_on_the_device():
    device = strict_cupy.zeros((2, 3), "float32")
    assert not isinstance(device, numpy.ndarray)
    device[0] += 1
    device.reshape(-1)[5:] = 2.0
    device.T[1][...] = 7
    device[1, 0][...] = 3  # a single element is a 0-d view, as in CuPy
    assert device.tolist() == [[1, 7, 1], [3, 7, 2]]
    out = strict_cupy.empty(2, "float32")
    assert strict_cupy.matmul(device, strict_cupy.ones(3, "float32"), out=out) is out
    assert out.tolist() == [9, 12]
    for number in (device.sum(), strict_cupy.max(device), device[0, 0], out @ out, sum(out), -device.mean()):
        assert isinstance(number, strict_cupy.ndarray)
        assert number.shape == ()
        assert number.dtype == "float32"
    assert float(device.sum()) == 21
    assert bool((device > 0).all())
    assert [row.tolist() for row in device] == device.tolist()
    assert numpy.shape(device) == (2, 3)


def test_what_the_stand_in_has_cupy_has():
    cupy = pytest.importorskip("cupy")
    assert [name for name in (*strict_cupy.NAMES, "array", "asarray", "asnumpy", "ndarray") if not hasattr(cupy, name)] == []
    mine = {name for name in vars(strict_cupy.ndarray) if name not in ("__module__", "__dict__", "__weakref__", "_number")}
    assert sorted(name for name in mine if not hasattr(cupy.ndarray, name)) == []
