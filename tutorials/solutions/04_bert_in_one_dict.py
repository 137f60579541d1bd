"""Solutions to the exercises of step 4, the whole BERT in one dict."""

import numpy


def set_to_unigram(model, counts):
    """Change `model` in place such that it guesses every token by its count, counts (V,), whatever the sentence.

    The decoder gets h = xhat * scale + shift from the head's LayerNorm. With both 0 nothing of the sentence is left, the
    logits are the decoder's bias alone, and softmax(log n) = n / sum n.
    """
    model.params["head.norm.weight"][:] = 0
    model.params["head.norm.bias"][:] = 0
    model.params["head.decoder.bias"][:] = numpy.log(counts)


def tied_gradient(ids, dx, h, dlogits):
    """Return the word embedding's gradient (V, C): what the lookups bring and what the decoder brings.

    ids (B, T), dx (B, T, C), h (N, C), dlogits (N, V). The decoder is logits = h E^T, so its dE^T = h^T dlogits.
    `numpy.add.at` adds up where an id occurs several times; `dE[ids] += dx` would keep one of them.
    """
    dE = dlogits.T @ h  # (V, C)
    numpy.add.at(dE, ids.reshape(-1), dx.reshape(-1, dx.shape[-1]))
    return dE


def fill_in(model, ids):
    """Fill the [MASK]s of ids (T,) one at a time, the surest guess first -> (the filled ids (T,), the places in order)."""
    mask = model.config.mask_token_id
    filled, order = numpy.array(ids), []
    while (filled == mask).any():
        logits = model.logits(filled[None])[0].astype(numpy.float64)  # (T, V)
        probabilities = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # (T, V)
        probabilities[filled != mask] = -1  # nothing to guess there
        probabilities[:, mask] = -1
        place, token = numpy.unravel_index(probabilities.argmax(), probabilities.shape)
        filled[place] = token
        order.append(int(place))
    return filled, order
