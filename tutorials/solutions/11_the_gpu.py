"""Our answers to the exercises of step 11.

Axis letters: B sentences, K places for masked positions, S sizes.
"""

import math

import numpy

from minimapnet import backend


def mean_losses(losses, positions) -> numpy.ndarray:
    """Return the mean loss (B,) of each sentence's masked words: losses (B, K) on the device, positions (B, K) on the host.

    What is missing adds 0 to the sums, so only the counts need the positions. They are counted where the positions lie, and
    B numbers go to the device, B come back.
    """
    counts = (positions != -1).sum(axis=1).astype("float32")  # (B,), on the host
    means = losses.sum(axis=1) / backend.to_device(counts)  # (B,), on the device
    return backend.to_host(means)


def row_norms_source() -> str:
    """Return the source of a kernel that writes the Euclidean norm of each row: a block a row, as LayerNorm's forward.

    Every thread must come to `over_block`, so the branch for one thread is after it.
    """
    return r"""
extern "C" __global__ void row_norms(const real* x, real* norms, int64 width) {
    const int64 row = blockIdx.x;
    x += row * width;
    real sum = 0;
    for (int64 c = threadIdx.x; c < width; c += blockDim.x) sum += x[c] * x[c];
    sum = over_block<Add>(sum);
    if (threadIdx.x == 0) norms[row] = sqrt(sum);
}
"""


def break_even(sizes, first, second) -> float:
    """Return the size at which two lines t = a + b size cross, fitted to `first` and `second` (S,), or inf.

    Dividing the equations a + b size = t by t makes the errors relative: otherwise the largest size would decide alone.
    """
    a1, b1 = _line(sizes, first)
    a2, b2 = _line(sizes, second)
    if b1 == b2:
        return math.inf
    size = float((a2 - a1) / (b1 - b2))
    return size if size > 0 else math.inf


def _line(sizes, times) -> numpy.ndarray:
    sizes, times = numpy.asarray(sizes, float), numpy.asarray(times, float)
    table = numpy.stack([1 / times, sizes / times], axis=1)  # (S, 2)
    return numpy.linalg.lstsq(table, numpy.ones(len(times)), rcond=None)[0]
