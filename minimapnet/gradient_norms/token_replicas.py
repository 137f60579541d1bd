"""The way back from the last layer's attention to the embeddings, with one replica of a sentence for each masked token.

What comes out of the last layer's attention is dense, T rows of C channels for each replica, but of low rank. Only one query
was asked, so the keys' and the values' gradients are one outer product a head, and the queries' gradient and what bypasses
the attention are in one row. With u_k (T,) over the tokens and v_k (C,) over the channels,

    dx = sum_k u_k v_k^T = U^T V,    M = 2H + 1 terms, U (M, T), V (M, C).

A product with a weight goes to the V alone: M rows instead of T. That reaches through one more LayerNorm and linear layer,
the end of the layer below. LayerNorm's backward is dx' = rstd * (dxhat - mean(dxhat) - c * xhat) with dxhat = dx * w and
c = mean(dxhat * xhat). Scale the v_k by w and take their means away, and the first two terms are U^T V again; the third is
a number for each row times xhat, which all replicas of the sentence share:

    dx' = rstd * (U^T V - c * xhat),    dx' W^T = rstd * (U^T (V W^T) - c * (xhat W^T)).

GELU's slope then multiplies number by number, and the low rank ends.

Several sentences go together. Up to here, where products are small, a sentence's replicas are side by side, (S, R, ...), so
that they are the rows of one product with what the sentence holds. What is dense has the replicas first, (R, S, T, ...), and
the cache of the S sentences broadcasts against it.

Axis letters: S sentences, R replicas of each, M outer products of a replica, T tokens, C channels, F feed-forward, H heads,
D channels of a head.
"""

from minimapnet import backend
from minimapnet.backend import Array
from minimapnet.gradient_norms.ghost_norm import GradientNormAccumulator, factor, row_squares, squares, sum_rows
from minimapnet.model.attention import single_query_backward
from minimapnet.model.bert import Bert


def replicas_backward(model: Bert, dx: Array, dcontext: Array, positions: Array, cache, accumulator) -> None:
    """Go back from the last layer's attention to the embeddings with R replicas of each of S sentences.

    dx and dcontext (S, R, C) are the gradients of the last layer's input, past its attention, and of the attention's output,
    at positions (S, R) in [0, T); `cache` is the sentences', of (the encoder below the last layer, the last attention). The
    accumulator's units are (R, S).
    """
    (embedding_cache, caches), attention_cache = cache
    last = model.config.num_hidden_layers - 1
    u, v = _attention_query_backward(last, dx, dcontext, attention_cache, positions, accumulator)
    if not caches:
        model.embedding_backward(_multiplied_out(u, v), embedding_cache, accumulator)
        return
    top = len(caches) - 1
    dx = _topmost_dense_backward(model, top, u, v, caches[top], accumulator)  # (R, S, T, C)
    for i in reversed(range(top)):
        dx = _layer_backward(model, i, dx, caches[i], accumulator)  # (R, S, T, C)
    model.embedding_backward(dx, embedding_cache, accumulator)


