"""Proposals that score by a MAPNet, which learns along with the model from the norms of each step's own gradients.

    proposal           draws as             learns by
    MapNetSingle       SingleProposal       any of the three objectives
    MapNetPool         PoolProposal         any
    MapNetBatchPool    BatchPoolProposal    any
    MapNetPosition     PositionProposal     regression: it is the one that needs no probability of a mask

MAPNet goes once over every sentence of a draw and, when the norms are there, once back. The activations of the draw wait for
`learn` in between. Scores are taken relative to the largest before they leave log space, so no norms are too far apart.

Regression is the default: it alone learns the level of the norms too, its predictions are the best, and with the usual share
of uniform masks it wins as much of the headroom of single masks as cross-entropy does (`python benchmarks/objectives.py`).

Axis letters: B sentences, T positions, K places for masked positions, M candidates of a sentence, N rows drawn.
"""

from dataclasses import dataclass

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.mapnet import objectives
from minimapnet.mapnet.network import MapNet
from minimapnet.model.optimizer import AdamW
from minimapnet.proposals.base import MaskBatch, Proposal, checked_share, split_weight_over_positions
from minimapnet.proposals.importance import PositionProposal, SingleProposal
from minimapnet.proposals.pools import BatchPoolProposal, PoolProposal

OBJECTIVES = ("regression", "cross-entropy", "second-moment")
LEARNING_RATE = 2e-3
UNIFORM = 0.3  # share of uniform masks: no weight is above 3.3, and a rare large norm that nobody foresaw does less harm
FADING = 0.02  # share of a step in the running means of the norms
SMALLEST = 1e-4  # of the mean norm: what is smaller counts as that much
TINY = 1e-30
LOWEST = -600.0  # of log scores relative to the largest: exp of it is still above 0
STATE = ("mapnet", "mean", "square", "steps", "means")


@dataclass
class Last:
    """What `learn` needs of a draw: f (B, T), MAPNet's cache, the rows, and the candidates with what they were scored by.

    log_scores (G, M) of the candidates, to_f the pullback of their gradient to that of f; kept (N,) as places in G*M.
    """

    f: numpy.ndarray
    cache: object
    log_scores: numpy.ndarray | None = None
    to_f: object = None
    sentences: numpy.ndarray | None = None
    positions: numpy.ndarray | None = None
    weights: numpy.ndarray | None = None
    kept: numpy.ndarray | None = None


