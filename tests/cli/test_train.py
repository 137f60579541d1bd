"""`minimapnet train`: what it writes and says, that flags arrive, and that a run goes on as if it had never stopped."""

import io
import json
import lzma
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from minimapnet import proposals as kinds
from minimapnet.cli import build_trainer, main
from minimapnet.model.bert import Bert
from minimapnet.text.batches import PackedRows, SentenceRows
from minimapnet.text.load import LAYOUTS
from minimapnet.training import proposal_registry
from minimapnet.training.trainer import Trainer
from tests.helpers.command_cases import assert_refused, called, environment, text_file, train
from tests.helpers.text_cases import made_up


@pytest.fixture
def folder(tmp_path):
    text_file(tmp_path)
    return tmp_path


def made(arguments) -> Trainer:
    """Return the trainer that a command would run."""
    return build_trainer.build_trainer(main._options(list(map(str, arguments))), None)


def records(run) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def model_bytes(run, step: int) -> bytes:
    return (run / f"step-{step:08d}/model.safetensors").read_bytes()


def test_it_trains_and_says_where_the_model_is_and_how_to_use_it(folder, capsys):
    result = called(capsys, *train(folder, "--steps", 60, "--learning-rate", 0.01))
    assert (result.returncode, result.stderr) == (0, "")
    losses = [record["validation_loss"] for record in records(folder / "run") if "validation_loss" in record]
    assert losses[-1] < losses[0] - 0.3
    assert f"{losses[0]:.3f} nats" in result.stdout and f"{losses[-1]:.3f} nats" in result.stdout
    assert str(folder / "run/step-00000060") in result.stdout
    words = shlex.split(result.stdout.splitlines()[-1])
    assert words[0] == "minimapnet"
    guesses = called(capsys, *words[1:])
    assert guesses.returncode == 0
    assert guesses.stdout.count("%") == 5
    assert sorted(path.name for path in (folder / "run").iterdir() if not path.name.startswith(".")) == [
        "log.jsonl",
        "options.toml",
        "step-00000000",
        "step-00000060",
    ]


def test_one_seed_gives_the_same_bytes_and_another_does_not(folder, capsys):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert called(capsys, *train(folder, "--out", folder / name, "--seed", seed)).returncode == 0
    assert model_bytes(folder / "a", 6) == model_bytes(folder / "b", 6) != model_bytes(folder / "c", 6)


def test_flags_arrive(folder):
    options = "--gradient-accumulation 2 --learning-rate 0.5 --warmup-ratio 0.25 --schedule constant --weight-decay 0"
    options += " --max-grad-norm 3 --seed 10"
    options += " --eval-every 7 --checkpoint-every 8 --max-minutes 9 --steps 11 --batch-size 5 --dropout 0.125 --layers 3"
    options += (
        " --heads 4 --hidden-size 24 --max-length 20 --vocab-size 50 --layout sentences --tokenizer characters --mask-rate 2"
    )
    options += " --candidates 3 --uniform-mix 0.25 --proposal optimal-pool"
    trainer = made(train(folder, *options.split()))
    settings, config = trainer.settings, trainer.model.config
    assert (settings.gradient_accumulation, settings.learning_rate, settings.warmup_ratio) == (2, 0.5, 0.25)
    assert (settings.schedule, settings.weight_decay, settings.max_grad_norm) == ("constant", 0, 3)
    assert (settings.eval_every, settings.checkpoint_every, settings.max_minutes) == (7, 8, 9)
    assert (settings.seed, settings.steps, settings.batch_size) == (10, 11, 5)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.125, 0.125)
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (3, 4, 24)
    assert (config.intermediate_size, config.max_position_embeddings) == (96, 20)
    assert isinstance(trainer.text.train, SentenceRows)
    assert trainer.text.vocab_size <= 50
    assert all(len(piece.removeprefix("##")) == 1 for piece in trainer.text.tokenizer.get_vocab() if piece[0] != "[")
    assert (trainer.proposal.k, trainer.proposal.candidates, trainer.proposal.uniform_mix) == (2, 3, 0.25)
    assert trainer.evaluation.k == 0.15


