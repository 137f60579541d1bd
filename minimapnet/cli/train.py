"""`minimapnet train`."""

import shlex
import signal
import sys
from functools import partial
from pathlib import Path

from minimapnet import backend
from minimapnet.cli import build_trainer, config_file
from minimapnet.cli import options as option
from minimapnet.cli.model_folder import check_writable
from minimapnet.errors import InputError
from minimapnet.text import sources
from minimapnet.text.tokenizer import VOCAB_SIZE
from minimapnet.training import checkpoint, proposal_registry
from minimapnet.training.dry_run import dry_run
from minimapnet.training.settings import SCHEDULES, TrainSettings
from minimapnet.training.trainer import Trainer

USUAL = TrainSettings()
OPTIONS = "options.toml"  # in a run's folder
OF_A_CALL = ("out", "resume", "dry-run")  # options that are of one call, and not of the run
TOKENIZERS = ("wordpiece", "characters")

DESCRIPTION = (
    "Train a BERT to guess masked tokens, with masks of a proposal, and write checkpoints that transformers reads as "
    "well. A run that was stopped goes on with --resume, bit for bit as if it had not been."
)


def add(command) -> None:
    """Add the command's options."""
    option.add_config(command, files)
    _add_text(command.add_argument_group("text"))
    _add_model(command.add_argument_group("model"))
    _add_masks(command.add_argument_group("masks"))
    _add_steps(command.add_argument_group("steps"))
    _add_run(command.add_argument_group("run"))


def files(options) -> list[Path]:
    """Return the files of options, those that go before others last: of the run that is resumed, and of the user.

    Raises InputError where there is no run to resume.
    """
    found = [options.config] if options.config else []
    if options.resume:
        if not checkpoint.exists(options.out):
            raise InputError(f"there is no run to resume in {options.out}: name it with --out, or leave out --resume")
        if (options.out / OPTIONS).is_file():
            found.insert(0, options.out / OPTIONS)
    return found


def run(options) -> int:
    """Train, and say where the model is and how to use it."""
    backend.use(options.backend)
    if options.dry_run:
        return _dry_run(options)
    if checkpoint.exists(options.out) and not options.resume:
        raise InputError(
            f"{options.out} holds a run already: go on with it by --resume, or choose another folder with --out"
        )
    check_writable(options.out)
    trainer = build_trainer.trainer(options, options.out)
    records = trainer.run(options.resume, on_begin=None if options.resume else partial(_write_options, options))
    if trainer.stopped in ("SIGINT", "SIGTERM"):
        print(f"minimapnet: stopped by {trainer.stopped} {_how_to_go_on(trainer, options.out)}", file=sys.stderr)
        return 128 + signal.Signals[trainer.stopped]
    _report(trainer, records, options.out)
    return 0


def _write_options(options) -> None:
    config_file.write(options, options.out / OPTIONS, OF_A_CALL)


def _add_text(group) -> None:
    add = option.add
    names = ", ".join(sources.NAMES)
    what = f"the text: {names}; or a UTF-8 file, a folder of them, or a .gz"
    add(group, "--text", what, "python-docs", type=_named(sources.NAMES), metavar="TEXT")
    what = "wordpiece or characters, made from the text; or a tokenizer.json or vocab.txt"
    shown = "the checkpoint's; for a new model wordpiece"
    add(group, "--tokenizer", what, type=_named(TOKENIZERS), metavar="NAME", shown=shown)
    add(
        group,
        "--vocab-size",
        "the most tokens that a new tokenizer knows",
        VOCAB_SIZE,
        type=option.whole(16, 10**6),
        metavar="N",
    )
    add(group, "--max-length", "tokens of a row", 64, type=option.whole(2, 2**16), metavar="N")
    what = "rows full of text, or sentences: each in a row of its own, with padding"
    add(group, "--layout", what, "packed", choices=("packed", "sentences"))
    what = "where the text's tokens are kept, to be read faster the next time"
    add(group, "--cache", what, Path("runs/cache"), type=option.path, metavar="FOLDER")


def _add_model(group) -> None:
    add, sizes = option.add, build_trainer.SIZES
    what = "a run, or a BERT in Hugging Face's format, whose model to start from"
    add(group, "--checkpoint", what, type=option.path, metavar="FOLDER", shown="a new model")
    new = "; of a new model"
    kind = option.whole(1, 2**16)
    add(group, "--hidden-size", "channels of a token" + new, type=kind, metavar="N", shown=str(sizes["hidden_size"]))
    add(group, "--layers", "layers" + new, type=option.whole(1, 1000), metavar="N", shown=str(sizes["layers"]))
    add(group, "--heads", "attention heads of a layer" + new, type=kind, metavar="N", shown=str(sizes["heads"]))
    shown = "the checkpoint's; for a new model 0"
    add(group, "--dropout", "share of values dropped in training", type=option.BELOW_ONE, metavar="P", shown=shown)


