"""`minimapnet train`."""

import shlex
import signal
from functools import partial
from pathlib import Path

from minimapnet import backend
from minimapnet.cli import config_file
from minimapnet.cli import options as option
from minimapnet.cli.build_trainer import build_trainer
from minimapnet.cli.model_folder import check_writable
from minimapnet.errors import InputError, tell
from minimapnet.text import sources
from minimapnet.text.load import warn_of_unknown
from minimapnet.training import checkpoint
from minimapnet.training.dry_run import dry_run
from minimapnet.training.settings import CorpusSettings, MaskSettings, ModelSettings, TrainSettings
from minimapnet.training.trainer import Trainer

OPTIONS = "options.toml"  # in a run's folder
OF_A_CALL = ("out", "resume", "dry-run")  # options that are of one call, and not of the run

DESCRIPTION = (
    "Train a BERT to guess masked tokens, with masks of a proposal, and write checkpoints that transformers reads as "
    "well. A run that was stopped goes on with --resume, bit for bit as if it had not been."
)


def add(command) -> None:
    """Add the command's options."""
    option.add_config(command, files)
    option.add_settings(command.add_argument_group("text"), CorpusSettings)
    model = command.add_argument_group("model")
    help = "a run, or a BERT in Hugging Face's format, whose model to start from"
    option.add(model, "--checkpoint", help, type=option.path, metavar="FOLDER", shown="a new model")
    option.add_settings(model, ModelSettings, unset=True)
    option.add_settings(command.add_argument_group("masks"), MaskSettings)
    option.add_settings(command.add_argument_group("steps"), TrainSettings)
    run = command.add_argument_group("run")
    option.add_out(run, "runs/train", "for checkpoints, log and options; one folder for one run")
    help = (
        "go on with the run in --out from its newest whole checkpoint, with the options it was begun with; with more "
        "--steps also past its end, with the optimizer's state and from there on the learning rate of a run of so many steps"
    )
    option.add_flag(run, "--resume", help)
    help = "make a few steps, say what the run would need, and write nothing but the text's tokens into --cache"
    option.add_flag(run, "--dry-run", help)
    option.add_backend(run)


def files(options) -> list[Path]:
    """Return the files of options, those that go before others last: of the run that is resumed, and of the user.

    Raises InputError where there is no run to resume.
    """
    paths = [options.config] if options.config else []
    if options.resume:
        if not checkpoint.exists(options.out):
            raise InputError(f"there is no run to resume in {options.out}: name it with --out, or leave out --resume")
        if (options.out / OPTIONS).is_file():
            paths.insert(0, options.out / OPTIONS)
    return paths


def run(options) -> int:
    """Train, and say where the model is and how to use it."""
    backend.use(options.backend)
    options.text = sources.kept(options.text, options.cache)  # a resumed run reads the copy of standard input
    options.validation = options.validation and sources.kept(options.validation, options.cache)
    if options.dry_run:
        return _dry_run(options)
    if checkpoint.exists(options.out) and not options.resume:
        raise InputError(
            f"{options.out} holds a run already: go on with it by --resume, or choose another folder with --out"
        )
    check_writable(options.out)
    if options.resume:
        _check_init(options)
    trainer = build_trainer(options, options.out)
    records = trainer.run(options.resume, on_begin=partial(_begin, options, trainer))
    if trainer.stopped in ("SIGINT", "SIGTERM"):
        tell(f"stopped by {trainer.stopped} {_how_to_go_on(trainer, options.out)}")
        return 128 + signal.Signals[trainer.stopped]
    _report(trainer, records, options.out)
    return 0


def _check_init(options) -> None:
    """Raise InputError where a run that is resumed did not begin as --init says: its weights are the checkpoint's by now."""
    file = options.out / OPTIONS
    begun = config_file.read(file).get("init", ModelSettings.init) if file.is_file() else options.init
    if options.init not in (None, begun):
        raise InputError(f"the run in {options.out} was begun with --init {begun}, not {options.init}: leave out --init")


def _begin(options, trainer: Trainer) -> None:
    """Write a new run's options; of a run that is resumed put in its number of steps, which may have changed."""
    file = options.out / OPTIONS
    if not options.resume:
        warn_of_unknown(trainer.text)
        config_file.write(options, file, OF_A_CALL)
    elif file.is_file():
        config_file.put(file, "steps", options.steps)


def _dry_run(options) -> int:
    if options.resume:
        raise InputError("--dry-run measures a run that has not begun: leave out --resume")
    trainer = build_trainer(options, None)
    warn_of_unknown(trainer.text)
    print(dry_run(trainer))
    return 0


def _report(trainer: Trainer, records: list[dict], out: Path) -> None:
    if trainer.stopped:
        print(f"Stopped by --max-minutes {_how_to_go_on(trainer, out)}")
    judged = [record for record in records if "validation_loss" in record]
    print(f"Trained on {trainer.text.name} for {trainer.step:,} steps in {trainer.seconds:,.1f} seconds.")
    print(f"Of its tokens {trainer.text.unknown_share:.2%} are [UNK].")
    for name, found in (("at first", judged[:1]), ("at last", judged[-1:])):  # none where the log was taken away
        for record in found:
            print(f"Validation loss {name}: {record['validation_loss']:.3f} nats per masked token (step {record['step']:,})")
    print(f"The model is in {checkpoint.model_folder(out)}, and the log in {out / 'log.jsonl'}. Let it guess:")
    print(f'  minimapnet fill-mask {shlex.quote(str(out))} "the {trainer.text.special.mask.text} is"')


def _how_to_go_on(trainer: Trainer, out: Path) -> str:
    command = f"minimapnet train --resume --out {shlex.quote(str(out))}"
    return f"after step {trainer.step:,} of {trainer.settings.steps:,}, with a checkpoint; go on by: {command}"