def batch_size_that_fits(R, S, T, C, F) -> int:
    """Return how many of R replicas, of S sentences each, go through the feed-forward together.

    What is F wide lives for these alone: in the processor's cache, and in no more memory than attention needs for all.
    """
    return max(1, min(backend.kernels.PRODUCT_ELEMENTS // (S * T * F), 4 * C * R // (2 * F + 3 * C)))


def input_factors(caches):
    """Factor the inputs of the linear layers of `caches` for the norm accumulator: {layer: (B, min(T, C + 1), T)}."""
    factors = {}
    for i, (((qkv_x, _), _), ((out_x, _), *_), ffn_cache, *_) in enumerate(caches):
        (in_x, _), _, (feed_x, _), *_ = ffn_cache
        inputs = {"qkv": qkv_x, "attention_out": out_x, "feed_in": in_x, "feed_out": feed_x}
        factors |= {f"layer{i}.{name}": factor(x) for name, x in inputs.items()}
    return factors


def _attention_query_backward(i, dx, dcontext, cache, positions, accumulator) -> tuple[Array, Array]:
    """What `Bert.attention_backward` does, where of each replica one row is not zero: (S, R, C) -> u, v.

    The keys' and values' gradients are outer products, and go through the weight head by head. The squared norms are
    products of the squared norms of the factors. -> u (S, R, M, T), v (S, R, M, C).
    """
    xp = backend.xp
    (x, weight), attention_cache = cache
    S, T, C = x.shape
    query_row = xp.arange(S)[:, None], positions
    dq, over_tokens, over_channels = single_query_backward(dcontext, attention_cache, positions)
    _, R, H, D = dq.shape
    with_one = xp.concatenate([x, xp.ones((S, T, 1), x.dtype)], axis=2)  # (S, T, C + 1): the bias is the weight of a 1

    # |x^T dq| where dq is one row: rank one; |x^T dk| and |x^T dv|: each head |x^T over_tokens| |over_channels|
    of_query = row_squares(with_one[query_row]) * squares(dq)  # (S, R)
    summed = over_tokens.reshape(S, R * 2 * H, T) @ with_one  # (S, R*2H, C + 1)
    of_keys_values = row_squares(summed).reshape(S, R, 2 * H) * row_squares(over_channels)  # (S, R, 2H)
    accumulator.add(f"layer{i}.qkv", (of_query + of_keys_values.sum(axis=2)).T)

    # dx + dqkv @ W^T: the keys' and values' part head by head, then the query's row
    heads = weight[:, C:].reshape(C, 2 * H, D).transpose(1, 2, 0)  # (2H, D, C)
    by_head = xp.matmul(over_channels.reshape(S * R, 2 * H, D).swapaxes(0, 1), heads)  # (2H, S*R, C)
    u, v = xp.zeros((S, R, 2 * H + 1, T), x.dtype), xp.empty((S, R, 2 * H + 1, C), x.dtype)
    u[:, :, :-1] = over_tokens
    u[query_row[0], xp.arange(R), -1, positions] = 1
    v[:, :, :-1] = by_head.swapaxes(0, 1).reshape(S, R, 2 * H, C)
    v[:, :, -1] = dx + dq.reshape(S, R, C) @ weight[:, :C].T
    return u, v


def _layer_backward(model: Bert, i, dx, cache, accumulator) -> Array:
    """What `Bert.layer_backward` does, up to attention for some replicas at a time: dx (R, S, T, C), overwritten."""
    attention_cache, output_cache, ffn_cache, *_ = cache
    (R, S, T, C), F = dx.shape, ffn_cache[1].shape[-1]
    dcontext, parts, step = backend.xp.empty_like(dx), [], batch_size_that_fits(R, S, T, C, F)
    for start in range(0, R, step):
        chunk = slice(start, start + step)
        parts.append(GradientNormAccumulator(None, accumulator.tied, factors=accumulator.factors))
        d = model.ffn_backward(i, dx[chunk], ffn_cache, parts[-1])
        dx[chunk], dcontext[chunk] = model.attention_output_backward(i, d, output_cache, parts[-1])
    for name in parts[0].squares:
        accumulator.add(name, backend.xp.concatenate([part.squares[name] for part in parts]))
    return model.attention_backward(i, dx, dcontext, attention_cache, accumulator)  # (R, S, T, C)


def _topmost_dense_backward(model: Bert, i, u, v, cache, accumulator) -> Array:
    """What `Bert.layer_backward` does, for dx = u^T v, u (S, R, M, T), v (S, R, M, C) -> dx (R, S, T, C)."""
    attention_cache, output_cache, ffn_cache, *_ = cache
    dx = _ffn_backward(i, u, v, ffn_cache, accumulator)  # (R, S, T, C)
    dx, dcontext = model.attention_output_backward(i, dx, output_cache, accumulator)  # (R, S, T, C) each
    return model.attention_backward(i, dx, dcontext, attention_cache, accumulator)  # (R, S, T, C)


def _ffn_backward(i, u, v, cache, accumulator) -> Array:
    """What `Bert.ffn_backward` does, for dx = u^T v: u (S, R, M, T), v (S, R, M, C) -> (R, S, T, C)."""
    xp = backend.xp
    (x, in_weight), slope, (feed_x, feed_weight), _, norm_cache = cache  # slope (S, T, F)
    xhat, rstd, norm_weight = norm_cache  # (S, T, C), (S, T, 1), (C,)
    S, R, M, C = v.shape
    T, F = xhat.shape[1], len(feed_weight)

    # 3. x = norm(y + x): its scale's gradient is sum_t dx * xhat = sum_k v_k * (xhat^T u_k), its shift's sum_t dx
    scale = sum_rows((u.reshape(S, R * M, T) @ xhat).reshape(S, R, M, C) * v)  # (S, R, 1, C)
    shift = xp.matmul(u.sum(axis=3)[:, :, None], v)  # (S, R, 1, C)
    accumulator.add(f"layer{i}.feed_norm", (squares(scale) + squares(shift)).T)
    v = v * norm_weight
    v -= v @ xp.full((C, 1), 1 / C, v.dtype)  # the means
    agreement = (v.reshape(S, R * M, C) @ xhat.swapaxes(1, 2)).reshape(S, R, M, T)
    u = u * rstd.reshape(S, 1, 1, T)  # on the side that is narrow
    c = (u * agreement).sum(axis=2).swapaxes(0, 1)[..., None] / C  # (R, S, T, 1)
    dx = _multiplied_out(u, v)  # (R, S, T, C)
    dx -= c * xhat

    # 2. y = feed_out(gelu(y))
    accumulator.linear(f"layer{i}.feed_out", feed_x, dx)
    both = xp.concatenate([v.reshape(S, R * M, C), xhat], axis=1)  # (S, R*M + T, C): one product is faster than two
    through = both @ feed_weight.T  # (S, R*M + T, F)
    through, shared = through[:, :-T].reshape(S, R, M, F), through[:, -T:]
    tables, step = [], batch_size_that_fits(R, S, T, C, F)
    for start in range(0, R, step):
        chunk = slice(start, start + step)
        dy = _multiplied_out(u[:, chunk], through[:, chunk])  # (chunk, S, T, F)
        dy -= c[chunk] * shared
        dy *= slope

        # 1. y = feed_in(x)
        tables.append(accumulator.product_squares(f"layer{i}.feed_in", x, dy))
        dx[chunk] += (dy.reshape(-1, F) @ in_weight.T).reshape(-1, S, T, C)
    accumulator.add(f"layer{i}.feed_in", xp.concatenate(tables))
    return dx


def _multiplied_out(u: Array, v: Array) -> Array:
    """Return u^T v of each replica: u (S, R, M, T), v (S, R, M, C) -> (R, S, T, C)."""
    S, R, _, T = u.shape
    out = backend.xp.empty((R, S, T, v.shape[-1]), v.dtype)
    return backend.xp.matmul(u.transpose(1, 0, 3, 2), v.swapaxes(0, 1), out=out)