class LearnedProposal(Proposal):
    """What the four kinds share: the MAPNet, its AdamW, what is remembered of the last draw, and how it learns."""

    wants_norms = True

    def __init__(self, mapnet: MapNet, objective: str, learning_rate: float, learn_every: int):
        """`learning_rate` is MAPNet's at the peak of the model's; it learns from each `learn_every`-th step.

        Raises InputError for an objective that there is not, and numbers that are not positive.
        """
        if objective not in OBJECTIVES:
            raise InputError(f"unknown objective {objective!r}: choose one of {', '.join(OBJECTIVES)}")
        if not learning_rate > 0:
            raise InputError(f"MAPNet's learning rate must be positive, not {learning_rate}")
        if learn_every < 1:
            raise InputError(f"MAPNet learns every so many steps, at least 1, not {learn_every}")
        self.mapnet, self.objective, self.learning_rate, self.learn_every = mapnet, objective, learning_rate, learn_every
        self._optimizer = AdamW(mapnet)
        self._means = numpy.zeros(3)  # running means of h, h^2 and log(h / |a|): a row's norm and its weights
        self._last = None

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        f, cache = self.mapnet.forward(ids, attention_mask)
        self._last = Last(backend.to_host(f).astype(numpy.float64), cache)
        drawn = super().draw(model, ids, rng, maskable, attention_mask)
        self._last.positions, self._last.weights = drawn.positions, drawn.weights
        self._last.sentences, self._last.kept = self._rows(drawn)
        return drawn

    def learn(self, norms, lr_scale=1.0):
        """As of every proposal; gives `mapnet_loss`, the objective's.

        Raises InputError unless norms (N,) of the last draw are given, finite and not negative, once for each draw.
        """
        if self._last is None:
            raise InputError("there is no draw to learn from: draw before each time that MAPNet learns")
        norms = backend.to_host(norms).astype(numpy.float64)
        if norms.shape != (len(self._last.positions),) or not (numpy.isfinite(norms) & (norms >= 0)).all():
            raise InputError(
                f"MAPNet learns from {len(self._last.positions)} finite norms, one for each row of the last draw"
            )
        before = self._means if self._optimizer.steps else self._followed(norms)  # the first step has none before it
        loss, df = self._objective(norms, before)
        self._means = self._followed(norms)
        df = backend.to_device(df.astype(self.mapnet.config.dtype))
        self.mapnet.backward(df, self._last.cache, self._optimizer.gradient)
        self._optimizer.update(self.learning_rate * lr_scale)
        self._last = None
        return {"mapnet_loss": loss}

    def state(self):
        state = {"mapnet": backend.to_host(self.mapnet.flat).copy(), "means": self._means.copy()}
        return state | self._optimizer.state()

    def load_state(self, state):
        if set(state) != set(STATE) or state["mapnet"].shape != self.mapnet.flat.shape:
            raise InputError(f"the state of {type(self).__name__} is that of another proposal or of another MAPNet")
        self._optimizer.load_state(state)
        self.mapnet.flat[...] = backend.to_device(state["mapnet"])
        self._means, self._last = state["means"].copy(), None

    def _rows(self, drawn: MaskBatch) -> tuple[numpy.ndarray, numpy.ndarray | None]:
        """Return the sentence of each row, and its place among the candidates, both (N,)."""
        raise NotImplementedError

    def _followed(self, norms) -> numpy.ndarray:
        """Return the running means with these norms: plain means at first, which then forget by and by."""
        even = numpy.log(numpy.sqrt((self._last.weights * self._last.weights).sum(axis=1)))  # (N,), log S at f = 0
        now = numpy.array([norms.mean(), (norms * norms).mean(), (log_of(norms, norms.mean()) - even).mean()])
        return self._means + max(1 / (self._optimizer.steps + 1), FADING) * (now - self._means)

    def _objective(self, norms, means) -> tuple[float, numpy.ndarray]:
        """Return the loss and its gradient with respect to f (B, T)."""
        last, (mean, square, level) = self._last, means
        if self.objective == "regression":
            masks = last.sentences, last.positions, last.weights
            log_scores, cache = objectives.mask_scores_forward(last.f, *masks)  # (N,)
            log_norms = log_of(norms, mean) - level  # so f is about 0, whatever k
            loss, dscores = objectives.regression(log_scores, log_norms, last.weights.sum(axis=1))
            return loss, objectives.mask_scores_backward(dscores, cache)
        if self.objective == "cross-entropy":
            function, scale = objectives.cross_entropy, mean
        else:
            function, scale = objectives.second_moment, square
        loss, dscores = function(last.log_scores, last.kept, self.uniform, norms, max(scale, TINY))
        return loss, last.to_f(dscores)


class MapNetSingle(LearnedProposal, SingleProposal):
    """One position, drawn by MAPNet's prediction: q = (1 - u) softmax(f) + u / n. Unbiased for k = 1."""

    def __init__(
        self,
        mapnet: MapNet,
        uniform: float = UNIFORM,
        objective: str = "regression",
        learning_rate: float = LEARNING_RATE,
        learn_every: int = 1,
    ):
        """`uniform` is u, the share of uniform masks."""
        SingleProposal.__init__(self, self._score, uniform)
        LearnedProposal.__init__(self, mapnet, objective, learning_rate, learn_every)

    def _score(self, model, ids, attention_mask, maskable):
        self._last.log_scores = numpy.where(maskable, self._last.f, -numpy.inf)
        self._last.to_f = lambda dscores: dscores
        return relative(self._last.log_scores)

    def _rows(self, drawn):
        sentences = numpy.arange(len(drawn.positions))
        return sentences, sentences * self._last.f.shape[1] + drawn.positions[:, 0]


