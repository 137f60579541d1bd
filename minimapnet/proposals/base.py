"""What a proposal is to a trainer, and what all proposals share. The kinds are listed in `proposals.py`.

Axis letters: B sentences, T positions, K places for masked positions, N rows of what is drawn.
"""

import abc
from dataclasses import dataclass, field, replace

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.base import mask_sizes, maskable_positions


@dataclass(frozen=True)
class MaskBatch:
    """Masks and weights for `gradients`, all on the host.

    positions (N, K) int64, padded with -1; weights (N, K) float64, 0 where padded: the importance weight of the mask over
    its number of positions, or Horvitz and Thompson's weight of each position. `ids` (N, T) and `attention_mask` (N, T) are
    those of the rows where they are not the batch as it was given, with N = B, and else None (so is an attention_mask that
    was not given). `diagnostics` as of `weight_diagnostics` and, where masks or positions are scored, `tau`. `kept` (N,)
    says which of a pool's candidates each row is, counted sentence by sentence; None where there is no pool.
    """

    positions: numpy.ndarray
    weights: numpy.ndarray
    diagnostics: dict[str, float] = field(default_factory=dict)
    ids: numpy.ndarray | None = None
    attention_mask: numpy.ndarray | None = None
    kept: numpy.ndarray | None = None


class Proposal(abc.ABC):
    """Draws masks for the sentences of a batch, with the weights under which gradients are estimates.

    `unbiased` says whether `gradients(model, ids, positions, weights, attention_mask)` of what is drawn has exactly the
    gradient of the uniform objective as its expectation: the mean over the batch's sentences of E_{M ~ uniform k-sets} l(M).
    `wants_norms` says whether it learns: then `learn` is called after every `learn_every`-th step of training.
    """

    unbiased: bool
    wants_norms: bool = False
    learn_every: int = 1

    @abc.abstractmethod
    def draw(self, model, ids, rng: numpy.random.Generator, maskable=None, attention_mask=None) -> MaskBatch:
        """Draw masks for ids (B, T), the *unmasked* tokens on the host.

        `maskable` bool (B, T) is true where a mask may fall, by default where `attention_mask` (B, T) is 1, or everywhere.
        All that is random comes from `rng`.

        Raises InputError for a sentence with nothing to mask, k above its number of maskable positions, maskable padding,
        and scores that are not positive.
        """

    def learn(self, norms: numpy.ndarray, lr_scale: float = 1.0) -> dict[str, float]:
        """Learn from the last draw: norms (N,), on the host, are those of the gradients of its rows' own weighted losses.

        `lr_scale` is the model's learning rate as a share of its peak. Returns what a log should say of it.
        """
        return {}

    def state(self) -> dict[str, numpy.ndarray]:
        """Give, on the host, all that a resumed run needs beside what the proposal was made from."""
        return {}

    def load_state(self, state: dict[str, numpy.ndarray]) -> None:
        """Go on from what `state` gave. Raises InputError where it is another kind's."""
        if state:
            raise InputError(f"{type(self).__name__} learns nothing, but is given {', '.join(state)} to go on from")


