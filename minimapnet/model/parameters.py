"""The table of a BERT's parameters, and the one flat buffer that they all are in."""

import math
import os
import sys

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.model.config import BertConfig

# Every parameter, its shape and what it is. Weights are (in, out), so that a layer reads y = x @ W + b.
#
#   word_embedding             (V, C)   a row a token; also the decoder's weight where they are tied
#   position_embedding         (P, C)   a row a place in the sentence
#   type_embedding             (Y, C)   a row a token type: first or second sentence
#   embedding_norm             (C,)     LayerNorm over the sum of the three
#   layer<i>.qkv               (C, 3C)  queries, keys and values side by side, each C = H heads of D
#   layer<i>.attention_out     (C, C)   from the heads' outputs back to the stream
#   layer<i>.attention_norm    (C,)     LayerNorm after attention and its residual
#   layer<i>.feed_in           (C, F)   up, then GELU
#   layer<i>.feed_out          (F, C)   down
#   layer<i>.feed_norm         (C,)     LayerNorm after the feed-forward and its residual
#   head.transform             (C, C)   then GELU
#   head.norm                  (C,)     LayerNorm
#   head.decoder.weight        (V, C)   only where it is not tied to word_embedding
#   head.decoder.bias          (V,)
#
# A linear layer has a .weight and a .bias (out,); a LayerNorm a .weight (scale) and a .bias (shift), both (C,).


def parameter_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter by name, in the order of the forward pass."""
    V, C, F = config.vocab_size, config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "word_embedding": (V, C),
        "position_embedding": (config.max_position_embeddings, C),
        "type_embedding": (config.type_vocab_size, C),
    }

    def linear(name, inputs, outputs):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (inputs, outputs), (outputs,)

    def norm(name):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (C,), (C,)

    norm("embedding_norm")
    for i in range(config.num_hidden_layers):
        linear(f"layer{i}.qkv", C, 3 * C)
        linear(f"layer{i}.attention_out", C, C)
        norm(f"layer{i}.attention_norm")
        linear(f"layer{i}.feed_in", C, F)
        linear(f"layer{i}.feed_out", F, C)
        norm(f"layer{i}.feed_norm")
    if config.mlm_head:
        linear("head.transform", C, C)
        norm("head.norm")
        if not config.tie_word_embeddings:
            shapes["head.decoder.weight"] = (V, C)
        shapes["head.decoder.bias"] = (V,)
    return shapes


def flat_order(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Return the names as they are in the flat buffer: weights and tables first, since weight decay is theirs alone."""
    return sorted(shapes, key=lambda name: len(shapes[name]) == 1)


def decayed_size(shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the number of values at the start of the flat buffer that weight decay acts on.

    These are all but biases and LayerNorms.
    """
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) > 1)


def flat_views(flat, shapes: dict[str, tuple[int, ...]]) -> dict:
    """View a flat buffer as {name: array}, in the order of `shapes`; writing to a view writes to the buffer."""
    views, start = {}, 0
    for name in flat_order(shapes):
        size = math.prod(shapes[name])
        views[name] = flat[start : start + size].reshape(shapes[name])
        start += size
    return {name: views[name] for name in shapes}


def empty_flat(shapes: dict[str, tuple[int, ...]], dtype: str):
    """Return an uninitialised flat buffer for these shapes, on the device in use.

    Raises InputError where it is larger than the host's memory: the system would promise it, and end the process later.
    """
    size = sum(map(math.prod, shapes.values()))
    needed, there = size * numpy.dtype(dtype).itemsize, _host_memory()
    if needed > there:
        raise InputError(
            f"{size:,} parameters take {needed >> 30:,} GiB, and there are {there >> 30:,}: make the model smaller"
        )
    return backend.xp.empty(size, dtype)


def _host_memory() -> int:
    """Return the bytes of the host's memory, more than any has where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize
