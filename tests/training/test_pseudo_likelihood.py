"""Pseudo-log-likelihoods: each token masked alone, whatever goes through the model together."""

import numpy
import pytest
from scipy import special

from minimapnet import Bert, InputError, backend
from minimapnet.training import pseudo_likelihood
from minimapnet.training.pseudo_likelihood import pseudo_log_likelihoods
from tests.helpers import training_cases as cases

SENTENCES = [numpy.array([2, *text, 3]) for text in ([5, 6, 7, 5, 12, 9], [8], [], [6, 6], [1, 11, 5], [10, 9, 8, 7, 6, 5])]


def by_hand(model, ids) -> float:
    """The definition, a token at a time, from the logits."""
    total = 0.0
    for place in range(1, len(ids) - 1):
        masked = ids.copy()
        masked[place] = cases.MASK
        total += special.log_softmax(backend.to_host(model.logits(masked[None]))[0, place])[ids[place]]
    return total


@pytest.mark.parametrize("together", [1, 20, 4096])
def test_it_is_the_definition(xp, monkeypatch, together):
    monkeypatch.setattr(pseudo_likelihood, "TOGETHER", together)
    model = Bert(cases.model("float64").config, 0, "random")
    model.flat *= 5.0
    found = pseudo_log_likelihoods(model, SENTENCES)
    numpy.testing.assert_allclose(found, [by_hand(model, ids) for ids in SENTENCES], rtol=1e-10)
    assert found[2] == 0 and (found[[0, 1, 3, 4, 5]] < 0).all()


def test_every_token_is_masked_once_and_no_chunk_is_too_large(monkeypatch):
    monkeypatch.setattr(pseudo_likelihood, "TOGETHER", 20)
    seen = []

    def watch(chunks):
        for chunk in chunks:
            assert len(chunk) * max(len(SENTENCES[sentence]) for sentence in chunk[:, 0]) <= 20
            seen.extend(map(tuple, chunk.tolist()))
            yield chunk

    pseudo_log_likelihoods(cases.model(), SENTENCES, watch)
    assert sorted(seen) == [(s, place) for s, ids in enumerate(SENTENCES) for place in range(1, len(ids) - 1)]


def test_nothing_to_score():
    assert pseudo_log_likelihoods(cases.model(), []).shape == (0,)
    assert (pseudo_log_likelihoods(cases.model(), [numpy.array([2, 3])]) == 0).all()


def test_a_sentence_that_is_too_long():
    with pytest.raises(InputError, match="longer than the model's 8"):
        pseudo_log_likelihoods(cases.model(), [numpy.full(9, 5)])
