"""The trainer: one loop from rows of text to a trained model, which can be stopped at any moment and resumed bit for bit.

Whatever is random is keyed by (seed, purpose, step), so a checkpoint needs no generator's state. Two runs agree bit for bit
on one kind of machine with one number of threads: another cut of the batch adds up in another order.
"""

import dataclasses
import math
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from tqdm import tqdm

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.replacement import KINDS as REPLACEMENTS
from minimapnet.model.bert import Bert
from minimapnet.model.optimizer import AdamW
from minimapnet.progress import progress
from minimapnet.proposals.base import Proposal
from minimapnet.training import checkpoint, run_fingerprint
from minimapnet.training.checkpoint import only_writer
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.log import Log
from minimapnet.training.settings import TrainSettings
from minimapnet.training.signals import Interruption
from minimapnet.training.step import Gradient, draw, variance_of_mean

BAR = "{desc} {percentage:3.0f} %|{bar:10}| {elapsed}, {remaining} left{postfix}"


class Trainer:
    """Trains a model on a text with the masks of a proposal.

    `step` counts the steps made, `seconds` is the time that they took, without evaluations, checkpoints and `on_step`, and
    `tokens` what they took through the model, without padding. `stopped` says why a run ended before its last step:
    "SIGINT", "SIGTERM" or "max_minutes", else None.
    """

    def __init__(
        self,
        model: Bert,
        text,
        proposal: Proposal,
        settings: TrainSettings,
        folder: Path | None = None,
        evaluation: Evaluation | None = None,
        bar: tqdm | None = None,
        on_step: Callable[["Trainer"], None] | None = None,
        replacement: str = "mask",
    ):
        """`text` is a Text of `text.load`. Without a `folder` nothing is written. By `evaluation` the model is judged before
        the first step, every `eval_every` steps and after the last one. `bar` is moved by one a step; without it one is
        shown on a terminal. `on_step` is called after every step. `replacement` is what the model reads at masked tokens,
        of `masks.replacement.KINDS`.

        Raises InputError for a text that is too short for a step, or does not fit the model.
        """
        _check_text(model, text, settings)
        if settings.dropout is not None:
            p = settings.dropout
            model.config = dataclasses.replace(model.config, hidden_dropout_prob=p, attention_probs_dropout_prob=p)
        self.model, self.text, self.proposal, self.settings = model, text, proposal, settings
        self.folder, self.evaluation, self.bar, self.on_step = folder and Path(folder), evaluation, bar, on_step
        if replacement not in REPLACEMENTS:
            raise InputError(f"replacement must be one of {', '.join(REPLACEMENTS)}, not {replacement!r}")
        self.replacement = replacement
        self.optimizer = AdamW(model, weight_decay=settings.weight_decay, max_grad_norm=settings.max_grad_norm)
        self.gradient = Gradient(model, self.optimizer.gradient, settings.gradient_accumulation)
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        self.stopped: str | None = None
        self.log = Log(None)
        self._identity = run_fingerprint.describe(model, text, proposal, settings, evaluation, replacement)
        dropout = max(model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob)
        self._dropout_seed = settings.seed if dropout else None

    def run(self, resume: bool = False, on_begin: Callable[[], None] | None = None) -> list[dict]:
        """Train to the last step, or until something stops it.

        Return the records of the log, which the folder holds as well.

        There is one every `log_every` steps and wherever the model is judged. It has `step`, `seconds`, `tokens`, the step's
        `loss` (nats per masked token, as weighted by the proposal), `learning_rate`, `gradient_norm` (before clipping),
        `gradient_variance` (see `variance_of_mean`; not of a single row), what the proposal has to say, and where the model
        was judged `validation_loss`. The record of step 0 has only the last.

        Ctrl-C, SIGTERM and `max_minutes` stop the run after a step, with a checkpoint. With `resume` it goes on from the
        folder's newest whole checkpoint, and its log's records after that are made anew. Its settings may have other `steps`
        than the run was begun with, more than were made: from there on the learning rate is that of a run of so many.
        Without a folder, the same trainer goes on when it is run again. `on_begin` is called when the folder is held against
        other processes and a checkpoint to resume from is known to fit, before anything is written there.

        Raises InputError for a folder that holds a run already or, with `resume`, none, or one with other settings; where
        training diverges; and where files cannot be written.
        """
        settings, self.stopped = self.settings, None
        self._check_folder(resume)
        with only_writer(self.folder), Interruption() as interruption, warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="minimapnet")  # we look for infinity ourselves
            self._check_folder(resume)  # again: until now another process may have trained there
            self._begin(resume, on_begin or (lambda: None))
            deadline = time.monotonic() + 60 * (settings.max_minutes or math.inf)
            with self._progress() as bar:
                while self.step < settings.steps and not self.stopped:
                    self._advance(bar)
                    if self.step < settings.steps:
                        self.stopped = _reason_to_stop(interruption, deadline)
                    if self.stopped or self._is_due(settings.checkpoint_every):
                        self._save()
        return self.log.records

    def make_step(self, log: bool = False) -> dict:
        """Make one training step; return what a record says of it where `log` is true, and always the `loss`."""
        started, settings, scale = time.perf_counter(), self.settings, self.settings.lr_scale(self.step)
        drawn = draw(self.model, self.text, self.proposal, settings, self.step, self.replacement)
        dropout_key = None if self._dropout_seed is None else (self._dropout_seed, self.step)
        learns = self.proposal.learns_after(self.step + 1)
        loss, norms = self.gradient(drawn, dropout_key, norms=log or learns)
        rate = scale * settings.learning_rate
        norm = self.optimizer.update(rate) if math.isfinite(loss) else math.nan
        if not math.isfinite(norm):
            raise self._diverged(f"the gradient's norm is {norm}" if math.isfinite(loss) else f"the loss is {loss}")
        learned = self.proposal.learn(drawn, norms, scale) if learns else {}
        self.step += 1
        self.tokens += int(drawn.attention_mask.sum())
        self.seconds += time.perf_counter() - started
        record = {"step": self.step, "seconds": self.seconds, "tokens": self.tokens, "loss": loss}
        if log:
            record |= {"learning_rate": rate, "gradient_norm": norm}
            if len(norms) > 1:
                record["gradient_variance"] = variance_of_mean(norms, norm)
            record |= drawn.diagnostics | learned
        return record

    def _check_folder(self, resume: bool) -> None:
        held = self.folder is not None and checkpoint.exists(self.folder)
        if resume and not held:
            raise InputError(f"there is no run to resume in {self.folder}: begin one, without resuming")
        if held and not resume:
            raise InputError(f"{self.folder} holds a run already: resume it, or choose another folder")

    def _begin(self, resume: bool, on_begin: Callable[[], None]) -> None:
        """Put everything where the run is to begin: at its first step, or at a checkpoint."""
        if resume:
            self._go_back(checkpoint.newest(self.folder))
        on_begin()
        if resume:
            self.log = Log(self.folder, self.step)
            return
        if self.step:  # stopped before, without a folder
            return
        self.log = Log(self.folder)
        if self.evaluation:
            self.log.add({"step": 0, "seconds": 0.0, "tokens": 0, "validation_loss": self._judge()})
        self._save()  # so that nobody waits for an hour to hear that the disk is full

    def _go_back(self, saved: checkpoint.Checkpoint) -> None:
        """Put everything where it was at a checkpoint."""
        run_fingerprint.check_same(saved.about["identity"], self._identity, self.folder, saved.step)
        saved.load_model(self.model)
        states = saved.states()
        try:
            self.optimizer.load_state(states["optimizer"])
            self.proposal.load_state(states.get("proposal", {}))
        except KeyError as missing:
            raise InputError(f"the checkpoint {saved.path} is damaged: its {checkpoint.STATE} has no {missing}") from None
        self.step, self.seconds, self.tokens = saved.step, saved.about["seconds"], saved.about["tokens"]

    def _advance(self, bar: tqdm) -> None:
        """Make a step with everything that belongs to it: evaluation, log, progress."""
        judge = self.evaluation is not None and self._is_due(self.settings.eval_every, self.step + 1)
        log = judge or self._is_due(self.settings.log_every, self.step + 1)
        record = self.make_step(log)
        if judge:
            record["validation_loss"] = self._judge()
        if log:
            self.log.add(record)
            variance = record.get("gradient_variance", math.nan)
            speed = self.tokens / self.seconds
            bar.set_postfix_str(f"loss {record['loss']:.3f}, {speed:,.0f} tokens/s, variance {variance:.2g}", refresh=False)
        bar.update()
        if self.on_step:
            self.on_step(self)

    def _is_due(self, every: int, step: int | None = None) -> bool:
        """Return whether something is due after `step` steps (those made so far): every so many, and after the last."""
        step = self.step if step is None else step
        return step == self.settings.steps or (every > 0 and step % every == 0)

    def _judge(self) -> float:
        loss = self.evaluation.loss(self.model)
        if not math.isfinite(loss):
            raise self._diverged(f"the validation loss is {loss}")
        return loss

    def _save(self) -> None:
        """Write a checkpoint, where there is a folder; a model that is no longer finite is not written."""
        if self.folder is None:
            return
        if not bool(backend.xp.isfinite(self.model.flat).all()):
            raise self._diverged("a parameter is no longer finite")
        self.log.sync()
        states = {"optimizer": self.optimizer.state(), "proposal": self.proposal.state()}
        about = {"seconds": self.seconds, "tokens": self.tokens, "identity": self._identity}
        checkpoint.save(self.folder, self.step, self.model, self.text.tokenizer, states, about)

    def _progress(self):
        if self.bar is not None:
            return nullcontext(self.bar)
        return progress(total=self.settings.steps, initial=self.step, desc="train", bar_format=BAR)

    def _diverged(self, reason: str) -> InputError:
        last = self.settings.steps - 1
        rate = self.settings.lr_scale(min(self.step, last)) * self.settings.learning_rate
        advice = f"; the checkpoint before it is in {self.folder}" if self.folder and checkpoint.exists(self.folder) else ""
        return InputError(
            f"training diverged at step {self.step} (learning rate {rate:.2g}): {reason}. Try a lower learning rate, "
            f"a longer warm-up or a lower max_grad_norm{advice}"
        )


