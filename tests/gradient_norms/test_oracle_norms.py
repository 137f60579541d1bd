"""Exact gradient norms against autograd on transformers' BertForMaskedLM, one backward for every token and sequence."""

import numpy
import pytest

from minimapnet import Bert, backend, sequence_gradient_norms, token_gradient_norms
from tests.model.test_oracle_bert import (  # which skips where there is no PyTorch
    hugging_face,
    random_batch,
    saved,
    their_losses,
)

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.oracle

CASES = {
    "tied": {"num_hidden_layers": 2, "T": 12},
    "untied, tanh": {"num_hidden_layers": 2, "T": 12, "tie_word_embeddings": False, "hidden_act": "gelu_new"},
    "relu": {"num_hidden_layers": 2, "T": 12, "hidden_act": "relu"},
    "one layer, long": {"num_hidden_layers": 1, "T": 40},
    "deep": {"num_hidden_layers": 8, "T": 20},
}


def autograd_norms(model, losses):
    """Return the norm of each loss's gradient over all parameters: {key: float}."""
    found = {}
    for key, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        found[key] = sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    return found


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_norms(tmp_path, xp, case, padded, dtype, rtol):
    changes = dict(CASES[case])
    T = changes.pop("T")
    theirs = hugging_face(transformers.BertForMaskedLM, dtype, **changes)
    ours = Bert.from_pretrained(saved(theirs, tmp_path), dtype=dtype)
    batch = random_batch(T, padded)
    losses = their_losses(theirs, batch)
    found = backend.to_host(token_gradient_norms(ours, batch.ids, batch.positions, batch.mask, batch.types))
    expected = numpy.zeros(found.shape)
    for place, value in autograd_norms(theirs, losses).items():
        expected[place] = value
    numpy.testing.assert_allclose(found, expected, rtol=rtol)

    of_sequence = {b: sum(batch.weights[place] * x for place, x in losses.items() if place[0] == b) for b in range(3)}
    expected = list(autograd_norms(theirs, of_sequence).values())
    found = sequence_gradient_norms(ours, batch.ids, batch.positions, batch.weights, batch.mask, batch.types)
    numpy.testing.assert_allclose(backend.to_host(found), expected, rtol=rtol)