@pytest.mark.parametrize(("options", "init"), [((), "mimetic"), (("--init", "random"), "random")])
def test_a_new_model_begins_as_the_flag_says(folder, options, init):
    model = made(train(folder, *options, "--seed", 5)).model
    assert model.flat.tobytes() == Bert(model.config, 5, init).flat.tobytes()
    other = {"mimetic": "random", "random": "mimetic"}[init]
    assert model.flat.tobytes() != Bert(model.config, 5, other).flat.tobytes()


def test_defaults_are_those_of_the_help(folder):
    trainer = made(["train", "--text", folder / "text.txt", "--cache", folder / "cache"])
    config, settings = trainer.model.config, trainer.settings
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (128, 2, 4)
    assert (config.hidden_dropout_prob, config.max_position_embeddings) == (0, 64)
    assert (settings.steps, settings.batch_size, settings.learning_rate, settings.seed) == (2000, 24, 2e-3, 0)
    assert isinstance(trainer.text.train, PackedRows)
    assert (type(trainer.proposal), trainer.proposal.k) == (kinds.UniformProposal, 0.4)


@pytest.mark.parametrize("name", proposal_registry.KINDS)
def test_every_proposal_trains(folder, capsys, name):
    options = train(folder, "--proposal", name, "--steps", 8, "--vocab-size", 128)  # MAPNet learns from every fourth
    trainer = made(options)
    assert type(trainer.proposal) is proposal_registry.KINDS[name].proposal
    assert trainer.evaluation.k == 0.15
    assert called(capsys, *options).returncode == 0
    assert ("mapnet_loss" in records(folder / "run")[-1]) == name.startswith("mapnet")


def test_a_run_that_was_stopped_ends_as_one_that_was_not(folder, capsys):
    options = train(folder, "--steps", 8, "--checkpoint-every", 2, "--proposal", "mapnet-pool")
    assert called(capsys, *options).returncode == 0
    assert called(capsys, *options, "--out", folder / "other").returncode == 0
    shutil.rmtree(folder / "other/step-00000008")
    result = called(capsys, "train", "--resume", "--out", folder / "other")  # nothing else is said again
    assert (result.returncode, result.stderr) == (0, "")
    assert model_bytes(folder / "other", 8) == model_bytes(folder / "run", 8)


def test_a_resumed_run_keeps_its_options_from_any_folder(folder, capsys, monkeypatch):
    """What was given as a relative path is found from another folder as well, and another time limit may be given."""
    monkeypatch.chdir(folder)
    options = train(folder, "--text", "text.txt", "--cache", "cache", "--out", "run", "--max-minutes", 1e-9)
    result = called(capsys, *options)
    assert result.returncode == 0
    assert "Stopped by --max-minutes after step 1 of 6" in result.stdout
    monkeypatch.chdir("/")
    stored = tomllib.loads((folder / "run/options.toml").read_text())
    assert stored["text"] == str(folder / "text.txt")
    assert not {"out", "resume", "dry-run", "config", "checkpoint"} & stored.keys()
    result = called(capsys, "train", "--resume", "--out", folder / "run", "--max-minutes", 9)
    assert "for 6 steps" in result.stdout


def test_a_resumed_run_cannot_become_another(folder, capsys):
    assert called(capsys, *train(folder)).returncode == 0
    before = (folder / "run/options.toml").read_bytes()
    result = called(capsys, "train", "--resume", "--out", folder / "run", "--batch-size", 5)
    assert_refused(result, "was begun with settings.batch_size 4, not 5")
    assert (folder / "run/options.toml").read_bytes() == before


def test_a_run_that_has_ended_may_be_asked_again_without_its_log(folder, capsys):
    assert called(capsys, *train(folder)).returncode == 0
    (folder / "run/log.jsonl").unlink()
    result = called(capsys, "train", "--resume", "--out", folder / "run")
    assert (result.returncode, result.stderr) == (0, "")
    assert "for 6 steps" in result.stdout and "Validation loss" not in result.stdout