class MapNetPool(LearnedProposal, PoolProposal):
    """Of m uniform masks of each sentence, keep one by MAPNet's score: q = (1 - u) S / sum S + u / m. Unbiased."""

    def __init__(
        self,
        k,
        mapnet: MapNet,
        candidates: int = 8,
        uniform: float = UNIFORM,
        objective: str = "regression",
        learning_rate: float = LEARNING_RATE,
        learn_every: int = 1,
    ):
        """k is a whole number of positions, or a share of the maskable ones; candidates is m, uniform u."""
        PoolProposal.__init__(self, k, self._score, candidates)
        self.uniform = checked_share(uniform, "the share of uniform masks")
        LearnedProposal.__init__(self, mapnet, objective, learning_rate, learn_every)

    def _score(self, model, ids, positions, attention_mask):
        return _pool_scores(self, positions, len(positions) // self.candidates)

    def _rows(self, drawn):
        return drawn.kept // self.candidates, drawn.kept


class MapNetBatchPool(LearnedProposal, BatchPoolProposal):
    """Of m uniform masks of each of B sentences, keep N of the m B pairs by MAPNet's score. Unbiased.

    The model takes N rows a step, MAPNet goes over B sentences. q = (1 - u) S / sum S + u / (m B) over all pairs.
    """

    def __init__(
        self,
        k,
        mapnet: MapNet,
        kept: int,
        candidates: int = 1,
        uniform: float = UNIFORM,
        objective: str = "regression",
        learning_rate: float = LEARNING_RATE,
        learn_every: int = 1,
    ):
        """k is a whole number of positions, or a share of the maskable ones; kept is N, candidates m, uniform u."""
        BatchPoolProposal.__init__(self, k, self._score, kept, candidates)
        self.uniform = checked_share(uniform, "the share of uniform masks")
        LearnedProposal.__init__(self, mapnet, objective, learning_rate, learn_every)

    def _score(self, model, ids, positions, attention_mask):
        return _pool_scores(self, positions, 1)

    def _rows(self, drawn):
        return drawn.kept // self.candidates, drawn.kept


class MapNetPosition(LearnedProposal, PositionProposal):
    """k positions with inclusion probabilities by MAPNet's prediction, each with the weight 1/(n pi_i). Biased.

    It learns by regression, of the norm of the row as it was weighted: a_i = 1/(n pi_i).
    """

    def __init__(
        self,
        k,
        mapnet: MapNet,
        uniform: float = UNIFORM,
        learning_rate: float = LEARNING_RATE,
        learn_every: int = 1,
    ):
        """k is a whole number of positions, or a share of the maskable ones; `uniform` as of PositionProposal."""
        PositionProposal.__init__(self, k, self._score, uniform)
        LearnedProposal.__init__(self, mapnet, "regression", learning_rate, learn_every)

    def _score(self, model, ids, attention_mask, maskable):
        return relative(numpy.where(maskable, self._last.f, -numpy.inf))

    def _rows(self, drawn):
        return numpy.arange(len(drawn.positions)), None


def log_of(norms: numpy.ndarray, mean: float) -> numpy.ndarray:
    """Return log norms (N,), of which those below SMALLEST times the mean count as that much.

    They add nothing to a variance.
    """
    return numpy.log(numpy.maximum(norms, max(SMALLEST * mean, TINY)))


def relative(log_scores: numpy.ndarray) -> numpy.ndarray:
    """Return scores (..., M) relative to the largest of each row, above 0 however far apart the logarithms are."""
    return numpy.exp(numpy.maximum(log_scores - log_scores.max(axis=-1, keepdims=True), LOWEST))


def _pool_scores(proposal, positions: numpy.ndarray, groups: int) -> numpy.ndarray:
    """Score a pool's candidates (B*M, K), sentence by sentence, in groups that compete -> (B*M,), each group's mean 1."""
    last, even = proposal._last, split_weight_over_positions(numpy.ones(len(positions)), positions)
    sentences = numpy.arange(len(positions)) // proposal.candidates
    log_scores, cache = objectives.mask_scores_forward(last.f, sentences, positions, even)  # (B*M,)
    last.log_scores = log_scores.reshape(groups, -1)
    last.to_f = lambda dscores: objectives.mask_scores_backward(dscores.reshape(-1), cache)
    scores = relative(last.log_scores)
    mixed = (1 - proposal.uniform) * scores / scores.mean(axis=1, keepdims=True) + proposal.uniform
    return mixed.reshape(-1)
