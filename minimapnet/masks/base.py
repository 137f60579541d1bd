"""Masks as arrays: what every distribution over masks shares. The interface is described in `masks/__init__.py`.

Axis letters: S draws, B sentences, T positions of a sentence, K places for masked positions, padded with -1.
"""

import abc
import itertools
import math

import numpy

from minimapnet.errors import InputError

MOST_MASKS = 200_000  # that are listed one by one
SUM_TOLERANCE = 1e-9  # per position, of inclusion probabilities against a whole number


class MaskDistribution(abc.ABC):
    """A distribution over masks, one for each sentence of a batch; sentences are independent of each other.

    `maskable` (B, T) bool is true where a mask may fall; `k` (B,) int64 is the number of positions that it covers.
    """

    def __init__(self, maskable: numpy.ndarray, k: numpy.ndarray):
        self.maskable, self.k = maskable, k

    @abc.abstractmethod
    def sample(self, rng: numpy.random.Generator, size: int) -> numpy.ndarray:
        """Draw `size` masks of every sentence -> int64 positions (S, B, K), ascending, padded with -1."""

    @abc.abstractmethod
    def log_prob(self, positions) -> numpy.ndarray:
        """Return log P(mask) in nats for integer positions (..., B, K), in any order, padded with -1 -> (..., B).

        It is -inf for a mask that cannot occur. Raises InputError for positions that no mask has.
        """

    @abc.abstractmethod
    def inclusion_probabilities(self) -> numpy.ndarray:
        """Return the probability of every position to be masked -> (B, T), 0 where it is not maskable."""

    def members(self, positions) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return masks as bools and which of them can occur: positions (..., B, K) -> (..., B, T), (..., B).

        A mask can occur if all of its positions are maskable, and there are k of them.
        Raises InputError for positions of another shape, out of range or repeated.
        """
        chosen = indicators(positions, *self.maskable.shape)  # (..., B, T)
        possible = ~(chosen & ~self.maskable).any(axis=-1)  # (..., B)
        return chosen, possible & (chosen.sum(axis=-1) == self.k)


def maskable_positions(n) -> numpy.ndarray:
    """Return where a mask may fall as bool (B, T), from that array or from a number of positions: one sentence (1, n).

    Raises InputError for anything else, and for a sentence in which nothing is maskable.
    """
    maskable = numpy.asarray(n)
    if maskable.dtype.kind in "iu" and maskable.ndim == 0:
        maskable = numpy.ones((1, max(int(maskable), 0)), bool)
    if maskable.dtype != bool:
        raise InputError("give the number of positions, or an array (sentences, tokens) of bools, true where maskable")
    maskable = numpy.atleast_2d(maskable)
    if maskable.ndim != 2 or not len(maskable):
        raise InputError(f"maskable positions must be of shape (sentences, tokens), not {maskable.shape}")
    empty = ~maskable.any(axis=1)
    if empty.any():
        raise InputError(f"sentence {int(empty.argmax())} of the batch has no maskable position: leave it out")
    return maskable


def mask_sizes(k, maskable: numpy.ndarray) -> numpy.ndarray:
    """Return the number of positions to mask by sentence, int64 (B,), from one number or an array (B,).

    Raises InputError for numbers that are not whole, below 1, or above what the sentence has.
    """
    k = numpy.asarray(k)
    if k.dtype.kind not in "iu" or k.shape not in ((), (len(maskable),)):
        raise InputError("k must be a whole number, or one for each sentence")
    k = numpy.broadcast_to(k, len(maskable)).astype(numpy.int64)
    n = maskable.sum(axis=1)
    bad = (k < 1) | (k > n)
    if bad.any():
        b = int(bad.argmax())
        raise InputError(f"k must lie between 1 and the {n[b]} maskable positions of sentence {b}, but is {k[b]}")
    return k


def per_position(values, maskable, name: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return one number a position as float64 (B, T), and maskable (B, T); values (T,) are those of one sentence.

    `maskable` None means everywhere. Raises InputError for other shapes, and for NaN or infinity where maskable; what
    is elsewhere is of no concern.
    """
    values = numpy.atleast_2d(numpy.asarray(values, numpy.float64))
    maskable = maskable_positions(numpy.ones(values.shape, bool) if maskable is None else numpy.asarray(maskable))
    if values.shape != maskable.shape:
        raise InputError(f"{name} must be of the maskable positions' shape {maskable.shape}, not {values.shape}")
    bad = maskable & ~numpy.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in numpy.argwhere(bad)[0])
        raise InputError(f"{name} must be finite, but at {where} stands {values[where]}; leave positions out by `maskable`")
    return values, maskable


