"""Multi-head self-attention, forward and backward.

Source: Vaswani et al. 2017, arXiv 1706.03762, section 3.2; bidirectional, as in BERT.

Axis letters: B sentences (or R replicas of one), T tokens, C channels, H heads, D channels a head, C = H * D.
"""

import math

from minimapnet import backend


def attention_forward(qkv, heads, bias=None, mask=None):
    """Let every token gather the values of the tokens it attends to.

    qkv (B, T, 3C) holds queries, keys and values side by side; bias (B, 1, 1, T) is added to the scores, hugely negative
    at padding; mask (B, H, T, T) is dropout's mask on the probabilities, or None. Returns out (B, T, C) and the cache.
    """
    xp = backend.xp
    B, T, C = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    scale = 1 / math.sqrt(C // heads)

    # 1. split the heads: views, nothing is copied
    q, k, v = _heads(qkv, heads)  # (B, H, T, D) each

    # 2. how well does query t match key s
    probs = xp.matmul(q, xp.ascontiguousarray(k.swapaxes(2, 3)))  # (B, H, T, T); BLAS is slow on small transposed views

    # 3. probabilities over the keys
    backend.kernels.softmax_forward(probs, scale, bias)  # (B, H, T, T), in place

    # 4. dropout
    dropped = probs if mask is None else probs * mask  # (B, H, T, T)

    # 5. the mean of the values under them
    context = dropped @ v  # (B, H, T, D)

    # 6. the heads side by side again
    out = context.swapaxes(1, 2).reshape(B, T, C)  # (B, T, C)
    return out, (qkv, probs, heads, scale, mask)


def attention_backward(dout, cache):
    """The mirror of the above: dout (..., B, T, C) -> dqkv (..., B, T, 3C), B being the cache's."""
    xp = backend.xp
    qkv, probs, heads, scale, mask = cache
    C = dout.shape[-1]
    q, k, v = _heads(qkv, heads)  # (B, H, T, D) each
    dqkv = xp.empty((*dout.shape[:-1], 3 * C), dout.dtype)
    dq, dk, dv = _heads(dqkv, heads)  # (..., B, H, T, D) each, views to be filled

    # 6. out = context.swapaxes(1, 2).reshape(B, T, C)
    dcontext = dout.reshape(*dout.shape[:-1], heads, -1).swapaxes(-3, -2)  # (..., B, H, T, D)

    # 5. context = dropped @ v
    dropped = probs if mask is None else probs * mask
    ddropped = xp.matmul(dcontext, xp.ascontiguousarray(v.swapaxes(2, 3)))  # (R, H, T, T), as in the forward
    xp.matmul(dropped.swapaxes(2, 3), dcontext, out=dv)  # (..., B, H, T, D)

    # 4. dropped = probs * mask
    dscores = ddropped if mask is None else ddropped * mask  # (R, H, T, T)

    # 3. probs = softmax(scale * scores + bias)
    backend.kernels.softmax_backward(dscores, probs, scale)  # (R, H, T, T), in place: nobody else holds it

    # 2. scores = q @ k.swapaxes(2, 3)
    xp.matmul(dscores, k, out=dq)  # (..., B, H, T, D)
    xp.matmul(dscores.swapaxes(-2, -1), q, out=dk)  # (..., B, H, T, D)

    # 1. q, k, v = heads of qkv: the views have filled dqkv
    return dqkv


def single_query_backward(dcontext, cache, positions):
    """Go back from one token's output alone, for each of R replicas: dcontext (B, R, C), positions (B, R) in [0, T).

    Only that token's query has a gradient. So of the scores' gradients one row is left, and the gradients of the keys and
    the values are outer products: head h gives dk_s = dscore_s * q and dv_s = prob_s * dcontext at token s. They are handed
    back as these factors, which are T times smaller than what they multiply out to: dq (B, R, H, D), and for keys and values
    the (over_tokens (B, R, 2H, T), over_channels (B, R, 2H, D)) of each head, keys first.
    """
    xp = backend.xp
    qkv, probs, heads, scale, _ = cache
    q, k, v = _heads(qkv, heads)  # (B, H, T, D) each
    query_row = xp.arange(len(positions))[:, None], positions

    # 6. out = context.swapaxes(1, 2).reshape(B, T, C)
    dcontext = dcontext.reshape(*dcontext.shape[:-1], heads, -1)  # (B, R, H, D)

    # 5. context = probs @ v
    row_probs = probs.swapaxes(1, 2)[query_row]  # (B, R, H, T)
    dscores = xp.matmul(dcontext.swapaxes(1, 2), v.swapaxes(2, 3))  # (B, H, R, T)
    dscores = xp.ascontiguousarray(dscores.swapaxes(1, 2))  # (B, R, H, T)

    # 3. probs = softmax(scale * scores + bias)
    backend.kernels.softmax_backward(dscores, row_probs, scale)  # (B, R, H, T), in place

    # 2. scores = q @ k.swapaxes(2, 3)
    dq = xp.matmul(dscores.swapaxes(1, 2), k).swapaxes(1, 2)  # (B, R, H, D)
    query = q.swapaxes(1, 2)[query_row]  # (B, R, H, D)
    return dq, xp.concatenate([dscores, row_probs], axis=2), xp.concatenate([query, dcontext], axis=2)


def _heads(qkv, heads):
    """View (B, T, 3C) as queries, keys and values (B, H, T, D)."""
    parts = qkv.reshape(*qkv.shape[:-1], 3, heads, -1)  # (..., T, 3, H, D)
    return tuple(parts[..., i, :, :].swapaxes(-3, -2) for i in range(3))
