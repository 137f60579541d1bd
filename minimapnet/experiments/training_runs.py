"""The two experiments of `minimapnet compare`, one run at a time.

*From scratch*: the same model from the same start on the same sentences, with several proposals. *Branches*: one shared warm
start with uniform masks, along which a MAPNet learns and is measured, and from whose restart every proposal goes on at a
constant learning rate with few rows a step.
"""

from dataclasses import replace
from pathlib import Path

import numpy
from tqdm import tqdm

from minimapnet.errors import InputError
from minimapnet.experiments import candidates
from minimapnet.experiments.presets import CompareSettings, Run
from minimapnet.experiments.stages import Stages, judged_rows, mapnet_quality
from minimapnet.model.bert import Bert
from minimapnet.proposals.base import Proposal
from minimapnet.text import grammar
from minimapnet.text.load import Corpus, load_corpus
from minimapnet.training import checkpoint
from minimapnet.training.evaluation import MASK_RATE, Evaluation
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer, run_to_end

EVALUATION_SEED = 0  # of the validation masks, whatever the runs' seeds are
ENTROPY_ROWS = 200
WARM = "warm"
START = (
    "The warm start trains a model with uniform masks and a learning rate that goes down, and a MAPNet beside it; the "
    "stages are measured on its way. Then it is restarted: some steps at a high, constant rate with few rows lift it to the "
    "floor where noise holds a model in the midst of training. From there the branches go on, at a lower rate."
)


def read_text(source: str, cache: Path, settings: CompareSettings) -> Corpus:
    """Read the text as one sentence a row. Raises InputError where it is too short for the experiments."""
    text = load_corpus(
        source, cache, vocab_size=settings.text.vocab_size, max_length=settings.text.max_length, layout="sentences"
    )
    needed = {
        "train on": (text.train, 10 * settings.scratch.batch_size),
        "validate on": (text.validation, settings.scratch.batch_size),
        "test on": (text.test, settings.stages.quality_sentences),
    }
    for purpose, (rows, least) in needed.items():
        if len(rows) < least:
            raise InputError(f"{text.name} is too short: it gives {len(rows)} rows to {purpose}, and {least} are needed")
    return text


def new_model(settings: CompareSettings, text: Corpus, seed: int) -> Bert:
    """Make the model of a run: the same for every proposal."""
    return settings.model.new_model(text, settings.text.max_length, seed)


def true_entropy(text: Corpus) -> float | None:
    """Return the least loss that a model can reach on single masks of the grammar's validation rows.

    None for other texts.
    """
    if text.name != "grammar":
        return None
    language, batch = grammar.read(), text.validation.batch(numpy.arange(min(len(text.validation), ENTROPY_ROWS)))
    pairs = zip(batch.ids, batch.maskable, strict=True)
    words = [[text.tokenizer.id_to_token(int(token)) for token in ids[maskable]] for ids, maskable in pairs]
    return float(numpy.mean([language.token_entropies(sentence).mean() for sentence in words]))


def from_scratch(run: Run, settings: CompareSettings, text: Corpus, folder: Path, on_step) -> dict:
    """Train a new model with one proposal."""
    model = new_model(settings, text, run.seed)
    candidate = _named(candidates.scratch(settings.scratch), run.proposal)
    return _curve(run_to_end(scratch_trainer(candidate, model, settings, text, run.seed, on_step)))