def test_it_starts_from_a_checkpoint_with_its_tokenizer(folder, capsys):
    assert called(capsys, *train(folder, "--steps", 30, "--dropout", 0.25)).returncode == 0
    places = ("--text", folder / "text.txt", "--cache", folder / "cache", "--max-length", 12, "--batch-size", 4)
    options = ("train", *places, "--checkpoint", folder / "run", "--out", folder / "second", "--steps", 1)
    assert called(capsys, *options).returncode == 0
    first, second = records(folder / "run"), records(folder / "second")
    assert second[0]["validation_loss"] == pytest.approx(first[-1]["validation_loss"], rel=1e-6)
    assert made(options).model.config.hidden_dropout_prob == 0.25
    assert made([*options, "--dropout", 0]).model.config.hidden_dropout_prob == 0
    assert made(options).text.tokenizer.to_str() == made(train(folder)).text.tokenizer.to_str()


def test_a_model_that_does_not_know_mask_is_told_of_it(folder, capsys):
    assert called(capsys, *train(folder)).returncode == 0
    start = shutil.copytree(folder / "run/step-00000006", folder / "start")
    config = json.loads((start / "config.json").read_text())
    config["mask_token_id"] = config["pad_token_id"] = None
    (start / "config.json").write_text(json.dumps(config))
    tokenizer = (start / "tokenizer.json").rename(folder / "pieces.json")
    assert Bert.from_pretrained(start).config.mask_token_id is None
    places = ("--text", folder / "text.txt", "--cache", folder / "cache", "--max-length", 12, "--batch-size", 4)
    trainer = made(["train", *places, "--checkpoint", start, "--tokenizer", tokenizer])
    assert (trainer.model.config.mask_token_id, trainer.model.config.pad_token_id) == (4, 0)


