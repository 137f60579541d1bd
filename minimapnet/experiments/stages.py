"""What is measured while the warm start goes on: the parts of the variance, and how near MAPNet is to the optimal proposal.

All of it is measured on rows of the test part, which nothing was trained on and no run was judged by.

Axis letters: N sentences, T positions.
"""

import numpy

from minimapnet import backend
from minimapnet.experiments.candidates import UNIFORM_MIX
from minimapnet.experiments.presets import CompareSettings
from minimapnet.gradient_norms.gradients import gradients
from minimapnet.gradient_norms.norms import sequence_gradient_norms
from minimapnet.mapnet.network import MapNet
from minimapnet.mapnet.quality import quality
from minimapnet.model.bert import Bert
from minimapnet.proposals.scores import exact_norm
from minimapnet.text.batches import Batch
from minimapnet.text.load import Corpus
from minimapnet.training.evaluation import Evaluation
from minimapnet.variance.decomposition import decompose_variance
from minimapnet.variance.enumeration import exact_variance

ENUMERATED = 4  # sentences whose every mask is computed for the check of the decomposition
POINTS = 2000  # of the calibration


class Stages:
    """Measures a model and its MAPNet at the steps that are due; the rows and masks are the same at every stage."""

    def __init__(self, settings: CompareSettings, text: Corpus, seed: int):
        chosen = settings.stages
        last = settings.branches.warm_steps
        self.due = {round(last * (share / (chosen.count - 1)) ** 2) for share in range(chosen.count)}  # denser at the start
        self.settings, self.seed = settings, seed
        self.judged = judged_rows(settings, text, seed)
        first = slice(0, chosen.sentences)
        self.sentences = Batch(self.judged.ids[first], self.judged.attention_mask[first], self.judged.maskable[first])
        self.stages = []

    def measure_if_due(self, step: int, model: Bert, mapnet: MapNet, evaluation: Evaluation) -> None:
        """Add a stage where `step` is one of them."""
        if step in self.due:
            self.stages.append(self.measured(step, model, mapnet, evaluation))

    def measured(self, step: int, model: Bert, mapnet: MapNet, evaluation: Evaluation) -> dict:
        """Measure a stage."""
        return {
            "step": step,
            "loss": evaluation.loss(model),
            "masks": [self._variance(model, k) for k in self.settings.stages.masked],
            "mapnet": mapnet_quality(model, mapnet, self.judged),
        }

    def results(self, text: Corpus, model: Bert, mapnet: MapNet) -> dict:
        """Return all stages, and what is measured at the end alone: the check of the decomposition, points, sentences."""
        norms, predicted = exact_and_predicted(model, mapnet, self.judged)
        maskable = self.judged.maskable
        exact, guessed = numpy.log(norms[maskable])[:POINTS], predicted[maskable][:POINTS]
        guessed = guessed + (exact - guessed).mean()  # f is known up to a constant
        return {
            "stages": self.stages,
            "decomposition": decomposition_check(model, self.judged),
            "calibration": {"predicted": guessed.tolist(), "exact": exact.tolist()},
            "sentences": self._sentences(text, norms, predicted),
        }

    def _variance(self, model: Bert, k: int | float) -> dict:
        batch, masks = self.sentences, self.settings.stages.masks
        report = decompose_variance(model, batch.ids, k, masks, self.seed, batch.maskable, batch.attention_mask)
        parts = {name: getattr(report.whole, name) for name in ("data", "mask", "headroom")}
        parts |= {"mask_share": report.mask_share, "headroom_share": report.headroom_share}
        return {"k": k} | {name: [estimate.value, *estimate.interval] for name, estimate in parts.items()}

    def _sentences(self, text: Corpus, norms: numpy.ndarray, predicted: numpy.ndarray) -> list[dict]:
        """Return the first sentences with each token's norm, the optimal proposal and MAPNet's."""
        shown, batch = [], self.judged
        for b in range(self.settings.stages.shown):
            there, maskable = batch.attention_mask[b] == 1, batch.maskable[b]
            guess = numpy.where(maskable, numpy.exp(predicted[b] - predicted[b][maskable].max()), 0.0)
            shown.append(
                {
                    "step": self.settings.branches.warm_steps,
                    "tokens": [text.tokenizer.id_to_token(int(token)) for token in batch.ids[b][there]],
                    "norms": norms[b][there].tolist(),
                    "optimal": (norms[b] / norms[b].sum())[there].tolist(),
                    "mapnet": (guess / guess.sum())[there].tolist(),
                }
            )
        return shown


def judged_rows(settings: CompareSettings, text: Corpus, seed: int) -> Batch:
    """Return the rows of the test part on which MAPNet is judged."""
    order = backend.generator(seed, "stage rows").permutation(len(text.test))
    return text.test.batch(order[: settings.stages.quality_sentences])


def mapnet_quality(model: Bert, mapnet: MapNet, batch: Batch) -> dict:
    """Return how near MAPNet's proposal, with its share of uniform masks, comes to the optimal one for single masks."""
    judged = quality(*exact_and_predicted(model, mapnet, batch), batch.maskable, UNIFORM_MIX)
    return {
        "correlation": judged.correlation,
        "correlation_within": judged.correlation_within,
        "slope": judged.slope,
        "intercept": judged.intercept,
        "kl": judged.divergence,
        "headroom_won": judged.won,
    }


def exact_and_predicted(model: Bert, mapnet: MapNet, batch: Batch) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the exact norms of single masks and MAPNet's guess of their logarithms, both (N, T) on the host."""
    norms = exact_norm.score_each_position(model, batch.ids, batch.attention_mask, batch.maskable)
    return norms, backend.to_host(mapnet.log_norms(batch.ids, batch.attention_mask)).astype(numpy.float64)


def decomposition_check(model: Bert, batch: Batch) -> dict:
    """Hold data variance + mask variance against the whole, each from all masks of one token of a few sentences.

    The whole is computed without the parts: the mean of |g|^2 over all masks, less the square of the mean gradient.
    """
    first = slice(0, ENUMERATED)
    report = exact_variance(model, batch.ids[first], 1, batch.maskable[first], batch.attention_mask[first])
    sentences, places = numpy.nonzero(batch.maskable[first])
    weights = (1 / batch.maskable[first].sum(axis=1))[sentences][:, None] / ENUMERATED  # every sentence counts alike
    rows = batch.ids[sentences], places[:, None]
    attention_mask = batch.attention_mask[sentences]
    norms = backend.to_host(sequence_gradient_norms(model, *rows, attention_mask=attention_mask)).astype(numpy.float64)
    _, mean = gradients(model, *rows, weights * len(places), attention_mask)
    square = sum(float((backend.to_host(array).astype(numpy.float64) ** 2).sum()) for array in mean.values())
    whole = float((weights[:, 0] * norms * norms).sum()) - square
    data, mask = report.whole.data.value, report.whole.mask.value
    return {
        "sentences": ENUMERATED,
        "masked": 1,
        "whole": whole,
        "data": data,
        "mask": mask,
        "relative_error": abs(data + mask - whole) / whole,
    }
