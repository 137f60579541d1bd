"""The way back from the last layer's attention to the embeddings, with one replica of a sentence for each masked token.

What comes out of the last layer's attention is dense, T rows of C channels for each replica, but of low rank. Only one query
was asked, so the keys' and the values' gradients are one outer product a head, and the queries' gradient and what bypasses
the attention lie in one row. With u_k (T,) over the tokens and v_k (C,) over the channels,

    dx = sum_k u_k v_k^T = U^T V,    M = 2H + 1 terms, U (M, T), V (M, C).

A product with a weight goes to the V alone: M rows instead of T. That reaches through one more LayerNorm and linear layer,
the end of the layer below. LayerNorm's backward is dx' = rstd * (dxhat - mean(dxhat) - c * xhat) with dxhat = dx * w and
c = mean(dxhat * xhat). Scale the v_k by w and take their means away, and the first two terms are U^T V again; the third is
a number for each row times xhat, which all replicas of the sentence share:

    dx' = rstd * (U^T V - c * xhat),    dx' W^T = rstd * (U^T (V W^T) - c * (xhat W^T)).

GELU's slope then multiplies number by number, and the low rank ends.

Axis letters: R replicas, M outer products of a replica, T tokens, C channels, F feed-forward, H heads, D channels of a head.
"""

from minimapnet import backend
from minimapnet.model.attention import attention_row_backward
from minimapnet.model.norm_reader import factor, squares, sum_rows


def replicas_backward(model, dx, dmixed, rows, cache, reader):
    """Go back from the last layer's attention to the embeddings with R replicas of one sentence.

    dx and dmixed (R, C) are what reaches the last layer's input directly and through its attention, at the places rows (R,),
    counted through whole sentences; `cache` is the sentence's, of (the encoder below the last layer, the last attention).
    """
    below, mixing_cache = cache
    embedding_cache, caches = below
    u, v = _mixing_row_backward(model.config.num_hidden_layers - 1, dx, dmixed, mixing_cache, rows, reader)
    if not caches:
        model.embedding_backward(_multiplied_out(u, v), embedding_cache, reader)
        return
    i = len(caches) - 1
    mixing_cache, tokenwise_cache, _, _ = caches[i]
    dx, dy = _feed_end_backward(i, u, v, tokenwise_cache, reader)  # (R, T, C), (R, T, F)
    dx, dmixed = model.feed_start_backward(i, dx, dy, tokenwise_cache, reader)  # (R, T, C) each
    dx += model.mixing_backward(i, dmixed, mixing_cache, reader)
    model.encoder_backward(dx, (embedding_cache, caches[:i]), reader)


def input_factors(caches):
    """Factor the inputs of the linear layers of `caches` for the norm reader: {layer: (B, min(T, C + 1), T)}."""
    factors = {}
    for i, (((qkv_x, _), _), tokenwise_cache, _, _) in enumerate(caches):
        ((out_x, _), *_), (in_x, _), _, (feed_x, _), *_ = tokenwise_cache
        inputs = {"qkv": qkv_x, "attention_out": out_x, "feed_in": in_x, "feed_out": feed_x}
        factors |= {f"layer{i}.{name}": factor(x) for name, x in inputs.items()}
    return factors


def _mixing_row_backward(i, dx, dmixed, cache, rows, reader):
    """What `Bert.mixing_backward` and the sum after it do, where of each replica one row is not zero: (R, C) -> u, v.

    The keys' and values' gradients are outer products, and go through the weight head by head. The squared norms are
    products of the squared norms of the factors. -> u (R, M, T), v (R, M, C).
    """
    xp = backend.xp
    (x, weight), attention_cache = cache
    T, C = x.shape[1:]
    places = rows % T  # (R,), in the sentence
    dq, over_tokens, over_channels = attention_row_backward(dmixed, attention_cache, places)
    R, H, D = dq.shape
    with_one = xp.concatenate([x[0], xp.ones((T, 1), x.dtype)], axis=1)  # (T, C + 1): the bias is the weight of a 1

    # |x^T dq| where dq is one row: rank one; |x^T dk| and |x^T dv|: each head |x^T over_tokens| |over_channels|
    asking = squares(with_one[places]) * squares(dq)  # (R,)
    summed = over_tokens.reshape(R * 2 * H, T) @ with_one  # (R*2H, C + 1)
    answering = squares(summed) * squares(over_channels.reshape(R * 2 * H, D))  # (R*2H,)
    reader.add(f"layer{i}.qkv", asking + answering.reshape(R, 2 * H).sum(axis=1))

    # dx + dqkv @ W^T: the keys' and values' part head by head, then the row at the place
    heads = weight[:, C:].reshape(C, 2 * H, D).transpose(1, 2, 0)  # (2H, D, C)
    u, v = xp.zeros((R, 2 * H + 1, T), x.dtype), xp.empty((R, 2 * H + 1, C), x.dtype)
    u[:, :-1] = over_tokens
    u[xp.arange(R), -1, places] = 1
    v[:, :-1] = xp.matmul(over_channels.swapaxes(0, 1), heads).swapaxes(0, 1)  # (R, 2H, C)
    v[:, -1] = dx + dq.reshape(R, C) @ weight[:, :C].T
    return u, v


def _feed_end_backward(i, u, v, cache, reader):
    """What `Bert.feed_end_backward` does, for dx = u^T v: u (R, M, T), v (R, M, C) -> dx (R, T, C), dy (R, T, F)."""
    xp = backend.xp
    _, _, slope, (feed_x, feed_weight), _, norm_cache = cache  # slope (1, T, F)
    (xhat,), (rstd,), norm_weight = norm_cache  # (T, C), (T, 1), (C,)
    R, M, C = v.shape
    T, F = len(xhat), len(feed_weight)

    # 3. x = norm(y + x): its scale's gradient is sum_t dx * xhat = sum_k v_k * (xhat^T u_k), its shift's sum_t dx
    scale = sum_rows((u.reshape(R * M, T) @ xhat).reshape(R, M, C) * v)  # (R, C)
    shift = xp.matmul(u.sum(axis=2)[:, None], v)  # (R, 1, C)
    reader.add(f"layer{i}.feed_norm", squares(scale) + squares(shift))
    v = v * norm_weight
    v -= v @ xp.full((C, 1), 1 / C, v.dtype)  # the means
    agreement = (v.reshape(R * M, C) @ xhat.T).reshape(R, M, T)
    u = u * rstd[:, 0]  # on the side that is narrow
    c = (u * agreement).sum(axis=1)[:, :, None] / C  # (R, T, 1)
    dx = _multiplied_out(u, v)  # (R, T, C)
    dx -= c * xhat

    # 2. y = feed_out(gelu(y))
    reader.linear(f"layer{i}.feed_out", feed_x, dx)
    through = xp.concatenate([v.reshape(R * M, C), xhat]) @ feed_weight.T  # (R*M + T, F): one product is faster than two
    dy = _multiplied_out(u, through[:-T].reshape(R, M, F))  # (R, T, F)
    dy -= c * through[-T:]
    dy *= slope
    return dx, dy


def _multiplied_out(u, v):
    """Give u^T v of each replica: u (R, M, T), v (R, M, C) -> (R, T, C)."""
    return backend.xp.matmul(u.swapaxes(1, 2), v)