def _reason_to_stop(interruption: Interruption, deadline: float) -> str | None:
    if interruption.signal:
        return interruption.signal.name
    return "max_minutes" if time.monotonic() > deadline else None


def _check_text(model: Bert, text, settings: TrainSettings) -> None:
    if len(text.train) < settings.batch_size:
        raise InputError(
            f"{text.name} gives {len(text.train)} rows to train on, fewer than the {settings.batch_size} of a step"
        )
    vocabulary, longest = text.vocab_size, int(text.train.lengths.max())
    if vocabulary > model.config.vocab_size:
        raise InputError(f"the tokenizer has ids for {vocabulary} pieces, the model only {model.config.vocab_size}")
    if text.mask_token_id != model.config.mask_token_id:
        raise InputError(
            f"[MASK] is token {text.mask_token_id} of {text.name}, but {model.config.mask_token_id} of the model: "
            "read the text with the model's own tokenizer"
        )
    if longest > model.config.max_position_embeddings:
        raise InputError(f"{text.name} has rows of {longest} tokens, the model reads {model.config.max_position_embeddings}")


def run_to_end(trainer: Trainer) -> list[dict]:
    """Train to the last step and give the log's records, as `Trainer.run` does.

    Ctrl-C and SIGTERM, which end a trainer's run after a step, then meet the handler that was there before: they end it all.
    """
    records = trainer.run()
    if trainer.stopped:
        signal.raise_signal(signal.Signals[trainer.stopped])
    return records
