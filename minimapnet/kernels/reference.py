"""Every kernel as its plain formula, on whatever array library is in use: read this before the two fast files.

Names and contract are those of `numpy_kernels.py`, which holds the docstrings with the shapes and sources; the tests hold
both fast files against this one. Nothing here is fast; everything here is short.
"""

import importlib
import math

from minimapnet import backend

SPECIAL = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special"}  # others have a module `special` of their own


def erf(x):
    library = backend.xp.__name__
    return importlib.import_module(SPECIAL.get(library, f"{library}.special")).erf(x)


def gelu_forward(x, form):
    """y = x Phi(x), and the slope by the product rule; or y = max(x, 0)."""
    if form == "relu":
        return backend.xp.maximum(x, 0), (x > 0).astype(x.dtype)
    if form == "erf":
        phi = (1 + erf(x / math.sqrt(2))) / 2
        dphi = backend.xp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    else:
        tanh = backend.xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
        phi, dphi = (1 + tanh) / 2, (1 - tanh * tanh) / 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return x * phi, phi + x * dphi


def layernorm_forward(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    rstd = 1 / backend.xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    return centred * rstd * weight + bias, centred * rstd, rstd


def layernorm_backward(dy, xhat, rstd, weight):
    dxhat = dy * weight
    along = (dxhat * xhat).mean(axis=-1, keepdims=True)
    return rstd * (dxhat - dxhat.mean(axis=-1, keepdims=True) - xhat * along)


def softmax_forward(scores, scale, bias=None):
    shifted = scale * scores if bias is None else scale * scores + bias
    e = backend.xp.exp(shifted - shifted.max(axis=-1, keepdims=True))
    scores[...] = e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dprobs, probs, scale):
    dprobs[...] = scale * probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


def softmax_cross_entropy(logits, targets):
    rows = backend.xp.arange(len(targets))
    softmax_forward(logits, 1.0)
    losses = -backend.xp.log(logits[rows, targets])
    logits[rows, targets] -= 1
    return losses


def embedding_gradient(ids, d, out):
    onehot = ids == backend.xp.arange(len(out))[:, None]  # (V, N)
    out += onehot.astype(d.dtype) @ d


def adamw_step(params, grads, mean, square, step, decayed, *, lr, betas, eps, weight_decay):
    params[:decayed] *= 1 - lr * weight_decay
    mean[...] = betas[0] * mean + (1 - betas[0]) * grads
    square[...] = betas[1] * square + (1 - betas[1]) * grads * grads
    unbiased_mean, unbiased_square = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
    params -= lr * unbiased_mean / (backend.xp.sqrt(unbiased_square) + eps)


PRODUCT_ELEMENTS = 1 << 8


def split_batch(sentences, tokens):
    """Two parts where there are two sentences, so that what is put together again is tested."""
    return split_rows(sentences)


def split_rows(rows):
    middle = (rows + 1) // 2
    return [part for part in (slice(0, middle), slice(middle, rows)) if part.start < part.stop]


def workers(tasks):
    return min(2, tasks)


def run(tasks):
    return [task() for task in tasks]
