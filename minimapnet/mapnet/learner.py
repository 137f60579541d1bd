"""MAPNet as a score: every proposal takes it as it takes any other, and it learns along with the model.

It goes once over every sentence of a draw and, where it learns from the norms of the step's own gradients, once back; in
between, its activations wait in the draw's `MaskBatch`. Scores stay logarithms until a proposal has put the largest first,
so no norms are too far apart.

Regression is the default objective: it alone learns the level of the norms too, needs no probability of a mask, has the best
predictions, and with the usual share of uniform masks it wins as much of the headroom of single masks as cross-entropy does
(`python benchmarks/objectives.py`).

Axis letters: B sentences, T positions, K places for masked positions, M candidates of a sentence, N rows drawn, G groups.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.mapnet import objectives
from minimapnet.mapnet.network import MapNet
from minimapnet.model.optimizer import AdamW
from minimapnet.proposals.base import MaskBatch, Score, Scores, split_weight_over_positions

OBJECTIVES = ("regression", "cross-entropy", "second-moment")
LEARNING_RATE = 2e-3
UNIFORM_MIX = 0.3  # no weight is above 3.3, and a rare large norm that was not foreseen does less harm
SMOOTHING = 0.02  # share of a step in the running means of the norms
SMALLEST = 1e-4  # of the mean norm: what is smaller counts as that much
TINY = 1e-30
STATE = ("mapnet", "mean", "square", "steps", "means")


@dataclass(frozen=True)
class Pass:
    """What MAPNet's pass over the sentences of a draw leaves for `learn`.

    f (B, T) float64 on the host; network is the backward's cache; scores_backward takes the gradient with respect to the
    log scores of the candidates (B, M) to that with respect to f (B, T).
    """

    f: numpy.ndarray
    network: object
    scores_backward: Callable[[numpy.ndarray], numpy.ndarray]


class MapNetScore(Score):
    """The gradient norm that a MAPNet predicts, of positions and of masks; it learns from the norms of what was drawn."""

    learns = True

    def __init__(
        self, network: MapNet, objective: str = "regression", learning_rate: float = LEARNING_RATE, learn_every: int = 1
    ):
        """`learning_rate` is MAPNet's at the peak of the model's; it learns from each `learn_every`-th step.

        Raises InputError for an objective that there is not, and numbers that are not positive.
        """
        if objective not in OBJECTIVES:
            raise InputError(f"unknown objective {objective!r}: choose one of {', '.join(OBJECTIVES)}")
        if not learning_rate > 0:
            raise InputError(f"MAPNet's learning rate must be positive, not {learning_rate}")
        if learn_every < 1:
            raise InputError(f"MAPNet learns every so many steps, at least 1, not {learn_every}")
        self.network, self.objective = network, objective
        self.learning_rate, self.learn_every = learning_rate, learn_every
        self._optimizer = AdamW(network)
        self._means = numpy.zeros(3)  # running means of h, h^2 and log(h / |a|): a row's norm and its weights

    def of_positions(self, model, ids, maskable, attention_mask=None):
        f, cache = self._forward(ids, attention_mask)
        return Scores(numpy.where(maskable, f, -numpy.inf), log=True, cache=Pass(f, cache, lambda dscores: dscores))

    def of_masks(self, model, ids, masks, attention_mask=None):
        B, M, K = masks.shape
        f, cache = self._forward(ids, attention_mask)
        positions = masks.reshape(B * M, K)
        even = split_weight_over_positions(numpy.ones(B * M), positions)
        sentences = numpy.repeat(numpy.arange(B), M)
        log_scores, scores_cache = objectives.mask_scores_forward(f, sentences, positions, even)  # (B*M,)

        def scores_backward(dscores):
            return objectives.mask_scores_backward(dscores.reshape(-1), scores_cache)

        return Scores(log_scores.reshape(B, M), log=True, cache=Pass(f, cache, scores_backward))

    def learn(self, batch: MaskBatch, norms: numpy.ndarray, lr_scale: float = 1.0) -> dict[str, float]:
        """As of every score; return `mapnet_loss`, the objective's.

        Raises InputError unless MAPNet scored the batch, for norms (N,) of its rows that are not finite or negative, and for
        an objective that needs the probability of a mask where the proposal has none.
        """
        if batch.choice is None or not isinstance(batch.choice.scores.cache, Pass):
            raise InputError("MAPNet learns from what was drawn by its scores, not from another proposal's masks")
        norms = backend.to_host(norms).astype(numpy.float64)
        if norms.shape != (len(batch.positions),) or not (numpy.isfinite(norms) & (norms >= 0)).all():
            raise InputError(f"MAPNet learns from {len(batch.positions)} finite norms, one for each row of the draw")
        means = self._followed(batch, norms)
        before = self._means if self._optimizer.steps else means  # the first step has none before it
        loss, df = self._objective(batch, norms, before)
        self._means = means
        df = backend.to_device(df.astype(self.network.config.dtype))
        self.network.backward(df, batch.choice.scores.cache.network, self._optimizer.gradient)
        self._optimizer.update(self.learning_rate * lr_scale)
        return {"mapnet_loss": loss}

    def state(self):
        state = {"mapnet": backend.to_host(self.network.flat).copy(), "means": self._means.copy()}
        return state | self._optimizer.state()

    def load_state(self, state):
        if set(state) != set(STATE) or state["mapnet"].shape != self.network.flat.shape:
            raise InputError("the state of MAPNet is that of another proposal or of another MAPNet")
        self._optimizer.load_state(state)
        self.network.flat[...] = backend.to_device(state["mapnet"])
        self._means = state["means"].copy()

    def _forward(self, ids, attention_mask) -> tuple[numpy.ndarray, object]:
        f, cache = self.network.forward(ids, attention_mask)
        return backend.to_host(f).astype(numpy.float64), cache

    def _followed(self, batch: MaskBatch, norms: numpy.ndarray) -> numpy.ndarray:
        """Return the running means with these norms (N,): plain means at first, then exponential ones."""
        even = numpy.log(numpy.sqrt((batch.weights * batch.weights).sum(axis=1)))  # (N,), log S at f = 0
        now = numpy.array([norms.mean(), (norms * norms).mean(), (log_of(norms, norms.mean()) - even).mean()])
        return self._means + max(1 / (self._optimizer.steps + 1), SMOOTHING) * (now - self._means)

    def _objective(self, batch: MaskBatch, norms, means) -> tuple[float, numpy.ndarray]:
        """Return the loss and its gradient with respect to f (B, T)."""
        choice, (mean, square, level) = batch.choice, means
        if self.objective == "regression":
            masks = batch.sentences, batch.positions, batch.weights
            log_scores, cache = objectives.mask_scores_forward(choice.scores.cache.f, *masks)  # (N,)
            log_norms = log_of(norms, mean) - level  # so f is about 0, whatever k
            loss, dscores = objectives.regression(log_scores, log_norms, batch.weights.sum(axis=1))
            return loss, objectives.mask_scores_backward(dscores, cache)
        if choice.selected is None:
            raise InputError(f"{self.objective} needs a mask's probability, which this proposal has not: use regression")
        scaled = {"cross-entropy": (objectives.cross_entropy, mean), "second-moment": (objectives.second_moment, square)}
        function, scale = scaled[self.objective]
        log_scores = choice.scores.values.reshape(choice.groups, -1)  # (G, B*M/G)
        loss, dscores = function(log_scores, choice.selected, choice.uniform_mix, norms, max(scale, TINY))
        return loss, choice.scores.cache.scores_backward(dscores)


def log_of(norms: numpy.ndarray, mean: float) -> numpy.ndarray:
    """Return log norms (N,), of which those below SMALLEST times the mean count as that much: they add little variance."""
    return numpy.log(numpy.maximum(norms, max(SMALLEST * mean, TINY)))
