"""The runs of a comparison: their plan, and that the same command gives the same results."""

import json
from dataclasses import replace

import numpy
import pytest

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.experiments import candidates, compare, presets, stages, training_runs
from minimapnet.experiments.presets import Run
from tests.helpers.small_comparison import SMALL


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "small", SMALL)
    return "small"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return training_runs.read_text("grammar", tmp_path_factory.mktemp("cache"), SMALL)


def test_the_plan_has_every_proposal_with_every_seed():
    chosen = compare.planned(SMALL, 7)
    assert next(iter(chosen)) == Run("warm", "uniform", 7)
    names = {run.proposal for run in chosen if run.experiment == "scratch"}
    kinds = {"uniform", "fully explored", "MAPNet pool", "optimal pool", "MAPNet positions"}
    assert {name.split(",")[0] for name in names} == kinds
    assert names >= {"uniform, 15 % masked", "uniform, 40 % masked"}
    assert {run.seed for run in chosen if run.experiment == "scratch"} == {7}
    assert {run.seed for run in chosen if run.experiment == "branches"} == {8}  # not the warm start's sentences again
    assert {run.proposal for run in chosen if run.experiment == "branches"} >= {"uniform, 1 masked", "uniform, 40 % masked"}
    assert len(compare.planned(presets.PRESETS["default"], 0)) == 1 + 6 * 3 + 8 * 5


def test_all_proposals_of_an_experiment_take_as_many_rows(text):
    for tried, rows in ((candidates.scratch(SMALL.scratch), 10), (candidates.branches(SMALL.branches), 4)):
        for one in tried:
            model = training_runs.new_model(SMALL, text, 0)
            proposal, batch = one.make(model, 0), text.train.batch(numpy.arange(rows // one.masks))
            drawn = proposal.draw(model, batch.ids, backend.generator(0, "test"), batch.maskable, batch.attention_mask)
            assert len(drawn.positions) == rows
            assert proposal.unbiased == one.unbiased


def test_the_whole_variance_is_its_parts(text):
    model = training_runs.new_model(SMALL, text, 0)
    found = stages.decomposition_check(model, text.test.batch(numpy.arange(6)))
    assert found["relative_error"] < 1e-5 and found["data"] > 0 < found["mask"]


def test_the_least_loss_is_known_for_the_grammar_alone(text):
    assert 0.1 < training_runs.true_entropy(text) < 0.3
    assert training_runs.true_entropy(replace(text, name="other")) is None


def test_text_that_is_too_short_is_one_clear_line(tmp_path):
    file = tmp_path / "short.txt"
    file.write_text("\n\n".join(f"This is sentence number {n} of a very short text." for n in range(60)), encoding="utf-8")
    with pytest.raises(InputError, match=r"too short"):
        training_runs.read_text(str(file), tmp_path / "cache", SMALL)


def test_a_comparison_gives_the_same_results_again(small, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, times = compare.compare("grammar", small, 0, tmp_path / "cache", tmp_path / "a")
    again, _ = compare.compare("grammar", small, 0, tmp_path / "cache", tmp_path / "b")
    assert json.dumps(first) == json.dumps(again)
    assert not list((tmp_path / "a").iterdir())  # what the runs left there is gone
    assert set(first["experiments"]) == {"scratch", "branches"} == set(times["time_ratios"])
    for name, experiment in first["experiments"].items():
        for one in experiment["proposals"]:
            (curve,) = one["curves"].values()
            assert curve[0][0] == 0 and curve[-1][0] == experiment["steps"]
            assert one["name"] in times["steps"][name]
        assert experiment["baseline"].startswith("uniform")
    starts = {tuple(next(iter(one["curves"].values()))[0]) for one in first["experiments"]["branches"]["proposals"]}
    warm = first["experiments"]["branches"]["warm"]
    assert len(starts) == 1  # one warm start
    assert warm["curve"][-1][1] == warm["start"]["loss"] == starts.pop()[1]
    assert [warm["curve"][-1][0], warm["start"]["step"]] == [7, 7] and 5 in dict(warm["curve"])  # with the restart
    assert [stage["step"] for stage in first["stages"]] == [0, 5]
