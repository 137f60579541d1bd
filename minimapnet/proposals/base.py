"""What a proposal and a score are, and what all proposals share. The kinds are listed in `proposals/__init__.py`.

Axis letters: B sentences, T positions, K places for masked positions, M candidates of a sentence, N rows of what is drawn.
"""

import abc
from dataclasses import dataclass, field
from typing import Any

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.base import mask_sizes, maskable_positions

LOWEST = -600.0  # of log scores relative to the largest: exp of it is still above 0


@dataclass(frozen=True)
class Scores:
    """The scores of the candidates of every sentence, masks or positions, float64 (B, M) on the host.

    They are positive, or with `log` their logarithms, which may be further apart than floats can be. `cache` is what the
    score needs to learn from a draw, or None.
    """

    values: numpy.ndarray
    log: bool = False
    cache: Any = None

    def relative(self, groups: int | None = None) -> numpy.ndarray:
        """Return positive scores (B, M), of which only the ratios within a row count; `groups` 1 puts all into one row."""
        values = self.values if groups is None else self.values.reshape(groups, -1)
        if not self.log:
            return values
        return numpy.exp(numpy.maximum(values - values.max(axis=-1, keepdims=True), LOWEST))


class Score(abc.ABC):
    """How large a mask's gradient is, or may be: what proposals draw by. One that learns does so along with the model."""

    learns: bool = False
    learn_every: int = 1  # steps

    @abc.abstractmethod
    def of_masks(self, model, ids, masks, attention_mask=None) -> Scores:
        """Return the scores (B, M) of masks (B, M, K), padded with -1, of the *unmasked* sentences ids (B, T)."""

    @abc.abstractmethod
    def of_positions(self, model, ids, maskable, attention_mask=None) -> Scores:
        """Return the scores (B, T) of the positions of ids (B, T), each masked alone; any where not maskable (B, T)."""

    def learn(self, batch: "MaskBatch", norms: numpy.ndarray, lr_scale: float) -> dict[str, float]:
        """Learn as `Proposal.learn` says."""
        return {}

    def state(self) -> dict[str, numpy.ndarray]:
        """Return, on the host, all that a resumed run needs beside what the score was made from."""
        return {}

    def load_state(self, state: dict[str, numpy.ndarray]) -> None:
        """Go on from what `state` returned. Raises InputError where it is another kind's."""
        if state:
            raise InputError(f"{type(self).__name__} learns nothing, but is given {', '.join(state)} to go on from")


@dataclass(frozen=True)
class Choice:
    """Of which candidates the rows of a draw were chosen: q = (1 - uniform_mix) score / sum of scores + uniform_mix / count.

    `selected` (N,) says which each row is, counted sentence by sentence in range(B*M), or is None where a row is no single
    candidate but several positions. The sums run over the candidates that compete: B `groups`, a sentence each, or one.
    """

    scores: Scores
    groups: int
    uniform_mix: float
    selected: numpy.ndarray | None = None


@dataclass(frozen=True)
class MaskBatch:
    """Masks and weights for `gradients`, all on the host.

    ids (N, T) and attention_mask (N, T) or None are those of the rows, row r being a mask of sentence sentences[r] (N,) of
    the batch given. positions (N, K) int64 are padded with -1; weights (N, K) float64, 0 where padded, are the importance
    weight of the mask over its number of positions, or Horvitz and Thompson's weight of each position. `diagnostics` as of
    `weight_diagnostics` and, where masks or positions are scored, `tau`. `choice` is None where nothing is scored. inputs
    (N, T) are what the model reads, or None where that is [MASK] at every masked position.
    """

    ids: numpy.ndarray
    attention_mask: numpy.ndarray | None
    positions: numpy.ndarray
    weights: numpy.ndarray
    sentences: numpy.ndarray
    diagnostics: dict[str, float] = field(default_factory=dict)
    choice: Choice | None = None
    inputs: numpy.ndarray | None = None


class Proposal(abc.ABC):
    """Draws masks for the sentences of a batch, with the weights under which gradients are estimates.

    `unbiased` says whether `gradients(model, ids, positions, weights, attention_mask)` of what is drawn has exactly the
    gradient of the uniform objective as its expectation: the mean over the batch's sentences of E_{M ~ uniform k-sets} l(M).
    `score` is what it draws by, or None. Where that learns, `learn` is called after every `score.learn_every`-th step.
    """

    unbiased: bool
    score: Any = None  # a Score, with what its kind adds

    @abc.abstractmethod
    def draw(self, model, ids, rng: numpy.random.Generator, maskable=None, attention_mask=None) -> MaskBatch:
        """Draw masks for ids (B, T), the *unmasked* tokens on the host.

        `maskable` bool (B, T) is true where a mask may fall, by default where `attention_mask` (B, T) is 1, or everywhere.
        All that is random comes from `rng`.

        Raises InputError for a sentence with nothing to mask, k above its number of maskable positions, maskable padding,
        and scores that are not positive.
        """

    def learns_after(self, steps: int) -> bool:
        """Return whether the score learns from the step that was the `steps`-th."""
        return self.score is not None and self.score.learns and steps % self.score.learn_every == 0

    def learn(self, batch: MaskBatch, norms: numpy.ndarray, lr_scale: float = 1.0) -> dict[str, float]:
        """Learn from a draw: norms (N,), on the host, are those of the gradients of its rows' own weighted losses.

        `lr_scale` is the model's learning rate as a share of its peak. Return what a log should hold of it.
        """
        return {} if self.score is None else self.score.learn(batch, norms, lr_scale)

    def state(self) -> dict[str, numpy.ndarray]:
        """Return, on the host, all that a resumed run needs beside what the proposal was made from."""
        return {} if self.score is None else self.score.state()

    def load_state(self, state: dict[str, numpy.ndarray]) -> None:
        """Go on from what `state` returned. Raises InputError where it is another kind's."""
        if self.score is not None:
            self.score.load_state(state)
        elif state:
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


def rows_of(sentences: numpy.ndarray, ids, attention_mask) -> dict:
    """Return the fields of a MaskBatch that say what its rows are: ids (B, T), attention_mask (B, T) or None, and (N,)."""
    mask = None if attention_mask is None else backend.to_host(attention_mask)[sentences]  # (N, T)
    return {"ids": ids[sentences], "attention_mask": mask, "sentences": sentences}


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
    """Return weights (N, K), 0 where padded: each mask's importance weight (N,), shared among its positions (N, K)."""
    masked = positions != -1
    return masked * (importance / masked.sum(axis=1))[:, None]


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
    count, existing = among.sum(axis=1), numpy.where(among, scores, 0.0)
    return float(numpy.sqrt(numpy.mean(count * (existing * existing).sum(axis=1) / existing.sum(axis=1) ** 2)))


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
        index = tuple(int(i) for i in numpy.argwhere(bad)[0])
        raise InputError(
            f"scores must be positive and finite, but at {index} stands {scores[index]}: is the loss finite and above 0?"
        )
    return scores if among is None else numpy.where(among, scores, 0.0)


def checked_share(share: float, name: str) -> float:
    """Return a number from 0 to 1. Raises InputError for others."""
    if not 0 <= share <= 1:
        raise InputError(f"{name} must lie between 0 and 1, not {share}")
    return float(share)
