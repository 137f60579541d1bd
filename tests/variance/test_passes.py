"""The passes behind the variance decomposition: mean gradients by chunks, side by side, in bounded memory; running sums."""

import tracemalloc

import numpy
import pytest

from minimapnet import backend, decompose_variance, gradients
from minimapnet.gradient_norms.norms import sequence_squares
from minimapnet.masks.base import all_masks
from minimapnet.model import parameters
from minimapnet.variance import passes
from minimapnet.variance.accumulators import RunningSum
from minimapnet.variance.passes import Groups, mean_gradient, mean_gradients, sentences
from tests.helpers import tiny
from tests.helpers.variance_population import OneGroup


def test_mean_gradient_by_chunks_on_every_backend(xp, monkeypatch):
    model = tiny.model()
    (sentence,) = sentences(tiny.IDS[:1], 2)
    groups = Groups(model.shapes)
    positions = all_masks(6, 2)
    weights = numpy.random.default_rng(3).uniform(0.2, 2, positions.shape)
    whole, squares = mean_gradient(model, groups, sentence, positions, weights)
    monkeypatch.setattr(passes, "MEMORY_BUDGET", 8 * 2 * 11 * 4)  # four masks' scores
    parts, same = mean_gradient(model, groups, sentence, positions, weights)
    whole, parts = backend.to_host(whole), backend.to_host(parts)
    numpy.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-13)
    numpy.testing.assert_allclose(same, squares, rtol=1e-10)

    ids = tiny.IDS[:1].repeat(len(positions), axis=0)
    _, expected = gradients(model, ids, positions, weights)
    total = sum(float((backend.to_host(g) ** 2).sum()) for g in expected.values())
    assert groups.squares(backend.to_device(whole)).sum() == pytest.approx(total, rel=1e-10)
    alone = gradients(model, tiny.IDS[:1], positions[5:6], weights[5:6])[1]
    total = sum(float((backend.to_host(g) ** 2).sum()) for g in alone.values())
    assert squares[:, 5].sum() == pytest.approx(total, rel=1e-10)


def test_memory_does_not_grow_with_sentences_or_masks(monkeypatch):
    model = tiny.model(vocab_size=4000, hidden_size=16)
    size = model.flat.nbytes  # 550 kB, against which what a mask itself takes is nothing, but for its scores
    monkeypatch.setattr(passes, "MEMORY_BUDGET", 2 * 2 * 4000 * 8)  # two masks of two positions

    def peak(N, masks):
        ids = numpy.random.default_rng(0).integers(2, 4000, (N, 6))
        tracemalloc.start()
        decompose_variance(model, ids, 2, masks)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    together = backend.kernels.workers(60)  # threads whose vectors are alive at once
    limit = (6 + 2 * together) * size
    assert peak(3, 4) < limit
    assert peak(20 * together, 4) < limit  # or there were 20 vectors and more for each thread
    assert peak(3, 120) < limit  # the scores of so many masks at once would take 14 such sizes for each sentence


def test_sentences_side_by_side_give_what_they_give_alone(monkeypatch):
    model = tiny.model()
    batch = sentences(tiny.IDS[[0, 1, 2, 0, 1]], 2)
    draws = [all_masks(6, 2)[b : b + 3] for b in range(5)]
    groups = Groups(model.shapes)
    alone = [mean_gradient(model, groups, *pair) for pair in zip(batch, draws, strict=True)]
    seen = []

    def run(tasks, run=backend.kernels.run):
        seen.append(len(tasks))
        return run(tasks)

    for short, workers, expected in ((1024, 2, [2, 2, 1]), (17, 2, [1] * 5), (18, 3, [3, 2])):
        monkeypatch.setattr(passes, "SHORT", short)  # a pass has 3 masks of 6 tokens
        monkeypatch.setattr(backend.kernels, "workers", lambda tasks, workers=workers: workers)
        assert [len(some) for some in passes._side_by_side(batch, draws)] == expected
    monkeypatch.undo()
    monkeypatch.setattr(backend.kernels, "run", run)
    found = list(mean_gradients(model, groups, batch, draws))
    assert max(seen) >= backend.kernels.workers(5)
    for (vector, squares), (other, same) in zip(found, alone, strict=True):
        numpy.testing.assert_allclose(backend.to_host(vector), backend.to_host(other), rtol=1e-9, atol=1e-13)
        numpy.testing.assert_allclose(squares, same, rtol=1e-9)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}])
def test_groups_cover_every_parameter_once(changes):
    model = tiny.model(**changes)
    groups = Groups(model.shapes)
    assert groups.squares(model.flat).sum() == pytest.approx(float(model.flat @ model.flat), rel=1e-12)
    assert set(groups.names) == set(sequence_squares(model, tiny.IDS, tiny.POSITIONS))
    assert len(groups.names) == len(set(groups.names))
    only = numpy.zeros_like(model.flat)
    parameters.flat_views(only, model.shapes)["layer1.feed_in.bias"][...] = 2.0
    found = dict(zip(groups.names, groups.squares(only), strict=True))
    assert found.pop("layer 1 feed-forward") == 4 * 7
    assert not any(found.values())


def test_steps_add_up_to_the_sample_variance():
    vectors = numpy.random.default_rng(0).standard_normal((9, 5)) + 3
    running = RunningSum(OneGroup())
    steps = [running.take(vector)[1][0] for vector in vectors]
    assert numpy.isnan(steps[0])
    assert numpy.mean(steps[1:]) == pytest.approx(vectors.var(axis=0, ddof=1).sum(), rel=1e-12)