def scratch_trainer(candidate, model, settings: CompareSettings, text: Corpus, seed: int, on_step=None) -> Trainer:
    """Make the trainer of a run from scratch."""
    chosen = settings.scratch
    training = _training(chosen, chosen.steps, chosen.batch_size // candidate.masks, chosen.learning_rate, seed, "linear")
    evaluation = Evaluation(text.validation, MASK_RATE, EVALUATION_SEED, settings.text.validation_rows)
    return _trainer(model, text, candidate.make(model, seed), training, evaluation, on_step)


def staged_training(run: Run, settings: CompareSettings, text: Corpus, on_step) -> tuple[Bert, Proposal, dict]:
    """Train a model with uniform masks, while a MAPNet learns along, and measure at several stages.

    Returns the model, the proposal that holds the MAPNet, and the curve with the results of `Stages`.
    """
    chosen, model = settings.branches, new_model(settings, text, run.seed)
    proposal, stages = candidates.uniform_with_mapnet(chosen.warm_masked, model, run.seed), Stages(settings, text, run.seed)
    steps, rate = chosen.warm_steps, chosen.warm_learning_rate
    training = _training(chosen, steps, chosen.warm_batch_size, rate, run.seed, chosen.warm_schedule)
    evaluation = one_masked(settings, text)

    def after_step(trainer):
        on_step()
        stages.measure_if_due(trainer.step, model, proposal.score.network, evaluation)

    trainer = _trainer(model, text, proposal, training, evaluation, after_step)
    stages.measure_if_due(0, model, proposal.score.network, evaluation)
    measured = _curve(run_to_end(trainer)) | stages.results(text, model, proposal.score.network)
    return model, proposal, measured


def warm_start(run: Run, settings: CompareSettings, text: Corpus, folder: Path, on_step) -> dict:
    """Make the model from which the branches go on: `staged_training`, then the restart (see `BranchSettings`).

    Returns the curve over both, the results of `Stages` before the restart, and as "start" the stage after it.
    """
    chosen = settings.branches
    model, proposal, measured = staged_training(run, settings, text, on_step)
    proposal.score.learning_rate = chosen.mapnet_learning_rate
    training = _training(chosen, chosen.restart_steps, chosen.batch_size, chosen.restart_learning_rate, run.seed)
    training = replace(training, eval_every=0)
    evaluation = one_masked(settings, text)
    trainer = _trainer(model, text, proposal, training, evaluation, on_step, folder / WARM)
    again = _curve(run_to_end(trainer))["curve"][1:]
    measured["curve"] += [[chosen.warm_steps + step, loss] for step, loss in again]
    last = chosen.warm_steps + chosen.restart_steps
    return measured | {"start": Stages(settings, text, run.seed).measured(last, model, proposal.score.network, evaluation)}


def one_masked(settings: CompareSettings, text: Corpus) -> Evaluation:
    """Return the branches' measure: validation rows with one uniform mask each."""
    return Evaluation(text.validation, 1, EVALUATION_SEED, settings.text.validation_rows)


def warm_model(settings: CompareSettings, text: Corpus, folder: Path) -> Bert:
    """Read the model at the end of the warm start, restarted."""
    model = new_model(settings, text, 0)
    checkpoint.newest(folder / WARM).load_model(model)
    return model


def branch(run: Run, settings: CompareSettings, text: Corpus, folder: Path, on_step) -> dict:
    """Go on from the warm start with one proposal; judge its MAPNet, where it has one, at the end."""
    candidate = _named(candidates.branches(settings.branches), run.proposal)
    trainer = branch_trainer(candidate, settings, text, folder, run.seed, on_step)
    result = _curve(run_to_end(trainer))
    if candidate.family == "MAPNet":
        rows = judged_rows(settings, text, run.seed)
        result["mapnet"] = mapnet_quality(trainer.model, trainer.proposal.score.network, rows)
    return result


def branch_trainer(candidate, settings: CompareSettings, text: Corpus, folder: Path, seed: int, on_step=None) -> Trainer:
    """Make the trainer of a branch: its model and its MAPNet are those of the warm start, MAPNet's optimizer too.

    The model's optimizer is new, and its learning rate rises over the first tenth of the steps before it is constant.
    """
    chosen, model = settings.branches, warm_model(settings, text, folder)
    proposal = candidate.make(model, seed)
    if candidate.family == "MAPNet":
        proposal.load_state(checkpoint.newest(folder / WARM).states()["proposal"])
    training = _training(chosen, chosen.steps, chosen.batch_size // candidate.masks, chosen.learning_rate, seed)
    return _trainer(model, text, proposal, training, one_masked(settings, text), on_step)


def _training(chosen, steps: int, batch_size: int, learning_rate: float, seed: int, schedule="constant") -> TrainSettings:
    """Return the settings of a run that is judged as often as its experiment says, and saved at its end alone."""
    eval_every = max(1, steps // chosen.evaluations)
    return TrainSettings(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, schedule=schedule, eval_every=eval_every,
        checkpoint_every=0, seed=seed,
    )  # fmt: skip


def _trainer(model, text, proposal, training, evaluation, on_step, folder: Path | None = None) -> Trainer:
    """Make a trainer without a progress bar: the process that started this one shows it."""
    return Trainer(model, text, proposal, training, folder, evaluation, bar=tqdm(disable=True), on_step=on_step)


def _curve(records: list[dict]) -> dict:
    """Return the curve of a run's log, and the means of its proposal's diagnostics."""
    curve = [[record["step"], record["validation_loss"]] for record in records if "validation_loss" in record]
    names = ("effective_sample_size", "largest_weight", "tau")
    diagnostics = {name: [record[name] for record in records if name in record] for name in names}
    return {
        "curve": curve,
        "diagnostics": {name: float(numpy.mean(values)) for name, values in diagnostics.items() if values},
    }


def _named(tried: list[candidates.Candidate], name: str) -> candidates.Candidate:
    return next(candidate for candidate in tried if candidate.name == name)
