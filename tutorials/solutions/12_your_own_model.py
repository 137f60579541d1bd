"""Our answers to the exercises of step 12.

Axis letters: B sentences, T tokens, N maskable places of the batch.
"""

import re

import numpy

from minimapnet import backend, token_gradient_norms


def mean_norms(model, ids, maskable) -> dict[int, float]:
    """Return the mean exact norm of every token id over the places where it stands: ids (B, T), maskable bool (B, T).

    Each maskable place makes a row of its own, in which it alone is masked.
    """
    rows, places = numpy.nonzero(maskable)  # (N,) each
    norms = backend.to_host(token_gradient_norms(model, ids[rows], places[:, None]))[:, 0]  # (N,)
    tokens, number = numpy.unique(ids[rows, places], return_inverse=True)
    means = numpy.bincount(number, norms) / numpy.bincount(number)
    return dict(zip(tokens.tolist(), means.tolist(), strict=True))


def best_choice(reports, cost: float, masks: int) -> dict[str, str]:
    """Say for each report whether uniform masks or the best proposal, whose steps take `cost` times as long, has less noise.

    In the time of m uniform steps the proposal makes m / cost, and the mean of m gradients has 1/m of the variance.
    """
    found = {}
    for name, report in reports.items():
        data, mask, headroom = report.data.value, report.mask.value, report.headroom.value
        uniform, optimal = data + mask / masks, data + (mask - headroom) / masks
        found[name] = "optimal" if cost * optimal < uniform else "uniform"
    return found


LAYER = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
HEAD = {"vocab_transform": "transform.dense", "vocab_layer_norm": "transform.LayerNorm", "vocab_projector": "decoder"}


def from_distilbert(tensors: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Return the arrays of a DistilBERT for masked words under BERT's names.

    BERT adds the row of the token type to every embedding; DistilBERT adds nothing, so the one row is zero.
    """
    renamed = {_renamed(name): array for name, array in tensors.items()}
    words = renamed["bert.embeddings.word_embeddings.weight"]
    renamed["bert.embeddings.token_type_embeddings.weight"] = numpy.zeros((1, words.shape[1]), words.dtype)
    return renamed


def _renamed(name: str) -> str:
    module, kind = name.rsplit(".", 1)
    if module in HEAD:
        return f"cls.predictions.{HEAD[module]}.{kind}"
    module = module.removeprefix("distilbert.")
    layer = re.fullmatch(r"transformer\.layer\.(\d+)\.(.+)", module)
    return f"bert.encoder.layer.{layer[1]}.{LAYER[layer[2]]}.{kind}" if layer else f"bert.{module}.{kind}"
