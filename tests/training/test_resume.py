"""A run that is stopped, however, and resumed ends with the same bytes as one that was not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest

from minimapnet import Bert, InputError, backend
from minimapnet.mapnet.learner import MapNetScore
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.model.optimizer import AdamW
from minimapnet.proposals import BatchPoolProposal, PoolProposal, PositionProposal, SingleProposal, UniformProposal
from minimapnet.proposals.scores import mean_loss, output_bound
from minimapnet.training import checkpoint
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.run_fingerprint import describe_object
from tests.helpers import training_cases as cases

KILLS = 20


def logged(folder) -> list[dict]:
    return cases.without_time([json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()])


def files(folder) -> list:
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def assert_same_end(folder, expected) -> None:
    """The last checkpoint's bytes, but for the clock's, and the whole log."""
    left, right = (checkpoint.newest(where) for where in (folder, expected))
    assert left.step == right.step
    for name in ("model.safetensors", "state.safetensors", "config.json", "tokenizer.json"):
        assert (left.path / name).read_bytes() == (right.path / name).read_bytes(), name
    for about in (left.about, right.about):
        about.pop("seconds")
    assert left.about == right.about
    assert logged(folder) == logged(expected)


# Killed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_killed_twenty_times_and_still_the_same_bytes(tmp_path):
    """At random moments of one run: while it begins, resumes, trains, and writes or removes a checkpoint."""
    rng, resumed_from = random.Random(0), set()
    command = [sys.executable, "-m", "tests.helpers.kill_runs"]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    options["env"] = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, **options) as runs:

        def begin(folder) -> int:
            runs.stdin.write(f"{folder}\n")
            runs.stdin.flush()
            return int(runs.stdout.readline())

        try:
            begin(tmp_path / "whole")
            started = time.monotonic()
            assert runs.stdout.readline() == "0\n"
            taken = time.monotonic() - started
            for _ in range(KILLS):
                pid = begin(tmp_path / "killed")
                time.sleep(rng.uniform(0, 1.5 * taken / KILLS))  # three quarters of the run, but for what is lost
                os.kill(pid, signal.SIGKILL)
                assert int(runs.stdout.readline()) == signal.SIGKILL, "it ended before it could be killed"
                resumed_from |= {found.step for found in [checkpoint.newest(tmp_path / "killed")] if found}
            begin(tmp_path / "killed")
            assert runs.stdout.readline() == "0\n"
        finally:
            runs.kill()
    assert len(resumed_from) > KILLS // 4  # it did get on between the kills
    assert_same_end(tmp_path / "killed", tmp_path / "whole")
    assert len(list((tmp_path / "killed").iterdir())) == 4  # two checkpoints, the log and the lock


# Stopped


@pytest.mark.parametrize(("stop", "gradient_accumulation"), [(1, 1), (3, 1), (4, 4), (11, 1)])
def test_stopped_by_a_signal_and_resumed(xp, tmp_path, stop, gradient_accumulation):
    def run(folder, **options):
        made = cases.model(hidden_dropout_prob=0.1)
        changes = {
            "made": made,
            "proposal": cases.Learner(),
            "gradient_accumulation": gradient_accumulation,
            "options": options,
        }
        return cases.trainer(tmp_path / folder, **changes)

    whole = run("whole")
    whole.run()
    first = run("stopped", on_step=lambda run: run.step == stop and os.kill(os.getpid(), signal.SIGTERM))
    first.run()
    assert (first.step, first.stopped) == (stop, "SIGTERM")
    assert checkpoint.newest(tmp_path / "stopped").step == stop
    second = run("stopped")
    records = second.run(resume=True)
    assert second.stopped is None
    assert cases.without_time(records) == logged(tmp_path / "whole")
    assert (backend.to_host(second.model.flat) == backend.to_host(whole.model.flat)).all()
    assert_same_end(tmp_path / "stopped", tmp_path / "whole")
    assert records[-1]["seconds"] > first.seconds


LEARNED = {
    "single": lambda mapnet: SingleProposal(MapNetScore(mapnet), 0.3),
    "pool": lambda mapnet: PoolProposal(0.3, MapNetScore(mapnet, "cross-entropy"), 3, 0.3),
    "batch pool": lambda mapnet: BatchPoolProposal(1, MapNetScore(mapnet, "second-moment"), 4, uniform_mix=0.3),
    "position": lambda mapnet: PositionProposal(0.3, MapNetScore(mapnet), 0.3),
}


@pytest.mark.parametrize("kind", LEARNED.values(), ids=LEARNED)
def test_a_mapnet_goes_on_as_if_nothing_had_been(tmp_path, kind):
    def run(folder, **options):
        model = cases.model()
        mapnet = MapNet(MapNetConfig.for_model(model.config))
        return cases.trainer(tmp_path / folder, made=model, proposal=kind(mapnet), options=options)

    run("whole").run()
    run("stopped", on_step=lambda run: run.step == 5 and os.kill(os.getpid(), signal.SIGINT)).run()
    records = run("stopped").run(resume=True)
    assert "mapnet_loss" in records[-1]
    assert_same_end(tmp_path / "stopped", tmp_path / "whole")


def test_a_run_that_has_ended_has_nothing_left_to_do(tmp_path):
    records = cases.trainer(tmp_path / "run").run()
    before = checkpoint.newest(tmp_path / "run").path.stat().st_mtime_ns
    again = cases.trainer(tmp_path / "run")
    assert again.run(resume=True) == records
    assert checkpoint.newest(tmp_path / "run").path.stat().st_mtime_ns == before


@pytest.mark.parametrize("kind", [None, *LEARNED.values()], ids=["uniform", *LEARNED])
def test_a_run_goes_on_past_its_end_with_all_its_state(tmp_path, kind):
    """At a constant rate nothing depends on where the end is, so it is the longer run, bit for bit."""

    def run(folder, steps):
        model = cases.model(hidden_dropout_prob=0.1)
        proposal = kind and kind(MapNet(MapNetConfig.for_model(model.config)))
        rates = {"schedule": "constant", "warmup_ratio": 0.0}
        return cases.trainer(tmp_path / folder, made=model, proposal=proposal, steps=steps, **rates)

    run("whole", 18).run()
    run("longer", 12).run()
    run("longer", 18).run(resume=True)
    assert_same_end(tmp_path / "longer", tmp_path / "whole")


def test_past_the_end_the_rate_is_that_of_a_run_of_so_many_steps(tmp_path):
    cases.trainer(tmp_path / "run", log_every=1).run()
    longer = cases.trainer(tmp_path / "run", log_every=1, steps=20)
    records = longer.run(resume=True)
    assert [record["step"] for record in records] == list(range(21))
    rates = [record["learning_rate"] / longer.settings.learning_rate for record in records[1:]]
    old, new = cases.settings(), cases.settings(steps=20)
    assert rates == pytest.approx([old.lr_scale(i) for i in range(12)] + [new.lr_scale(i) for i in range(12, 20)])
    assert rates[11] < rates[12] > rates[19]
    again = cases.trainer(tmp_path / "run", log_every=1, steps=20)
    assert again.run(resume=True) == records  # there is nothing left to do


def test_a_run_that_was_stopped_may_end_elsewhere_but_not_before_what_was_made(tmp_path):
    cases.trainer(tmp_path / "run", options={"on_step": lambda run: run.step == 5 and os.kill(os.getpid(), 2)}).run()
    before = files(tmp_path / "run")
    for steps in (1, 4, 5):
        with pytest.raises(InputError, match=f"run has made 5 steps, and {steps} are asked for: give more"):
            cases.trainer(tmp_path / "run", steps=steps).run(resume=True)
    assert files(tmp_path / "run") == before
    assert cases.trainer(tmp_path / "run", steps=7).run(resume=True)[-1]["step"] == 7
    assert checkpoint.newest(tmp_path / "run").step == 7


def test_what_the_log_says_after_the_checkpoint_is_cut_off(tmp_path):
    cases.trainer(tmp_path / "whole").run()
    cases.trainer(tmp_path / "run").run()
    shutil.rmtree(tmp_path / "run" / "step-00000012")
    with open(tmp_path / "run" / "log.jsonl", "a") as log:
        log.write('{"step": 14, "lo')  # cut by a power failure
    assert checkpoint.newest(tmp_path / "run").step == 9
    cases.trainer(tmp_path / "run").run(resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_damaged_checkpoint_costs_the_steps_since_its_elder(tmp_path, capsys):
    cases.trainer(tmp_path / "whole").run()
    cases.trainer(tmp_path / "run").run()
    weights = tmp_path / "run" / "step-00000012" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    cases.trainer(tmp_path / "run").run(resume=True)
    assert "step-00000012 is damaged: model.safetensors" in capsys.readouterr().err
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_divergence_leaves_the_last_good_checkpoint(tmp_path):
    def spoil(run):
        if run.step == 5:
            run.model.params["word_embedding"][:] = float("inf")

    with pytest.raises(InputError, match=rf"training diverged at step 5 .*; the checkpoint before it is in {tmp_path}/run"):
        cases.trainer(tmp_path / "run", options={"on_step": spoil}, checkpoint_every=1).run()
    assert checkpoint.newest(tmp_path / "run").step == 4


def test_a_model_that_is_no_longer_finite_is_not_saved(tmp_path):
    class Overflowing(UniformProposal):
        """Spoils the model while it learns, after the update and before the checkpoint of the same step."""

        def learns_after(self, steps):
            return True

        def draw(self, model, *arguments):
            self.model = model
            return super().draw(model, *arguments)

        def learn(self, batch, norms, lr_scale=1.0):
            if lr_scale < 0.5:
                self.model.params["word_embedding"][5] = float("inf")
            return {}

    with pytest.raises(InputError, match=r"training diverged at step 9 .*: a parameter is no longer finite"):
        cases.trainer(tmp_path / "run", proposal=Overflowing(0.3), options={"evaluation": None}).run()
    assert checkpoint.newest(tmp_path / "run").step == 6


def test_a_run_may_begin_with_the_model_of_another(tmp_path):
    first = cases.trainer(tmp_path / "first")
    end = first.run()[-1]["validation_loss"]
    pretrained = Bert.from_pretrained(checkpoint.model_folder(tmp_path / "first"))
    records = cases.trainer(tmp_path / "second", made=pretrained, schedule="constant").run()
    assert records[0]["validation_loss"] == end
    assert records[1]["step"] == 2


# Refused


DIFFERENCES = {
    "settings.batch_size 6, not 7": lambda folder: cases.trainer(folder, batch_size=7),
    "settings.learning_rate 0.01, not 0.02": lambda folder: cases.trainer(folder, learning_rate=2e-2),
    "settings.schedule 'linear', not 'constant'": lambda folder: cases.trainer(folder, schedule="constant"),
    "settings.seed 0, not 1": lambda folder: cases.trainer(folder, seed=1),
    "model.hidden_size 8, not 10": lambda folder: cases.trainer(folder, made=cases.model(hidden_size=10)),
    "model.dtype 'float32', not 'float64'": lambda folder: cases.trainer(folder, made=cases.model("float64")),
    "text.train.tokens": lambda folder: cases.trainer(folder, text=cases.TinyText(1)),
    "proposal.k 0.3, not 0.2": lambda folder: cases.trainer(folder, proposal=UniformProposal(0.2)),
    "proposal.kind 'UniformProposal', not 'Learner'": lambda folder: cases.trainer(folder, proposal=cases.Learner()),
    "evaluation.k 0.3, not 1": lambda folder: cases.trainer(
        folder, options={"evaluation": Evaluation(cases.TinyText().validation, 1, 1)}
    ),
    "without replacement, not 'bert'": lambda folder: cases.trainer(folder, options={"replacement": "bert"}),
    "evaluation.k 0.3, which is not given now": lambda folder: cases.trainer(folder, options={"evaluation": None}),
}


@pytest.mark.parametrize(("message", "other"), DIFFERENCES.items(), ids=DIFFERENCES)
def test_other_settings_are_refused_by_the_first_that_differs(tmp_path, message, other):
    cases.trainer(tmp_path / "run", options={"on_step": lambda run: os.kill(os.getpid(), signal.SIGINT)}).run()
    before = files(tmp_path / "run")
    with pytest.raises(InputError) as error:
        other(tmp_path / "run").run(resume=True)
    words = message if message.startswith("without") else f"with {message}"
    assert str(error.value).startswith(f"the run in {tmp_path}/run was begun {words}")
    assert files(tmp_path / "run") == before


def test_scores_and_learned_networks_are_told_apart(tmp_path):
    cases.trainer(tmp_path / "run", proposal=PoolProposal(1, mean_loss, 2), steps=1).run()
    with pytest.raises(InputError, match=r"begun with proposal\.score 'mean_loss', not 'output_bound'"):
        cases.trainer(tmp_path / "run", proposal=PoolProposal(1, output_bound, 2), steps=1).run(resume=True)


def test_an_object_is_described_by_what_it_was_made_from():
    optimizer = AdamW(cases.model())
    found = describe_object({"one": [optimizer, 1.5], "rng": numpy.random.default_rng(0), "number": numpy.float64(2)})
    assert json.loads(json.dumps(found)) == found
    adamw, _ = found["one"]
    assert adamw["kind"] == "AdamW"
    assert adamw["betas"] == [0.9, 0.98]
    assert adamw["model"]["config"]["vocab_size"] == cases.VOCABULARY
    assert adamw["mean"] == describe_object(numpy.zeros(optimizer.mean.shape, "float32"))
    assert adamw["mean"] != describe_object(numpy.ones(optimizer.mean.shape, "float32"))
    assert (found["rng"], found["number"]) == ({"kind": "Generator"}, 2.0)


def test_what_changes_no_number_may_differ(tmp_path):
    cases.trainer(tmp_path / "whole").run()
    cases.trainer(tmp_path / "run", options={"on_step": lambda run: os.kill(os.getpid(), signal.SIGINT)}).run()
    cases.trainer(tmp_path / "run", checkpoint_every=5, max_minutes=9).run(resume=True)
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    cases.trainer(tmp_path / "run").run()
    before = logged(tmp_path / "run")
    with pytest.raises(InputError, match=r"run holds a run already: resume it, or choose another folder"):
        cases.trainer(tmp_path / "run").run()
    assert logged(tmp_path / "run") == before


def test_there_must_be_a_run_to_resume(tmp_path):
    for folder in (tmp_path / "nowhere", None):
        with pytest.raises(InputError, match=f"there is no run to resume in {folder}: begin one, without resuming"):
            cases.trainer(folder).run(resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    def second(run):
        with pytest.raises(InputError, match=r"another process is training in .*run: wait for it, or choose another folder"):
            cases.trainer(tmp_path / "run").run(resume=True)

    cases.trainer(tmp_path / "run", options={"on_step": second}, steps=2).run()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to the folder .*file/run: Not a directory; choose another"):
        cases.trainer(tmp_path / "file" / "run").run()


def test_a_full_disk_stops_the_run_in_one_line(tmp_path, monkeypatch):
    def fill(run):
        if run.step == 4:
            monkeypatch.setattr(run.log, "path", Path("/dev/full"))

    run = cases.trainer(tmp_path / "run", options={"on_step": fill})
    with pytest.raises(InputError, match="cannot write /dev/full: No space left on device"):
        run.run()
    assert checkpoint.newest(tmp_path / "run").step == 3


def test_all_is_on_the_disk_before_a_checkpoint_takes_its_name(tmp_path, monkeypatch):
    """After a power cut a checkpoint's files are there with their contents, and the log up to its step."""
    synced, renamed, sync, rename = {}, [], os.fsync, os.rename

    def noted_sync(handle):
        sync(handle)
        synced[os.fstat(handle).st_ino] = os.fstat(handle).st_size

    def noted_rename(source, target):
        if Path(target).name.startswith("step-"):
            for path in [*Path(source).iterdir(), tmp_path / "run" / "log.jsonl"]:
                assert synced[path.stat().st_ino] == path.stat().st_size, path.name
            assert Path(source).stat().st_ino in synced
            renamed.append(Path(target))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "rename", noted_rename)
    cases.trainer(tmp_path / "run").run()
    assert len(renamed) == 5  # at 0, 3, 6, 9 and 12
    assert (tmp_path / "run").stat().st_ino in synced