def test_a_dry_run_writes_nothing_but_the_cache(folder, capsys):
    result = called(capsys, *train(folder, "--dry-run", "--out", folder / "nothing"))
    assert result.returncode == 0
    assert "4 rows of up to 12 tokens" in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "text.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_with_a_checkpoint_to_go_on_from(folder, capsys, number):
    line = [sys.executable, "-m", "minimapnet", *train(folder, "--steps", 100_000, "--checkpoint-every", 0)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        deadline = time.monotonic() + 60
        log = folder / "run/log.jsonl"
        while not (log.exists() and len(log.read_text().splitlines()) > 2) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (128 + number, "")
    last = stderr.splitlines()[-1]
    assert last.startswith(f"minimapnet: stopped by {number.name} after step ")
    assert "Traceback" not in stderr
    step = int(last.split(" of ")[0].split()[-1].replace(",", ""))
    assert (folder / f"run/step-{step:08d}/run.json").exists()
    words = shlex.split(last.split("go on by: ")[1])
    assert called(capsys, *words[1:], "--max-minutes", 1e-9).returncode == 0
    assert (folder / f"run/step-{step + 1:08d}/run.json").exists()


@pytest.mark.parametrize("name", proposal_registry.KINDS)
def test_the_shortest_rows_train_with_every_proposal(folder, capsys, name):
    """Some have a single token to mask, beside [SEP]; a row of two could have none."""
    options = train(folder, "--max-length", 3, "--batch-size", 40, "--steps", 3, "--proposal", name)
    rows = made(options).text.train
    assert rows.batch(range(len(rows))).maskable.sum(axis=1).min() == 1
    assert called(capsys, *options).returncode == 0


def test_a_text_from_standard_input_is_read_again_when_a_run_goes_on(folder, capsys, monkeypatch):
    content = (folder / "text.txt").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    options = train(folder, "--text", "-", "--layout", "lines", "--max-minutes", 1e-9)
    assert "Stopped by --max-minutes" in called(capsys, *options).stdout
    monkeypatch.setattr(sys, "stdin", None)
    (folder / "text.txt").unlink()
    result = called(capsys, "train", "--resume", "--out", folder / "run", "--max-minutes", 9)
    assert (result.returncode, result.stderr) == (0, "")
    assert "for 6 steps" in result.stdout
    assert "Trained on stdin-" in result.stdout


@pytest.mark.parametrize("layout", ["lines", "sentences", "packed"])
def test_text_options_arrive_and_are_kept(folder, capsys, layout):
    lines = [json.dumps({"body": sentence.lower()}) for sentence in made_up(300, seed=1)]
    (folder / "main.jsonl.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    (folder / "theirs.jsonl").write_text("\n".join(json.dumps({"body": s}) for s in made_up(50, seed=2)))
    options = train(folder, "--text", folder / "main.jsonl.xz", "--validation", folder / "theirs.jsonl", "--field", "body")
    options += ["--layout", layout]
    trainer = made(options)
    assert type(trainer.text.train) is LAYOUTS[layout]
    assert len(trainer.text.validation) < len(trainer.text.train)
    assert called(capsys, *options).returncode == 0
    shutil.rmtree(folder / "run/step-00000006")
    assert called(capsys, "train", "--resume", "--out", folder / "run").returncode == 0
    (folder / "theirs.jsonl").write_text(json.dumps({"body": "Something else."}) * 2)
    assert_refused(
        called(capsys, "train", "--resume", "--out", folder / "run"), "theirs.jsonl line 1 is not JSON: Extra data"
    )


def test_a_finished_run_goes_on_past_its_end(folder, capsys):
    run = folder / "run"
    assert called(capsys, *train(folder)).returncode == 0
    assert_refused(called(capsys, "train", "--resume", "--out", run, "--steps", 5), "has made 6 steps, and 5 are asked for")
    assert tomllib.loads((run / "options.toml").read_text())["steps"] == 6
    result = called(capsys, "train", "--resume", "--out", run, "--steps", 9)
    assert result.returncode == 0
    assert "for 9 steps" in result.stdout
    assert [record["step"] for record in records(run) if "validation_loss" in record] == [0, 6, 9]
    saved = tomllib.loads((run / "options.toml").read_text())
    assert (saved["steps"], saved["max-length"]) == (9, 12)
    shutil.rmtree(run / "step-00000009")  # as if it had been killed before its end
    assert called(capsys, "train", "--resume", "--out", run).returncode == 0
    assert model_bytes(run, 9)


def test_the_replacement_arrives_and_is_kept(folder, capsys):
    assert made(train(folder)).replacement == "bert"
    assert made(train(folder, "--replacement", "mask")).replacement == "mask"
    assert called(capsys, *train(folder, "--steps", 2)).returncode == 0
    assert called(capsys, "train", "--resume", "--out", folder / "run", "--steps", 4).returncode == 0
    refused = called(capsys, "train", "--resume", "--out", folder / "run", "--replacement", "mask")
    assert_refused(refused, "with replacement 'bert', which is not given now")


def test_the_start_is_not_chosen_anew_when_a_run_goes_on(folder, capsys):
    assert called(capsys, *train(folder, "--init", "random", "--steps", 2)).returncode == 0
    resume = ("train", "--resume", "--out", folder / "run", "--steps")
    refused = called(capsys, *resume, 4, "--init", "mimetic")
    assert_refused(refused, "was begun with --init random, not mimetic: leave out --init")
    assert called(capsys, *resume, 4).returncode == 0
    assert called(capsys, *resume, 6, "--init", "random").returncode == 0


def test_a_run_that_named_no_start_goes_on_with_the_default_alone(folder, capsys):
    assert called(capsys, *train(folder, "--steps", 2)).returncode == 0
    resume = ("train", "--resume", "--out", folder / "run", "--steps")
    assert_refused(called(capsys, *resume, 4, "--init", "random"), "was begun with --init mimetic, not random")
    assert called(capsys, *resume, 4, "--init", "mimetic").returncode == 0
