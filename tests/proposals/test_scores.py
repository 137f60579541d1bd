"""Ready-made scores against the plain loop of gradients, on every backend."""

import numpy

from minimapnet import backend, token_losses
from minimapnet.proposals import scores
from minimapnet.proposals.scores import output_norm_bound
from tests.helpers import proposal_checks as checks
from tests.helpers.norm_loop import norms, sequence_loop, token_loop
from tests.helpers.proposal_checks import IDS, MASKABLE, TOKENS

POSITIONS = numpy.array([[1, 4, 9], [6, -1, 2], [3, -1, -1]])
SIZES = numpy.array([3, 2, 1])


def test_scores_of_masks_of_different_sizes(xp):
    model = checks.model()
    found = {name: backend.to_host(getattr(scores, name)(model, IDS, POSITIONS, TOKENS)) for name in NAMES}
    weights = (POSITIONS != -1) / SIZES[:, None]
    numpy.testing.assert_allclose(
        found["exact_norm"], norms(sequence_loop(model, IDS, POSITIONS, weights, TOKENS)), rtol=1e-10
    )
    squares = norms(token_loop(model, IDS, POSITIONS, TOKENS)) ** 2
    numpy.testing.assert_allclose(found["norm_from_tokens"], numpy.sqrt(squares.sum(axis=1)) / SIZES, rtol=1e-10)
    bounds = backend.to_host(output_norm_bound(model, IDS, POSITIONS, TOKENS))
    numpy.testing.assert_allclose(found["output_bound"], numpy.sqrt((bounds * bounds).sum(axis=1)) / SIZES, rtol=1e-10)
    losses = backend.to_host(token_losses(model, IDS, POSITIONS, TOKENS))
    numpy.testing.assert_allclose(found["mean_loss"], losses.sum(axis=1) / SIZES, rtol=1e-10)
    numpy.testing.assert_allclose(found["exact_norm"][2], found["norm_from_tokens"][2], rtol=1e-10)  # one position


NAMES = ("exact_norm", "norm_from_tokens", "output_bound", "mean_loss")


def test_each_position_alone(xp, monkeypatch):
    """In chunks of 4 rows, which the sentences do not fit."""
    model = checks.model()
    monkeypatch.setattr(scores, "ROWS", 4)
    alone = {name: getattr(scores, name).score_each_position(model, IDS, TOKENS, MASKABLE) for name in NAMES}
    numpy.testing.assert_allclose(alone["exact_norm"], alone["norm_from_tokens"], rtol=1e-10)
    for name, found in alone.items():
        assert type(found) is numpy.ndarray and found.dtype == numpy.float64
        assert (found > 0).tolist() == MASKABLE.tolist()
        for t in (0, 3):
            column = numpy.where(MASKABLE[:, t : t + 1], t, 1)
            one = backend.to_host(getattr(scores, name)(model, IDS, column, TOKENS))
            numpy.testing.assert_allclose(found[MASKABLE[:, t], t], one[MASKABLE[:, t]], rtol=1e-10)
