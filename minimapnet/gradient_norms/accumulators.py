"""Accumulators: what is done with a parameter's gradient where a backward pass has its two halves in hand.

The gradient of a linear layer's weight is x^T dy. A backward pass holds x and dy only for a moment; there it calls the
accumulator, which may multiply them out (`GradientAccumulator`) or read something else from them (`GradientNormAccumulator`,
in ghost_norm.py). So every statistic comes from the one backward, and a new statistic is a new accumulator.

An accumulator has four methods, one for each way in which a parameter meets the data:

    linear(name, x, dy)         x (..., C), dy (..., F): dW = x^T dy, db = sum dy
    layernorm(name, xhat, dy)   both (..., C): dweight = sum dy * xhat, dbias = sum dy
    embedding(name, ids, dy)    ids (...), dy (..., C): row ids[n] of the table gets dy[n]
    decoder(h, dlogits)         h (N, C), dlogits (N, V): dE = dlogits^T h, db = sum dlogits

They keep references to what they are given and change none of it.
"""

from functools import partial

from minimapnet import backend


class GradientAccumulator:
    """Adds up the gradients of the parameters.

    One accumulator serves one thread; `gather` then adds up those of all threads. What belongs to the large tables, of V
    rows, is only collected on the way and multiplied out by `gather`, once for the whole batch.
    """

    def __init__(self):
        self.sums = {}  # name -> gradient so far
        self.lookups = {}  # name -> [(ids, dy), ...]
        self.decodings = []  # [(h, dlogits), ...]

    def linear(self, name, x, dy):
        x, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (N, C), (N, F)
        self.add(f"{name}.weight", x.T @ dy)
        self.add(f"{name}.bias", _column_sums(dy))

    def layernorm(self, name, xhat, dy):
        xhat, dy = xhat.reshape(-1, xhat.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (N, C)
        self.add(f"{name}.weight", _column_sums(xhat * dy))
        self.add(f"{name}.bias", _column_sums(dy))

    def embedding(self, name, ids, dy):
        self.lookups.setdefault(name, []).append((ids.reshape(-1), dy.reshape(-1, dy.shape[-1])))

    def decoder(self, h, dlogits):
        self.decodings.append((h, dlogits))

    def add(self, name, gradient):
        """Add `gradient`, an array that becomes the accumulator's own, to that of the parameter `name`."""
        if name in self.sums:
            self.sums[name] += gradient
        else:
            self.sums[name] = gradient


def gather(accumulators, gradients, decoder_name):
    """Write into `gradients` (name -> array) what all the accumulators have read; `decoder_name` is the decoder's weight.

    Parameters that no accumulator has met get zeros.
    """
    decodings = [pair for accumulator in accumulators for pair in accumulator.decodings]
    decoded = {decoder_name, "head.decoder.bias"} if decodings else set()
    tasks = [
        partial(_write_sum, out, [accumulator.sums[name] for accumulator in accumulators if name in accumulator.sums])
        for name, out in gradients.items()
        if name not in decoded
    ]
    if decodings:
        h = _joined([h for h, _ in decodings])  # (N, C)
        dlogits = [d for _, d in decodings]
        out, bias = gradients[decoder_name], gradients["head.decoder.bias"]
        tasks += [partial(_write_decoder, out, bias, rows, h, dlogits) for rows in backend.kernels.split_rows(len(out))]
    backend.kernels.run(tasks)
    lookups = {
        name: [pair for accumulator in accumulators for pair in accumulator.lookups[name]]
        for name in accumulators[0].lookups
    }
    backend.kernels.run([partial(_add_lookups, gradients[name], pairs) for name, pairs in lookups.items()])


def _write_sum(out, parts):
    out[...] = parts[0] if parts else 0
    for part in parts[1:]:
        out += part


def _write_decoder(out, bias, rows, h, dlogits):
    """dE = dlogits^T h and db = sum dlogits for some rows of the vocabulary: out (V, C), bias (V,), h (N, C)."""
    dlogits = _joined([d[:, rows] for d in dlogits])  # (N, rows)
    backend.xp.matmul(dlogits.T, h, out=out[rows])
    bias[rows] = _column_sums(dlogits)


def _add_lookups(out, pairs):
    ids, dy = (_joined(parts) for parts in zip(*pairs, strict=True))
    backend.kernels.embedding_gradient(ids, dy, out)


def _joined(parts):
    return parts[0] if len(parts) == 1 else backend.xp.concatenate(parts)


def _column_sums(rows):
    """Add up the rows of (N, C): as a product, which BLAS does faster than `sum`."""
    return backend.xp.ones(len(rows), rows.dtype) @ rows
