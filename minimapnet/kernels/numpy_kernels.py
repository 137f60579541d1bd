"""The hot primitives in NumPy: blocks of rows that stay in the cache, worked on in place.

One pass over an array that is in memory costs as much as several over a block that is in the cache, so each kernel
takes a block through all of its steps before it turns to the next. Row sums are products with a vector of ones: BLAS
adds up rows several times faster than `sum` does.

The contract, kept by every library's file: arrays are contiguous in their last axis and of one floating dtype; a
backward accepts one saved array (first axis 1, or none) for many upstream gradients (first axis R), and leaves all of them
as they are unless its docstring says that it works in place.
"""

import ctypes
import math
from functools import partial

import numpy as np
from scipy import sparse, special

from minimapnet.kernels import pool

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt's parameters: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
KEPT = 1 << 30  # bytes at the top of the heap that are kept
LARGEST = 1 << 28  # bytes of the largest array that is taken from the heap


def keep_freed_memory() -> bool:
    """Let the C library keep what this process frees; return whether it will, False where it is not glibc.

    A step makes and drops the same arrays again and again. Large ones go back to the system when they are dropped, and the
    next step pays for fresh pages, each of them cleared: measured at up to half of a small model's step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(TRIM_THRESHOLD, KEPT)) and bool(mallopt(MMAP_THRESHOLD, LARGEST))


keep_freed_memory()

# Elements of a block: 512 KiB of float32, which still are in the cache. Smaller blocks would be in a nearer one, but every
# call lets go of Python's lock and has to get it back: with threads, fewer and longer calls gain more.
BLOCK = 1 << 17

# erf(x / sqrt 2) = tanh(x P(x^2)) defines a smooth function P. These are the coefficients of its least-error polynomial
# (`python benchmarks/fit_gelu.py` prints them, to eight digits): Phi is within 1e-7, as near as float32 gets. The first two
# terms, refitted, are the "tanh GELU". SciPy's own erf costs 14 ns a value, this 2: it serves float64, for the checks.
ERF_AS_TANH = (
    0.7978849414599096,
    0.036333084576402705,
    -3.259497877315827e-05,
    -5.5306192161013944e-05,
    3.96474409662655e-06,
    -1.322633110991235e-07,
    1.7561698669557576e-09,
)
ERF_AS_TANH_LIMIT = 30.0  # of x^2: beyond it Phi is 0 or 1 in float32, and P is held at its value there
TANH_GELU = (math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi))


def _row_blocks(rows: int, width: int):
    step = max(1, BLOCK // max(width, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def gelu_forward(x, form: str):
    """Return (y, slope): y = x Phi(x) and slope = dy/dx, both of x's shape. `form` is "erf" (exact) or "tanh".

    The form "relu" is max(x, 0), whose slope at 0 is 0, as in PyTorch.

    The slope is made here, where Phi is at hand, so that each of the many backwards after it is one product.
    Source: Hendrycks and Gimpel 2016, arXiv 1606.08415.
    """
    y, slope = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    flat_x, flat_y, flat_slope = np.ascontiguousarray(x).reshape(-1), y.reshape(-1), slope.reshape(-1)
    block = {"erf": _gelu_erf_block, "tanh": _gelu_tanh_block, "relu": _relu_block}[form]
    if form == "erf" and x.dtype == np.float64:
        block = _gelu_erf_block_float64
    for part in _row_blocks(flat_x.size, 1):
        block(flat_x[part], flat_y[part], flat_slope[part])
    return y, slope


def _gelu_erf_block(x, y, slope):
    square = x * x
    np.minimum(square, ERF_AS_TANH_LIMIT, out=y)
    phi = y * ERF_AS_TANH[-1]
    for coefficient in ERF_AS_TANH[-2:0:-1]:
        phi += coefficient
        phi *= y
    phi += ERF_AS_TANH[0]
    phi *= x
    np.tanh(phi, out=phi)
    phi += 1.0
    phi *= 0.5  # Phi(x), the normal distribution function
    np.multiply(x, phi, out=y)
    square *= -0.5
    np.exp(square, out=square)
    np.multiply(x, square, out=slope)
    slope *= 1 / math.sqrt(2 * math.pi)  # x times the normal density
    slope += phi


def _gelu_erf_block_float64(x, y, slope):
    phi = 0.5 * (1.0 + special.erf(x * math.sqrt(0.5)))
    np.multiply(x, phi, out=y)
    np.multiply(x, np.exp(-0.5 * x * x), out=slope)
    slope *= 1 / math.sqrt(2 * math.pi)
    slope += phi


def _gelu_tanh_block(x, y, slope):
    linear, cubic = TANH_GELU
    square = x * x
    phi = square * cubic
    phi += linear
    phi *= x
    np.tanh(phi, out=phi)
    phi += 1.0
    phi *= 0.5  # what stands for Phi(x)
    np.multiply(x, phi, out=y)
    square *= 6 * cubic  # d phi / dx = 2 phi (1 - phi) (linear + 3 cubic x^2)
    square += 2 * linear
    np.subtract(1.0, phi, out=slope)
    slope *= y
    slope *= square
    slope += phi


def _relu_block(x, y, slope):
    np.maximum(x, 0, out=y)
    np.greater(x, 0, out=slope, casting="unsafe")


def layernorm_forward(x, weight, bias, eps: float):
    """Return (y, xhat, rstd) for x (..., C): xhat = (x - mean) * rstd by rows, y = xhat * weight + bias, rstd (..., 1).

    Source: Ba, Kiros and Hinton 2016, arXiv 1607.06450.
    """
    width = x.shape[-1]
    y, xhat = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    rstd = np.empty((*x.shape[:-1], 1), x.dtype)
    rows_x, rows_y, rows_xhat, rows_rstd = (a.reshape(-1, a.shape[-1]) for a in (x, y, xhat, rstd))
    mean_of = np.full((width, 1), 1 / width, x.dtype)
    for rows in _row_blocks(len(rows_x), width):
        centred, out = rows_xhat[rows], rows_y[rows]
        np.subtract(rows_x[rows], rows_x[rows] @ mean_of, out=centred)
        np.multiply(centred, centred, out=out)
        spread = out @ mean_of
        spread += eps
        np.sqrt(spread, out=spread)
        np.divide(1.0, spread, out=rows_rstd[rows])
        centred *= rows_rstd[rows]
        np.multiply(centred, weight, out=out)
        out += bias
    return y, xhat, rstd


def layernorm_backward(dy, xhat, rstd, weight):
    """Return dx for dy (R, ..., C), with xhat and rstd as the forward gave them, their first axis R, 1 or none.

    With dxhat = dy * weight: dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat)), the means over C. What many dy
    share, rstd * weight, is multiplied first.
    """
    width = dy.shape[-1]
    dx = np.empty(dy.shape, dy.dtype)
    mean_of = np.full((width, 1), 1 / width, dy.dtype)
    for d, out, saved, scale in _paired_blocks((dy, dx), (xhat, rstd)):
        np.multiply(d, scale * weight, out=out)  # rstd * dxhat
        product = out * saved
        mean, along = out @ mean_of, product @ mean_of
        np.multiply(saved, along, out=product)
        product += mean
        out -= product
    return dx


def _paired_blocks(many, saved):
    """Walk over blocks of the arrays `many` (R, ..., C) beside the same rows of those `saved` (R, 1 or no first axis)."""
    if many[0].size <= BLOCK:
        yield *many, *saved
        return
    width, count = many[0].shape[-1], len(many[0])
    if saved[0].size == many[0].size:
        arrays = tuple(a.reshape(-1, a.shape[-1]) for a in (*many, *saved))
        for rows in _row_blocks(len(arrays[0]), width):
            yield tuple(a[rows] for a in arrays)
        return
    many = tuple(a.reshape(count, -1, width) for a in many)  # (R, rows, C)
    saved = tuple(a.reshape(-1, a.shape[-1]) for a in saved)  # (rows, C or 1)
    for rows in _row_blocks(len(saved[0]), width):
        for block in _row_blocks(count, saved[0][rows].size):
            yield *(a[block, rows] for a in many), *(a[rows] for a in saved)


def softmax_forward(scores, scale: float, bias=None):
    """Turn scores (B, H, T, T) in place into softmax(scale * scores + bias) over the last axis; bias (B, 1, 1, T)."""
    B, width = len(scores), scores.shape[-1]
    ones = np.ones((width, 1), scores.dtype)
    flat = scores.reshape(B, -1, width)  # (B, H*T, T), a view
    for some in _row_blocks(B, flat[0].size):
        for rows in _row_blocks(flat.shape[1], len(flat[some]) * width):
            block = flat[some, rows]
            block *= scale
            if bias is not None:
                block += bias[some, 0]  # (some, 1, T)
            block -= block.max(axis=-1, keepdims=True)
            np.exp(block, out=block)
            block /= block @ ones


def softmax_backward(dprobs, probs, scale: float):
    """Turn dprobs (R, H, T, T) in place into dscores = scale * probs * (dprobs - sum(dprobs * probs)).

    The sum runs over the last axis; the first axis of probs is R, 1 or none.
    """
    width = dprobs.shape[-1]
    ones = np.ones((width, 1), dprobs.dtype)
    for block, p in _paired_blocks((dprobs,), (probs,)):
        block -= (block * p) @ ones
        block *= p * scale


def softmax_cross_entropy(logits, targets):
    """Return the losses -log softmax(logits)[target] (N,) and turn logits (N, V) in place into softmax(logits) - onehot.

    That is the gradient of each row's loss with respect to its logits. `targets` (N,) are integers in [0, V). Where a guess
    is all but certain, its probability p rounds to 1: the loss and 1 - p are taken from what is left for the others.
    """
    count, width = logits.shape
    losses = np.empty(count, logits.dtype)
    ones = np.ones(width, logits.dtype)
    for rows in _row_blocks(count, width):
        block, target = logits[rows], targets[rows]
        block -= block.max(axis=-1, keepdims=True)
        index = np.arange(len(block)), target
        at_target = block[index]
        np.exp(block, out=block)
        own = block[index]
        block[index] = 0.0
        others = block @ ones
        total = others + own
        losses[rows] = np.where(at_target == 0, np.log1p(others), np.log(total) - at_target)
        block /= total[:, None]
        block[index] = -others / total
    return losses


def embedding_gradient(ids, d, out):
    """Add to out (V, C) at each row ids[n] the row d[n], in the order of n: d (N, C), ids (N,) in [0, V).

    It is a product with the sparse matrix (V, N) of one-hot columns: SciPy adds rows ten times faster than `np.add.at`.
    """
    rows = None
    if len(out) > len(ids):  # touch only the rows that occur
        rows, ids = np.unique(ids, return_inverse=True)
    height = len(out) if rows is None else len(rows)
    onehot = sparse.csc_matrix((np.ones(len(ids), d.dtype), ids, np.arange(len(ids) + 1)), shape=(height, len(ids)))
    out[slice(None) if rows is None else rows] += onehot @ d


def adamw_step(params, grads, mean, square, step: int, decayed: int, *, lr, betas, eps, weight_decay):
    """Update the flat buffers params, mean and square in place from grads; the first `decayed` values are decayed.

    `step` counts from 1. Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2, as PyTorch's AdamW computes it.
    """
    beta1, beta2 = betas
    correction1, correction2 = 1 - beta1**step, math.sqrt(1 - beta2**step)

    def update(part):
        p, g, m, v = params[part], grads[part], mean[part], square[part]
        if part.start < decayed:
            p[: decayed - part.start] *= 1 - lr * weight_decay
        work = g * (1 - beta1)
        m *= beta1
        m += work
        np.multiply(g, g, out=work)
        work *= 1 - beta2
        v *= beta2
        v += work
        np.sqrt(v, out=work)
        work /= correction2
        work += eps
        np.divide(m, work, out=work)
        work *= lr / correction1
        p -= work

    def update_blocks(share):
        for start in range(share.start, share.stop, BLOCK):
            update(slice(start, min(start + BLOCK, share.stop)))

    shares = pool.split(params.size, pool.threads() if params.size > BLOCK else 1)
    pool.run([partial(update_blocks, share) for share in shares])


CHUNK_TOKENS = 1024  # of a part of the batch that one thread takes through the whole model while it stays in the cache

PRODUCT_ELEMENTS = 1 << 18  # of gradients that are multiplied out for single sequences: what stays in the cache


def split_batch(sentences: int, tokens: int) -> list[slice]:
    """Cut a batch of `sentences` of `tokens` each into the parts that `run` works on side by side."""
    workers = 1 if pool.inside() else pool.threads()
    rounds = -(-sentences * tokens // (CHUNK_TOKENS * workers))
    return pool.split(sentences, workers * rounds)


def workers(tasks: int) -> int:
    """Return how many of `tasks` tasks `run` has under way at once: task i is done by worker i modulo this number."""
    return 1 if pool.inside() else max(1, min(pool.threads(), tasks))


def split_rows(rows: int) -> list[slice]:
    """Cut a table of `rows` rows into the parts that `run` works on side by side."""
    return pool.split(rows, max(pool.threads(), rows // 2048))


run = pool.run