def _add_masks(group) -> None:
    add = option.add
    what = f"how masks are drawn. {proposal_registry.summaries()}"
    add(group, "--proposal", what, "uniform", choices=list(proposal_registry.KINDS))
    what = "tokens of a row to mask: a share below 1, or a whole number"
    shown = f"{proposal_registry.MASK_RATE}; 1 where the proposal masks one position"
    add(group, "--mask-rate", what, type=option.MASK, metavar="K", shown=shown)
    what = "masks of a row, all of them used"
    add(group, "--masks", what, type=option.whole(1), metavar="N", shown=proposal_registry.defaults("masks"))
    what = "masks of a row that a pool chooses from"
    add(group, "--candidates", what, type=option.whole(1), metavar="N", shown=proposal_registry.defaults("candidates"))
    what = "share of uniform masks, of proposals that draw by scores"
    add(group, "--uniform-mix", what, type=option.SHARE, metavar="X", shown=proposal_registry.defaults("uniform_mix"))


def _add_steps(group) -> None:
    add, whole = option.add, option.whole
    add(group, "--steps", "training steps", USUAL.steps, type=whole(1), metavar="N")
    add(group, "--batch-size", "rows of text in a step", USUAL.batch_size, type=whole(1), metavar="N")
    what = "parts of a step that go through the model one after the other, for less memory"
    add(group, "--gradient-accumulation", what, USUAL.gradient_accumulation, type=whole(1), metavar="N")
    rate = USUAL.learning_rate
    add(group, "--learning-rate", "AdamW's, at its highest", rate, type=option.POSITIVE, metavar="X")
    what = "share of the steps in which the learning rate rises"
    add(group, "--warmup-ratio", what, USUAL.warmup_ratio, type=option.SHARE, metavar="X")
    what = "the learning rate after the warm-up: down to 0 in a line, or constant"
    add(group, "--schedule", what, USUAL.schedule, choices=SCHEDULES)
    what = "AdamW's, on weights and tables alone"
    add(group, "--weight-decay", what, USUAL.weight_decay, type=option.NOT_NEGATIVE, metavar="X")
    add(
        group,
        "--max-grad-norm",
        "the longest gradient that is not shortened",
        USUAL.max_grad_norm,
        type=option.POSITIVE,
        metavar="X",
    )


def _add_run(group) -> None:
    add, whole = option.add, option.whole
    masks = f"fixed uniform masks of {proposal_registry.MASK_RATE:.0%}, whatever --mask-rate is"
    what = f"steps between evaluations on {masks}; 0: before the first step and after the last"
    add(group, "--eval-every", what, 250, type=whole(0), metavar="N")
    what = "steps between checkpoints; 0: at the end alone"
    add(group, "--checkpoint-every", what, USUAL.checkpoint_every, type=whole(0), metavar="N")
    what = "stop with a checkpoint after so many minutes of training"
    add(group, "--max-minutes", what, type=option.POSITIVE, metavar="X", shown="no limit")
    option.add_out(group, "runs/train", "for checkpoints, log and options; one folder for one run")
    what = "go on with the run in --out from its newest whole checkpoint, with the options it was begun with"
    option.add_flag(group, "--resume", what)
    what = "make a few steps, say what the run would need, and write nothing but the text's tokens into --cache"
    option.add_flag(group, "--dry-run", what)
    option.add_seed(group, "of the model, the order of rows and the masks")
    option.add_backend(group)


def _named(names):
    """Return the type of an option that is one of `names`, or a path."""
    return lambda text: text if text in names else option.path(text)


def _dry_run(options) -> int:
    if options.resume:
        raise InputError("--dry-run measures a run that has not begun: leave out --resume")
    print(dry_run(build_trainer.trainer(options, None)))
    return 0


def _report(trainer: Trainer, records: list[dict], out: Path) -> None:
    if trainer.stopped:
        print(f"Stopped by --max-minutes {_how_to_go_on(trainer, out)}")
    judged = [record for record in records if "validation_loss" in record]
    print(f"Trained on {trainer.text.name} for {trainer.step:,} steps in {trainer.seconds:,.1f} seconds.")
    for name, found in (("at first", judged[:1]), ("at last", judged[-1:])):  # none where the log was taken away
        for record in found:
            print(f"Validation loss {name}: {record['validation_loss']:.3f} nats per masked token (step {record['step']:,})")
    print(f"The model is in {checkpoint.model_folder(out)}, and the log in {out / 'log.jsonl'}. Let it guess:")
    print(f'  minimapnet fill-mask {shlex.quote(str(out))} "the [MASK] is"')


def _how_to_go_on(trainer: Trainer, out: Path) -> str:
    command = f"minimapnet train --resume --out {shlex.quote(str(out))}"
    return f"after step {trainer.step:,} of {trainer.settings.steps:,}, with a checkpoint; go on by: {command}"
