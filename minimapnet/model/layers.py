"""The layers, each a pair: `x_forward(...) -> (out, cache)` and `x_backward(dout, cache, ...) -> dx`.

A backward is the mirror of its forward: it undoes the stages in reverse and quotes each line. It writes to nothing it was
given, since many backwards may follow one forward. What becomes of a parameter's gradient is not decided here: a layer
hands its input and its output's gradient to a *accumulator* (see accumulators.py), which adds up whatever it is after.

The cache of B sentences serves R replicas of each of them at once: `dout` then is (R, B, T, C) where it else is (B, T, C),
and every line below broadcasts.

Axis letters: B sentences, T tokens, C channels, F feed-forward channels, V vocabulary, N masked tokens.
"""

from minimapnet import backend


def linear_forward(x, weight, bias):
    """y = x @ W + b. x (B, T, C), weight (C, F), bias (F,) -> y (B, T, F); the cache is (x, weight)."""
    rows = x.reshape(-1, x.shape[-1])  # (B*T, C): one large product instead of B small ones
    y = rows @ weight  # (B*T, F)
    y += bias
    return y.reshape(*x.shape[:-1], len(bias)), (x, weight)


def linear_backward(dy, cache, name, accumulator):
    """dx = dy @ W^T. dy (B, T, F) -> dx (B, T, C).

    `accumulator.linear` gets what dW = x^T dy and db = sum dy are made of.
    """
    x, weight = cache
    accumulator.linear(name, x, dy)
    rows = dy.reshape(-1, dy.shape[-1])  # (B*T, F)
    return (rows @ weight.T).reshape(*dy.shape[:-1], len(weight))


def gelu_forward(x, form):
    """y = x Phi(x), elementwise, in the form "erf" or "tanh", or "relu", max(x, 0). The cache is the slope dy/dx."""
    return backend.kernels.gelu_forward(x, form)


def gelu_backward(dy, slope):
    """dx = dy * slope."""
    return dy * slope


def layernorm_forward(x, weight, bias, eps):
    """y = (x - mean) / std * weight + bias over the last axis. x (..., C); the cache is (xhat, rstd, weight)."""
    y, xhat, rstd = backend.kernels.layernorm_forward(x, weight, bias, eps)
    return y, (xhat, rstd, weight)


def layernorm_backward(dy, cache, name, accumulator):
    """dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat)) with dxhat = dy * weight."""
    xhat, rstd, weight = cache
    accumulator.layernorm(name, xhat, dy)
    return backend.kernels.layernorm_backward(dy, xhat, rstd, weight)


def embedding_forward(ids, weight):
    """y = the rows of `weight` (V, C) at ids (B, T) -> (B, T, C); the cache is ids."""
    return weight[ids], ids


def embedding_backward(dy, ids, name, accumulator):
    """Nothing is before an embedding: only the accumulator hears of it."""
    accumulator.embedding(name, ids, dy)


def decoder_forward(h, weight, bias):
    """logits = h @ E^T + b. h (N, C), weight E (V, C), bias (V,) -> logits (N, V); the cache is (h, weight)."""
    logits = h @ weight.T  # (N, V)
    logits += bias
    return logits, (h, weight)


def decoder_backward(dlogits, cache, accumulator):
    """dh = dlogits @ E. dlogits (N, V) -> dh (N, C); tied to the word embedding or not, the accumulator knows."""
    h, weight = cache
    accumulator.decoder(h, dlogits)
    return dlogits @ weight


def cross_entropy_forward(logits, targets):
    """losses = -log softmax(logits)[target]. logits (N, V) are *overwritten*; targets (N,) -> losses (N,).

    The cache, softmax - onehot (N, V), is each loss's own gradient; it takes the place of the logits, which nothing needs
    any more and which are the largest array of a step.
    """
    losses = backend.kernels.softmax_cross_entropy(logits, targets)
    return losses, logits


def cross_entropy_backward(dlosses, residual):
    """dlogits = dlosses * (softmax - onehot). dlosses (N,) -> dlogits (N, V)."""
    return dlosses[:, None] * residual


def dropout_forward(x, mask):
    """y = x * mask, where mask is 0 or 1/(1-p) (see `Dropout`), or None for no dropout. The cache is the mask."""
    return (x if mask is None else x * mask), mask


def dropout_backward(dy, mask):
    """dx = dy * mask."""
    return dy if mask is None else dy * mask


class Dropout:
    """The masks of one training step: the same for one (seed, step), on every backend and however a batch is cut.

    `first` is the number of the batch's first sentence, where the batch is itself part of the step.
    Source: Srivastava et al. 2014; values that stay are scaled by 1/(1-p), so that nothing is scaled without dropout.
    """

    def __init__(self, config, seed: int, step: int, first: int = 0):
        self.hidden, self.attention = config.hidden_dropout_prob, config.attention_probs_dropout_prob
        self.dtype, self.seed, self.step, self.first = config.dtype, seed, step, first

    def mask(self, layer: str, p: float, sentences: slice, shape: tuple[int, ...]):
        """Return the mask (B, *shape) of 0 and 1/(1-p) for these sentences of the batch, or None where p is 0."""
        if p == 0:
            return None
        draws = [
            backend.generator(self.seed, f"dropout/{layer}", self.step, sentence).random(shape, dtype="float32") >= p
            for sentence in range(self.first + sentences.start, self.first + sentences.stop)
        ]
        mask = backend.to_device([draw / (1 - p) for draw in draws])  # (B, *shape)
        return mask.astype(self.dtype)