def checked_log_weights(values, maskable, name: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return log weights as `per_position` does, with -inf where nothing is maskable."""
    values, maskable = per_position(values, maskable, name)
    return numpy.where(maskable, values, -numpy.inf), maskable


def inclusion_targets(values, maskable) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Return wanted inclusion probabilities (B, T), 0 where not maskable, maskable (B, T), and their sums k (B,).

    Raises InputError where they are not above 0 and at most 1, or do not add up to a whole number.
    """
    values, maskable = per_position(values, maskable, "inclusion probabilities")
    bad = maskable & ((values <= 0) | (values > 1))
    if bad.any():
        where = tuple(int(i) for i in numpy.argwhere(bad)[0])
        raise InputError(f"inclusion probabilities must be above 0 and at most 1, but at {where} stands {values[where]}")
    values = numpy.where(maskable, values, 0.0)
    total = values.sum(axis=1)  # (B,)
    k = numpy.rint(total).astype(numpy.int64)
    bad = (numpy.abs(total - k) > SUM_TOLERANCE * values.shape[1]) | (k < 1)
    if bad.any():
        b = int(bad.argmax())
        raise InputError(f"inclusion probabilities must add up to a whole number k, but in sentence {b} to {total[b]}")
    return values, maskable, k


def indicators(positions, B: int, T: int) -> numpy.ndarray:
    """Return masks as bools: integer positions (..., B, K) padded with -1 -> (..., B, T).

    Raises InputError for positions of another shape, out of range or repeated in one mask.
    """
    positions = numpy.asarray(positions)
    if positions.dtype.kind not in "iu" or positions.ndim < 2 or positions.shape[-2] != B:
        raise InputError(f"positions must be integers of shape (..., {B}, masked), not {positions.dtype} {positions.shape}")
    if positions.size and (positions.min() < -1 or positions.max() >= T):
        raise InputError(f"positions must lie between 0 and {T - 1}, or be -1 for none")
    chosen = numpy.zeros((*positions.shape[:-1], T + 1), bool)
    numpy.put_along_axis(chosen, positions.astype(numpy.int64), True, axis=-1)  # -1 falls into the last place, T
    chosen = chosen[..., :T]  # (..., B, T)
    if chosen.sum() != (positions != -1).sum():
        raise InputError("a position stands twice in one mask")
    return chosen


def positions_of(chosen: numpy.ndarray, width: int) -> numpy.ndarray:
    """Return masks as positions, ascending.

    chosen bool (S, B, T), at most `width` of them true in a row -> int64 (S, B, width).
    """
    positions = numpy.full((*chosen.shape[:-1], width), -1, numpy.int64)
    s, b, t = numpy.nonzero(chosen)  # row by row, ascending in t
    positions[s, b, (numpy.cumsum(chosen, axis=-1) - 1)[s, b, t]] = t
    return positions


def first_of(order: numpy.ndarray, k: numpy.ndarray) -> numpy.ndarray:
    """Return the first k (B,) of positions put in order (S, B, K) as a mask: ascending, padded with -1."""
    beyond = numpy.iinfo(order.dtype).max
    mask = numpy.sort(numpy.where(numpy.arange(order.shape[-1]) < k[:, None], order, beyond), axis=-1)
    return numpy.where(mask == beyond, -1, mask)


def draw_in_order(rng: numpy.random.Generator, size: int, joins: numpy.ndarray, k: numpy.ndarray) -> numpy.ndarray:
    """Decide position by position, from the first to the last, whether it joins the mask -> positions (S, B, K).

    joins (T, B, K+1) is the probability that position t joins when j more are needed: 0 at j = 0, and 1 where only j are
    left, so that every mask is complete.
    """
    T, B, width = joins.shape
    positions = numpy.full(size * B * (width - 1), -1, numpy.int64)
    place = numpy.arange(size * B) * (width - 1)  # where the mask's next position is written
    needed = numpy.tile(numpy.arange(B) * width + k, size)  # (S*B,), as places in joins[t]
    for t in range(T):
        new = numpy.flatnonzero(rng.random(size * B) < joins[t].reshape(-1)[needed])
        positions[place[new]] = t
        place[new] += 1
        needed[new] -= 1
    return positions.reshape(size, B, width - 1)


def all_masks(n: int, k: int) -> numpy.ndarray:
    """List all masks of k out of n positions -> int64 (C(n, k), k), in lexicographic order.

    Raises InputError where there are more than MOST_MASKS.
    """
    count = math.comb(n, k)
    if count > MOST_MASKS:
        raise InputError(
            f"there are {count} masks of {k} out of {n} positions, more than the {MOST_MASKS} that can be listed"
        )
    return numpy.array(list(itertools.combinations(range(n), k)), numpy.int64).reshape(count, k)
