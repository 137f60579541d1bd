"""The experiment's parts: masks at equal compute, references, intervals and verdicts."""

import io
import math

import numpy
import pytest
from test_text import made_up
from tqdm import tqdm

from minimapnet.lab import compare
from minimapnet.model.gradients import token_losses
from minimapnet.text.corpus import Corpus, split

SETTINGS = compare.Settings(steps=4, evaluations=2, hidden_size=32, heads=2, pieces=200, validation_rows=64)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return split("made up", [(f"document {i}", made_up(10, seed=i)) for i in range(150)])


@pytest.fixture(scope="module")
def task(corpus, tmp_path_factory) -> compare.Task:
    return compare.prepare(corpus, SETTINGS, tmp_path_factory.mktemp("tokenizer"))


def test_fifteen_percent_are_masked_and_five_disjoint_masks_find_room():
    rows = compare.Rows(numpy.zeros((96, 100)), numpy.arange(7, 103))
    k, n = compare.mask_sizes(rows), rows.maskable
    assert (k >= 1).all()
    assert (abs(k - 0.15 * n) <= 0.5).all()
    assert (5 * k <= n).all()


@pytest.mark.parametrize("proposal", compare.PROPOSALS, ids=lambda proposal: proposal.name)
def test_a_step_has_the_same_number_of_rows_and_masks_only_tokens(task, proposal):
    ids, positions, attention_mask = compare.training_batch(task, SETTINGS, proposal, 0, 3)
    assert len(ids) == len(positions) == len(attention_mask) == SETTINGS.rows
    assert len(numpy.unique(ids, axis=0)) >= SETTINGS.rows // proposal.per_sentence - 2  # sentences may repeat by chance
    chosen = numpy.take_along_axis(ids, numpy.maximum(positions, 0), axis=1)[positions != -1]
    assert not numpy.isin(chosen, (task.pad_token_id, 2, 3)).any()  # no padding, [CLS] or [SEP]
    again = compare.training_batch(task, SETTINGS, proposal, 0, 3)[1]
    assert (positions == again).all()
    other = compare.training_batch(task, SETTINGS, proposal, 0, 4)[1]
    assert positions.shape != other.shape or (positions != other).any()


def test_fully_explored_masks_of_a_sentence_are_disjoint_and_uniform_ones_need_not_be(task):
    overlaps = []
    for proposal in compare.PROPOSALS[1:]:
        overlap = 0
        for step in range(10):
            ids, positions, _ = compare.training_batch(task, SETTINGS, proposal, 0, step)
            sentences = SETTINGS.rows // proposal.per_sentence
            for sentence in range(sentences):
                assert (ids[sentence::sentences] == ids[sentence]).all()
                masked = positions[sentence::sentences]
                masked = masked[masked != -1]
                overlap += len(masked) - len(set(masked.tolist()))
        overlaps.append(overlap)
    assert overlaps[0] > 0
    assert overlaps[1] == 0


def test_validation_loss_is_the_mean_over_rows_of_the_mean_over_their_masks(task):
    model = compare.new_model(task, SETTINGS, 0)
    rows, means = task.validation, []
    for row, positions in enumerate(task.positions):
        masked = positions[positions != -1][None]  # (1, k)
        one = rows.take(numpy.array([row]))
        means.append(float(token_losses(model, one.ids, masked, one.attention_mask).mean()))
    assert compare.validation_loss(model, task) == pytest.approx(numpy.mean(means), rel=1e-5)


def test_unigram_entropy_by_hand():
    train = compare.Rows(numpy.array([[2, 5, 5, 6, 3, 0]]), numpy.array([5]))
    validation = compare.Rows(numpy.array([[2, 5, 7, 3], [2, 6, 6, 3]]), numpy.array([4, 4]))
    positions, weights = numpy.array([[1, 2], [2, -1]]), numpy.array([[0.25, 0.25], [0.5, 0.0]])
    p5, p6, p7 = 3 / 11, 2 / 11, 1 / 11  # of three tokens and eight added
    expected = -(math.log(p5) + math.log(p7)) / 4 - math.log(p6) / 2
    assert compare.unigram_entropy(train, validation, positions, weights, 8) == pytest.approx(expected)


def test_interval_is_students_and_covers_as_often_as_it_says():
    mean, low, high = compare.interval([1.0, 2.0, 4.0])
    half = 4.302653 * math.sqrt(((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2 / 3)  # tables of Student's t
    assert (mean, low, high) == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half), rel=1e-6)
    draws = numpy.random.default_rng(0).standard_normal((2000, 3))
    covered = sum(low < 0 < high for _, low, high in map(compare.interval, draws))
    assert 0.935 < covered / 2000 < 0.965
    assert compare.interval([1.5]) == (1.5, -math.inf, math.inf)


def test_verdicts_follow_the_rule():
    assert compare.verdict(-0.3, -0.1) == "better"
    assert compare.verdict(0.1, 0.3) == "worse"
    assert compare.verdict(-0.1, 0.3) == "no difference found"
    assert compare.verdict(-math.inf, math.inf) == "no difference found"


def test_differences_pair_the_runs_of_a_seed():
    curves = {"a": {s: [(9, 2.0 + s)] for s in range(3)}, "b": {s: [(9, 1.0 + s + s / 100)] for s in range(3)}}
    (found,) = compare.differences(curves)
    assert (found["a"], found["b"], found["verdict"]) == ("b", "a", "better")
    assert found["mean"] == pytest.approx(-0.99)


def test_training_that_diverges_says_so(task, monkeypatch):
    monkeypatch.setattr(
        compare, "gradients", lambda model, *_, **__: (math.nan, {n: p * math.nan for n, p in model.params.items()})
    )
    with (
        tqdm(total=4, file=io.StringIO()) as bar,
        pytest.raises(compare.InputError, match=r"diverged at step 0 \(learning rate 0.002\)"),
    ):
        compare.train(compare.new_model(task, SETTINGS, 0), task, SETTINGS, compare.PROPOSALS[0], 0, bar)
