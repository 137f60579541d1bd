"""What a new BERT's parameters begin as: "mimetic", from which small models learn soon, or "random", as published.

With every weight random a small BERT first learns how often each token occurs, and stays for thousands of steps at this
*unigram plateau*: before a neighbour can help a guess attention has to find it, and with a random position table "the token
before" is as many facts to learn by heart as there are positions. "mimetic" begins with what trained BERTs come to: heads
that look at the token before, at the one after, and so on (Clark et al. 2019, arXiv 1906.04341). The name is that of
Trockman and Kolter 2023, arXiv 2305.09828, whose queries and keys begin alike too; sinusoids are those of Vaswani et al.
2017, arXiv 1706.03762, section 3.5, with other frequencies. The model and the form of its parameters are unchanged.

1. Positions are sinusoids, in the first D channels; the other channels of the position table begin at 0, and leave words
   unmixed. The two channels of pair i, at position t, are up to a common factor

       p_t = (cos w_i t, sin w_i t)

   so that p_(t+d) = R_d p_t, where R_d turns each pair by the angle w_i d: one matrix for all t. "The token at distance d"
   is a rotation. And p_s . p_t = sum_i cos w_i (s - t) depends on the distance alone. The mean of cos w d over all w from 0
   to pi is 1 for d = 0 and 0 for every other whole d. So the m pairs take their frequencies from all of that range, one at
   random from each m-th part of it: p_s and p_t are then nearly orthogonal, neighbours too, and no distance repeats.

2. All heads of layer 0 read these D channels. Keys are c x_s, and queries c R_d x_t, turned by each head's own offset d, so
   that the score of query t for key s is

       c^2 / sqrt(D) (R_d x_t) . x_s

   over these channels. x is the sum of word, token type and position after LayerNorm: words and token types have equal
   size, positions RATIO times that, and the squares of all C channels sum up to C. So |p_t|^2 is C r with r = RATIO^2 / (2
   + RATIO^2). It lies in D channels where the words have only D/C of theirs, and words at different places are nearly
   orthogonal: the score is about c^2 C r / sqrt(D) where s = t + d, and about 0 elsewhere; c makes the former SCORE.

3. In the layers above the first, the projections back to the residual stream are SMALL times as large as in "random": the
   model begins nearly without these layers, and what layer 0 gathers reaches the masked-language-model head. Without that,
   models of four layers stay on the plateau even so.

Axis letters: P positions, C channels, H heads, D channels per head, m = D // 2 pairs of channels.
"""

import math

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.model.config import BertConfig

INITS = ("mimetic", "random")
RATIO = 0.7  # of the position vectors' size to the word vectors'
SCORE = 7.5  # of a token for the one at its head's offset
SMALL = 0.1


def initialise(params: dict, config: BertConfig, seed: int, init: str) -> None:
    """Fill a BERT's parameters: "random" or "mimetic", the same on every backend.

    "random" draws weights and tables from N(0, initializer_range^2), each by a generator of its own, and sets biases to 0,
    scales to 1. "mimetic" then changes positions, layer 0's queries and keys, and the size of the upper layers' projections.

    Raises InputError for another name.
    """
    if init not in INITS:
        raise InputError(f"init {init!r} is not one of {', '.join(INITS)}")
    values = {name: _drawn(name, view.shape, config, seed) for name, view in params.items()}
    if init == "mimetic":
        _look_at_neighbours(values, config, frequencies(config, seed))
        for i in range(1, config.num_hidden_layers):
            values[f"layer{i}.attention_out.weight"] *= SMALL
            values[f"layer{i}.feed_out.weight"] *= SMALL
    for name, view in params.items():
        view[...] = backend.to_device(values[name].astype(config.dtype))


def _drawn(name: str, shape: tuple[int, ...], config: BertConfig, seed: int) -> numpy.ndarray:
    """Return the random values of one parameter, float64 on the host."""
    if len(shape) > 1:
        return backend.generator(seed, f"initialise/{name}").standard_normal(shape) * config.initializer_range
    return numpy.full(shape, 1.0 if name.endswith("norm.weight") else 0.0)


def _look_at_neighbours(values: dict[str, numpy.ndarray], config: BertConfig, w: numpy.ndarray) -> None:
    """Write sinusoids of the frequencies w (m,) to the position table, and layer 0's queries and keys that go with them.

    Where heads have a single channel, there is no pair to turn, and all stays random.
    """
    C, H = config.hidden_size, config.num_attention_heads
    D, paired = C // H, 2 * len(w)  # channels of a head, and those that are in pairs
    if not paired:
        return
    # 1. positions: the squares of cosines and sines are 1/2 on average
    size = RATIO * config.initializer_range * math.sqrt(2 * C / paired)
    table = values["position_embedding"]  # (P, C)
    table[:] = 0.0
    table[:, :paired] = size * sinusoids(numpy.arange(len(table)), w)

    # 2. queries and keys of each head
    c = math.sqrt(SCORE * math.sqrt(D) * (2 + RATIO**2) / (C * RATIO**2))
    queries, keys = (values["layer0.qkv.weight"][:, at : at + C].reshape(C, H, D) for at in (0, C))  # views
    queries[:], keys[:] = 0.0, 0.0
    for head, offset in enumerate(offsets(H)):
        keys[:paired, head, :paired] = c * numpy.eye(paired)
        queries[:paired, head, :paired] = c * rotated(numpy.eye(paired), w, offset)  # x_t @ this = c R_d x_t


def frequencies(config: BertConfig, seed: int) -> numpy.ndarray:
    """Return w_i (m,), m being half of a head's channels: one from each m-th part of 0 to pi, at random."""
    m = config.hidden_size // config.num_attention_heads // 2
    within = backend.generator(seed, "initialise/frequencies").random(m)
    return math.pi * (numpy.arange(m) + within) / max(1, m)


def offsets(heads: int) -> list[int]:
    """Return the offset that each head of layer 0 looks at: -1, +1, -2, +2, and so on."""
    return [(head // 2 + 1) * (1 if head % 2 else -1) for head in range(heads)]


def sinusoids(t: numpy.ndarray, w: numpy.ndarray) -> numpy.ndarray:
    """Return p_t for positions t (P,) and frequencies w (m,) -> (P, 2m), a cosine beside each sine."""
    angles = numpy.asarray(t)[:, None] * w  # (P, m)
    return numpy.stack([numpy.cos(angles), numpy.sin(angles)], axis=-1).reshape(len(angles), -1)


def rotated(x: numpy.ndarray, w: numpy.ndarray, offset: int) -> numpy.ndarray:
    """Return R_d x for rows x (N, 2m): each pair of channels turned by its frequency, of w (m,), times the offset d."""
    pairs = x.reshape(len(x), -1, 2)  # (N, m, 2)
    cos, sin = numpy.cos(w * offset), numpy.sin(w * offset)  # (m,)
    turned = pairs[..., 0] * cos - pairs[..., 1] * sin, pairs[..., 0] * sin + pairs[..., 1] * cos
    return numpy.stack(turned, axis=-1).reshape(x.shape)
