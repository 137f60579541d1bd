"""The runs of a comparison: their processes, their plan, and that the same command gives the same results."""

import json
import sys
from dataclasses import replace

import numpy
import pytest

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.experiments import candidates, compare, presets, processes, stages, training_runs, worker
from minimapnet.experiments.presets import Run

SMALL = replace(
    presets.PRESETS["smoke"],
    model=presets.ModelSettings(hidden_size=16, heads=2),
    scratch=presets.ScratchSettings(seeds=1, steps=4, batch_size=10, evaluations=3),
    branches=presets.BranchSettings(
        seeds=1, warm_steps=5, warm_batch_size=4, restart_steps=2, steps=4, masked=(1, 0.4), evaluations=3
    ),
    stages=presets.StageSettings(count=2, sentences=3, masks=2, quality_sentences=4, shown=2),
    timed_steps=1,
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "small", SMALL)
    return "small"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return training_runs.read_text("grammar", tmp_path_factory.mktemp("cache"), SMALL)


def test_settings_survive_json():
    for settings in presets.PRESETS.values():
        lists = {
            name: replace(getattr(settings, name), masked=list(getattr(settings, name).masked))
            for name in ("branches", "stages")
        }
        assert presets.from_json(json.loads(json.dumps(presets.as_json(settings)))) == replace(settings, **lists)


def test_the_plan_has_every_proposal_with_every_seed():
    chosen = compare.planned(SMALL, 7)
    assert next(iter(chosen)) == Run("warm", "uniform", 7)
    names = {run.proposal for run in chosen if run.experiment == "scratch"}
    assert names == {"uniform", "fully explored", "MAPNet pool", "optimal pool", "MAPNet positions"}
    assert {run.seed for run in chosen if run.experiment == "scratch"} == {7}
    assert {run.seed for run in chosen if run.experiment == "branches"} == {8}  # not the warm start's sentences again
    assert {run.proposal for run in chosen if run.experiment == "branches"} >= {"uniform, 1 masked", "uniform, 40 % masked"}
    assert len(compare.planned(presets.PRESETS["default"], 0)) == 1 + 5 * 3 + 8 * 5


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


def job(tmp_path, source="grammar"):
    return {
        "settings": presets.as_json(SMALL),
        "source": source,
        "cache": str(tmp_path / "cache"),
        "folder": str(tmp_path),
        "backend": "numpy",
    }


def test_an_error_of_a_run_is_the_comparisons(tmp_path):
    chosen = [Run("scratch", "uniform", seed) for seed in range(3)]
    with pytest.raises(InputError, match="there is no text nowhere"):
        processes.run_all(chosen, job(tmp_path, "nowhere"), lambda run, count: None)


def test_a_run_that_breaks_off_is_named(tmp_path):
    with pytest.raises(InputError, match=r"the run scratch, unheard of, seed 0 broke off: .+"):
        processes.run_all([Run("scratch", "unheard of", 0)], job(tmp_path), lambda run, count: None)


def test_a_run_that_is_killed_while_it_answers_is_named(monkeypatch):
    code = 'import sys; sys.stdin.read(); print(\'{"steps": 10}\', flush=True); sys.stdout.write(\'{"result": {"cur\')'
    popen = processes.subprocess.Popen
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **of: popen([sys.executable, "-c", code], **of))
    with pytest.raises(InputError, match=r"the run scratch, uniform, seed 0 broke off: it ended with code 0"):
        processes.run_all([Run("scratch", "uniform", 0)], {}, lambda run, count: None)


def test_no_process_is_left_behind_after_ctrl_c(tmp_path, monkeypatch):
    started, begin = [], processes._start
    monkeypatch.setattr(processes, "_start", lambda *of: started.append(begin(*of)) or started[-1])

    def interrupt(run, count):
        raise KeyboardInterrupt

    long = job(tmp_path)
    long["settings"]["scratch"]["steps"] = 10**6
    with pytest.raises(KeyboardInterrupt):
        processes.run_all([Run("scratch", "uniform", 0)], long, interrupt)
    assert all(process.poll() is not None for process in started)


def test_progress_is_told_now_and_then():
    said = []
    progress = worker._Progress(said.append)
    for _ in range(2 * worker.EVERY + 3):
        progress()
    assert said == [{"steps": worker.EVERY}] * 2


def test_branches_wait_for_the_warm_start(tmp_path, monkeypatch):
    """A stand-in for the worker answers at once; the order of the starts is what matters."""
    order, begin = [], processes._start

    def start(run, *rest):
        order.append(run)
        return begin(run, *rest)

    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text("import sys; sys.stdin.read(); print('{\"result\": {}}')", encoding="utf-8")
    popen = processes.subprocess.Popen
    monkeypatch.setattr(processes.subprocess, "Popen", lambda command, **of: popen([sys.executable, str(stand_in)], **of))
    monkeypatch.setattr(processes, "_start", start)
    warm, branch, scratch = Run("warm", "uniform", 0), Run("branches", "a", 1), Run("scratch", "b", 0)
    found = processes.run_all([branch, warm, scratch], {}, lambda run, count: None, first=warm)
    assert set(found) == {warm, branch, scratch} and order.index(branch) > order.index(warm)
