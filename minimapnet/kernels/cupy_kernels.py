"""The hot primitives in CuPy: one launch of one kernel each, where NumPy's file takes blocks of rows through several steps.

A launch costs 10 to 20 microseconds and a pass over the array its bandwidth, so everything that can be done to a number
while it is at hand is done then. The CUDA source is in `cuda_source.py`; this file gives it contiguous arrays of one
dtype, float32 or float64, and the shapes of grid and block. Kernels are compiled when they are first called on a device;
CuPy keeps what it compiled, also on disk. The contract is that of `numpy_kernels.py`.

Arrays that are written in place must be contiguous: ValueError otherwise. Others are copied where they are not.
"""

import math
from functools import cache

import cupy

from minimapnet.kernels.cuda_source import SOURCE

WARP = 32
ROW_THREADS = 512  # at most, of a block that takes a row
FLAT_THREADS = 256  # of a block that takes part of a flat array
FLAT_BLOCKS = 1 << 16  # at most: each thread strides on through what is left
TILE, STRANDS = 32, 16  # of the embedding gradient's blocks; as in the source

REAL = {"float32": "float", "float64": "double"}


@cache
def _kernel(name, dtype):
    return cupy.RawKernel(SOURCE, name, options=("-std=c++17", f"-DREAL={REAL[dtype]}"))


def _launch_flat(name, size, dtype, *args):
    """Launch with a thread a value, up to a limit. The kernel sees Python's int as long long and float as double."""
    if size:
        blocks = min(-(-size // FLAT_THREADS), FLAT_BLOCKS)
        _kernel(name, dtype.name)((blocks,), (FLAT_THREADS,), args)


def _launch_rows(name, rows, width, dtype, *args):
    """Launch with a block a row, of whole warps, no more of them than the row can use."""
    if rows and width:
        threads = min(-(-width // WARP) * WARP, ROW_THREADS)
        _kernel(name, dtype.name)((rows,), (threads,), args)


def _read(array, dtype):
    return cupy.ascontiguousarray(array, dtype)


def _written(array, dtype, name):
    if not array.flags.c_contiguous or array.dtype != dtype:
        raise ValueError(f"{name} is written in place: it must be contiguous and of {dtype}, not {array.dtype}")
    return array


def _rows(array):
    return array.size // max(array.shape[-1], 1)


def gelu_forward(x, form: str):
    """Return (y, slope): y = x Phi(x) and slope = dy/dx, both of x's shape. `form`: "erf", "tanh", or "relu", max(x, 0)."""
    name = {"erf": "gelu_erf", "tanh": "gelu_tanh", "relu": "relu"}[form]
    y, slope = cupy.empty(x.shape, x.dtype), cupy.empty(x.shape, x.dtype)
    _launch_flat(name, x.size, x.dtype, _read(x, x.dtype), y, slope, x.size)
    return y, slope


def layernorm_forward(x, weight, bias, eps: float):
    """Return (y, xhat, rstd) for x (..., C): xhat = (x - mean) * rstd by rows, y = xhat * weight + bias, rstd (..., 1)."""
    width, dtype = x.shape[-1], x.dtype
    y, xhat, rstd = cupy.empty(x.shape, dtype), cupy.empty(x.shape, dtype), cupy.empty((*x.shape[:-1], 1), dtype)
    inputs = _read(x, dtype), _read(weight, dtype), _read(bias, dtype)
    _launch_rows("layernorm_forward", _rows(x), width, dtype, *inputs, y, xhat, rstd, width, float(eps))
    return y, xhat, rstd


def layernorm_backward(dy, xhat, rstd, weight):
    """Return dx for dy (R, ..., C), with xhat and rstd as the forward gave them, their first axis R, 1 or none."""
    width, dtype = dy.shape[-1], dy.dtype
    dx = cupy.empty(dy.shape, dtype)
    inputs = (_read(array, dtype) for array in (dy, xhat, rstd, weight))
    _launch_rows("layernorm_backward", _rows(dy), width, dtype, *inputs, dx, _rows(xhat), width)
    return dx


def softmax_forward(scores, scale: float, bias=None):
    """Turn scores (B, H, T, T) in place into softmax(scale * scores + bias) over the last axis; bias (B, 1, 1, T)."""
    width, dtype = scores.shape[-1], scores.dtype
    _written(scores, dtype, "scores")
    null = 0  # eight bytes of zeros, which is what a null pointer is
    shift = null if bias is None else _read(bias, dtype)
    rows_of_sentence = math.prod(scores.shape[1:-1])
    _launch_rows("softmax_forward", _rows(scores), width, dtype, scores, shift, rows_of_sentence, width, float(scale))


def softmax_backward(dprobs, probs, scale: float):
    """Turn dprobs (R, H, T, T) in place into dscores = scale * probs * (dprobs - sum(dprobs * probs)).

    The sum runs over the last axis; the first axis of probs is R, 1 or none.
    """
    width, dtype = dprobs.shape[-1], dprobs.dtype
    _written(dprobs, dtype, "dprobs")
    args = dprobs, _read(probs, dtype), _rows(probs), width, float(scale)
    _launch_rows("softmax_backward", _rows(dprobs), width, dtype, *args)


def softmax_cross_entropy(logits, targets):
    """Return the losses -log softmax(logits)[target] (N,) and turn logits (N, V) in place into softmax(logits) - onehot."""
    count, width = logits.shape
    _written(logits, logits.dtype, "logits")
    losses = cupy.empty(count, logits.dtype)
    _launch_rows("softmax_cross_entropy", count, width, logits.dtype, logits, _read(targets, "int64"), losses, width)
    return losses


def embedding_gradient(ids, d, out):
    """Add to out (V, C) at each row ids[n] the row d[n]: d (N, C), ids (N,) in [0, V).

    The sums are the same at every call, though not NumPy's: each row of `out` adds up its share in 16 strands. CuPy's sort
    waits for the device; everything else here does not.
    """
    count, width = d.shape
    _written(out, d.dtype, "out")
    if not d.size:
        return
    ids = _read(ids, "int64")
    order = cupy.argsort(ids)  # stable
    grid, block = (count, -(-width // TILE)), (TILE, STRANDS)
    _kernel("embedding_gradient", d.dtype.name)(grid, block, (ids, order, _read(d, d.dtype), out, count, width))


def adamw_step(params, grads, mean, square, step: int, decayed: int, *, lr, betas, eps, weight_decay):
    """Update the flat buffers params, mean and square in place from grads; the first `decayed` values are decayed.

    `step` counts from 1. Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2, as PyTorch's AdamW computes it.
    """
    beta1, beta2 = betas
    dtype = params.dtype
    for name, buffer in (("params", params), ("mean", mean), ("square", square)):
        _written(buffer, dtype, name)
    buffers = params, _read(grads, dtype), mean, square
    step_size, correction = lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
    numbers = (1 - lr * weight_decay, beta1, beta2, step_size, correction, eps)
    _launch_flat("adamw_step", params.size, dtype, *buffers, params.size, int(decayed), *map(float, numbers))


PRODUCT_ELEMENTS = 1 << 26  # of gradients that are multiplied out for single sequences: 256 MiB of float32, in one launch


def split_batch(sentences: int, tokens: int) -> list[slice]:
    """One part, the whole batch: the device is filled by one."""
    return [slice(0, sentences)]


def workers(tasks: int) -> int:
    """One: the device does one task after the other."""
    return 1


def split_rows(rows: int) -> list[slice]:
    """One part, the whole table."""
    return [slice(0, rows)]


def run(tasks) -> list:
    """Call the tasks in turn and give their results in order."""
    return [task() for task in tasks]