def checked_batch(ids, maskable, attention_mask) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return ids (B, T) on the host, and where a mask may fall as bool (B, T).

    Raises InputError for other shapes, a sentence with nothing to mask, and padding that is maskable.
    """
    ids = backend.to_host(ids)
    if ids.ndim != 2:
        raise InputError(f"token ids must be of shape (sentences, tokens), not {ids.shape}")
    tokens = numpy.ones(ids.shape, bool) if attention_mask is None else backend.to_host(attention_mask) == 1
    maskable = maskable_positions(tokens if maskable is None else backend.to_host(maskable))
    for name, array in (("attention_mask", tokens), ("maskable", maskable)):
        if array.shape != ids.shape:
            raise InputError(f"{name} must be of the ids' shape {ids.shape}, not {array.shape}")
    padding = (maskable & ~tokens).any(axis=1)
    if padding.any():
        raise InputError(f"padding of sentence {int(padding.argmax())} is said to be maskable: only tokens can be masked")
    return ids, maskable


def sizes(k, maskable: numpy.ndarray) -> numpy.ndarray:
    """Return the number of positions to mask by sentence, int64 (B,).

    k is that number, or one for each sentence; or, as a float below 1, a share of the maskable positions (rounded, at least
    1). Raises InputError for others, naming the first sentence that has fewer maskable positions.
    """
    if not isinstance(k, float):
        return mask_sizes(k, maskable)
    if not 0 < k < 1:
        raise InputError(f"k must be a whole number of positions, or a share of them between 0 and 1, not {k}")
    return numpy.maximum(1, numpy.rint(k * maskable.sum(axis=1)).astype(numpy.int64))


def split_weight_over_positions(importance: numpy.ndarray, positions: numpy.ndarray) -> numpy.ndarray:
    """Share each mask's importance weight among its positions: (N,), (N, K) -> weights (N, K), 0 where padded."""
    masked = positions != -1
    return masked * (importance / masked.sum(axis=1))[:, None]


def with_rows(drawn: MaskBatch, ids: numpy.ndarray, attention_mask, sentences: numpy.ndarray) -> MaskBatch:
    """Add to what is drawn the ids and attention mask of its rows, row r being a mask of sentence sentences[r]: int (N,)."""
    chosen = None if attention_mask is None else backend.to_host(attention_mask)[sentences]
    return replace(drawn, ids=ids[sentences], attention_mask=chosen)


def weight_diagnostics(importance: numpy.ndarray) -> dict[str, float]:
    """Return how uneven the importance weights (N,) of a draw are.

    effective_sample_size is (sum w)^2 / (N sum w^2), the share of the N that equal weights would need for the same variance
    (Kish 1965, Survey Sampling): 1 where they are equal. largest_weight is 1 for every mask of the base distribution.
    """
    total, squares = importance.sum(), (importance * importance).sum()
    share = float(total * total / (importance.size * squares))
    return {"effective_sample_size": share, "largest_weight": float(importance.max())}


def tau(scores: numpy.ndarray, among: numpy.ndarray | None = None) -> float:
    """Return sqrt(E s^2) / E s of the scores (B, M) of each sentence, its square averaged over sentences: at least 1.

    `among` (B, M) says which scores exist, None for all. Were the scores the norms, tau^2 would be the factor by which
    drawing in proportion to them lowers the second moment, so 1 says that there is nothing to gain.
    Source: Katharopoulos and Fleuret 2018, arXiv 1803.00942, section 3.3.
    """
    among = numpy.ones(scores.shape, bool) if among is None else among
    count, kept = among.sum(axis=1), numpy.where(among, scores, 0.0)
    return float(numpy.sqrt(numpy.mean(count * (kept * kept).sum(axis=1) / kept.sum(axis=1) ** 2)))


def checked_scores(scores, shape: tuple[int, ...], among: numpy.ndarray | None = None) -> numpy.ndarray:
    """Return scores as float64 on the host, 0 where they are not `among` (of that shape) those that count, None for all.

    Raises InputError for another shape, and for scores that are not positive and finite where they count.
    """
    scores = backend.to_host(scores).astype(numpy.float64)
    if scores.shape != shape:
        raise InputError(f"scores must be of shape {shape}, not {scores.shape}")
    bad = ~((scores > 0) & (scores < numpy.inf))
    if among is not None:
        bad &= among
    if bad.any():
        where = tuple(int(i) for i in numpy.argwhere(bad)[0])
        raise InputError(
            f"scores must be positive and finite, but at {where} stands {scores[where]}: is the loss finite and above 0?"
        )
    return scores if among is None else numpy.where(among, scores, 0.0)


def checked_share(share: float, what: str) -> float:
    """Return a number from 0 to 1. Raises InputError for others."""
    if not 0 <= share <= 1:
        raise InputError(f"{what} must lie between 0 and 1, not {share}")
    return float(share)
