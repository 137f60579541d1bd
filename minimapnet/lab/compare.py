"""`minimapnet compare`: the same model trained from the same start with masks of different proposals.

All runs make the same number of steps of equally many rows, each a sentence with its mask. A proposal says how many masks
are drawn for one sentence, hence how many different sentences share a step, and how the masks of one sentence are drawn.
All are judged by the loss on the same uniform masks of the same validation sentences.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
from scipy import special
from tqdm import tqdm

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.lab import report
from minimapnet.masking.basic import UniformMasks
from minimapnet.masking.structured import FullyExploredMasks
from minimapnet.model.bert import Bert
from minimapnet.model.config import BertConfig
from minimapnet.model.gradients import gradients, token_losses
from minimapnet.text import sentence_rows as batches
from minimapnet.text.corpus import Corpus
from minimapnet.text.sentence_rows import Rows
from minimapnet.text.tokenizer import PIECES, cached_wordpiece
from minimapnet.training.optimizer import AdamW, learning_rate

EVALUATION_SEED = 0  # of the validation masks, whatever the runs' seeds are
EVALUATION_ROWS = 64  # forward at once
CONFIDENCE = 0.95
BAR = "{desc} {percentage:3.0f} %|{bar:10}| {elapsed}, {remaining} left{postfix}"
RULE = (
    "The final validation losses are compared seed by seed. A is better than B if the 95 % interval (Student's t) of the "
    "mean difference A - B lies below zero, worse if it lies above, and else no difference was found."
)


@dataclass(frozen=True)
class Settings:
    """What a run is made of; the defaults are the preset `default`."""

    seeds: int = 3
    steps: int = 2000
    rows: int = 30  # of a step, over all its sentences
    row_tokens: int = 64  # at most, with [CLS] and [SEP]
    pieces: int = PIECES
    hidden_size: int = 128
    layers: int = 1
    heads: int = 4
    peak_learning_rate: float = 2e-3
    warmup_share: float = 0.1  # of the steps
    evaluations: int = 8
    validation_rows: int = 1024


PRESETS = {
    "default": Settings(),
    "smoke": Settings(seeds=2, steps=40, hidden_size=32, evaluations=2, validation_rows=128),
}


@dataclass(frozen=True)
class Proposal:
    """How masks are drawn: `masks(maskable, k).sample(rng, per_sentence)` gives the positions (per_sentence, B, K)."""

    name: str
    per_sentence: int
    masks: Callable


PROPOSALS = (
    Proposal("uniform", 1, UniformMasks),
    Proposal("uniform, 5 masks a sentence", 5, UniformMasks),
    Proposal("fully explored, 5 masks a sentence", 5, FullyExploredMasks),
)


@dataclass(frozen=True)
class Task:
    """The text as a model sees it: rows to train on, and the validation rows with their fixed masks.

    positions (N, K) mask 15 % of each validation row, weights (N, K) make the loss the mean over rows of the mean over the
    row's masks. `unigram` is the loss of a model that knows how often each piece occurs in training and ignores context.
    """

    train: Rows
    validation: Rows
    positions: numpy.ndarray
    weights: numpy.ndarray
    unigram: float
    vocabulary: int
    pad_token_id: int
    mask_token_id: int


def mask_sizes(rows: Rows) -> numpy.ndarray:
    """Give how many tokens of each row are masked (N,): 15 % of those that may be, rounded, at least one.

    Rows have at least 5 of these, so that 5 disjoint masks always find room.
    """
    return (3 * rows.maskable + 10) // 20


def maskable(rows: Rows) -> numpy.ndarray:
    """Say which places may be masked, bool (N, T): tokens, but neither [CLS] nor [SEP]."""
    places = numpy.arange(rows.ids.shape[1])
    return (places >= 1) & (places <= rows.maskable[:, None])


def prepare(corpus: Corpus, settings: Settings, folder: Path) -> Task:
    """Turn text into rows, and fix the validation masks; the tokenizer is trained, or read from `folder`.

    Raises InputError for too little text.
    """
    tokenizer = cached_wordpiece(folder, corpus.train, settings.pieces)
    train = batches.rows(tokenizer, corpus.train, settings.row_tokens)
    validation = batches.rows(tokenizer, corpus.validation, settings.row_tokens)
    if len(train) < 10 * settings.rows or len(validation) < settings.rows:
        raise InputError(
            f"{corpus.name} is too short: it gives {len(train)} rows to train on and {len(validation)} to validate on, and "
            f"{10 * settings.rows} and {settings.rows} are needed; a row is a sentence of at least {batches.SHORTEST} tokens"
        )
    chosen = backend.generator(EVALUATION_SEED, "validation rows").permutation(len(validation))[: settings.validation_rows]
    chosen = chosen[numpy.argsort(validation.lengths[chosen], kind="stable")]  # little padding where rows share a forward
    validation = validation.take(chosen)
    draw = UniformMasks(maskable(validation), mask_sizes(validation))
    positions = draw.sample(backend.generator(EVALUATION_SEED, "validation masks"), 1)[0]  # (N, K)
    weights = (positions != -1) / mask_sizes(validation)[:, None] / len(validation)  # (N, K)
    return Task(
        train,
        validation,
        positions,
        weights,
        unigram_entropy(train, validation, positions, weights, tokenizer.get_vocab_size()),
        tokenizer.get_vocab_size(),
        tokenizer.token_to_id("[PAD]"),
        tokenizer.token_to_id("[MASK]"),
    )


def unigram_entropy(train: Rows, validation: Rows, positions, weights, vocabulary: int) -> float:
    """Give the weighted mean of -log P(token) in nats over the masked tokens, P being the tokens' shares in training.

    Every token is counted once more than it occurs, so that none has probability zero.
    """
    counts = 1 + numpy.bincount(train.ids[maskable(train)], minlength=vocabulary)
    surprise = -numpy.log(counts / counts.sum())
    tokens = numpy.take_along_axis(validation.ids, numpy.maximum(positions, 0), axis=1)  # (N, K)
    return float((surprise[tokens] * weights).sum())


def validation_loss(model: Bert, task: Task) -> float:
    """Give the loss in nats on the fixed validation masks."""
    total = 0.0
    for start in range(0, len(task.validation), EVALUATION_ROWS):
        part = slice(start, start + EVALUATION_ROWS)
        rows = task.validation.take(part)
        positions = task.positions[part]
        losses = token_losses(model, rows.ids, positions, rows.attention_mask)  # (B, K)
        total += float((backend.to_host(losses) * task.weights[part]).sum())
    return total


def training_batch(task: Task, settings: Settings, proposal: Proposal, seed: int, step: int):
    """Give ids (B, T), positions (B, K) and attention mask (B, T) of one step, drawn from (seed, step) alone.

    B is `settings.rows`: the sentences come `per_sentence` times, each time with another mask.
    """
    sentences = settings.rows // proposal.per_sentence
    rows = task.train.take(batches.batch_of_step(task.train.lengths, sentences, seed, step))
    rng = backend.generator(seed, "masks", step)
    positions = proposal.masks(maskable(rows), mask_sizes(rows)).sample(rng, proposal.per_sentence)  # (S, sentences, K)
    repeat = (proposal.per_sentence, 1)
    positions = positions.reshape(settings.rows, -1)
    return numpy.tile(rows.ids, repeat), positions, numpy.tile(rows.attention_mask, repeat)


def train(model: Bert, task: Task, settings: Settings, proposal: Proposal, seed: int, bar: tqdm) -> list[tuple[int, float]]:
    """Train a model and give its (step, validation loss) at regular intervals, the last after the last step.

    Raises InputError where training diverges.
    """
    optimizer, curve = AdamW(model), []
    evaluate_at = {settings.steps * part // settings.evaluations for part in range(1, settings.evaluations + 1)}
    warmup = math.ceil(settings.warmup_share * settings.steps)
    bar.set_description(f"{proposal.name}, seed {seed}")
    started, tokens = time.perf_counter(), 0
    for step in range(settings.steps):
        ids, positions, attention_mask = training_batch(task, settings, proposal, seed, step)
        loss, gradient = gradients(model, ids, positions, attention_mask=attention_mask)
        rate = learning_rate(step, settings.steps, settings.peak_learning_rate, warmup)
        norm = optimizer.step(gradient, rate)
        if not (math.isfinite(norm) and math.isfinite(loss)):
            raise InputError(f"training diverged at step {step} (learning rate {rate:.2g}): the loss is {loss}")
        tokens += int(attention_mask.sum())
        bar.update()
        speed = tokens / (time.perf_counter() - started)
        bar.set_postfix_str(f"loss {loss:.2f}, {speed:,.0f} tokens/s", refresh=False)
        if step + 1 in evaluate_at:
            curve.append((step + 1, validation_loss(model, task)))
    return curve


def new_model(task: Task, settings: Settings, seed: int) -> Bert:
    """Make the model of a run: the same for every proposal."""
    config = BertConfig(
        vocab_size=task.vocabulary,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.hidden_size,
        max_position_embeddings=settings.row_tokens,
        mask_token_id=task.mask_token_id,
        pad_token_id=task.pad_token_id,
    )
    return Bert(config, seed)


def interval(values) -> tuple[float, float, float]:
    """Give the mean of some numbers and the ends of its 95 % interval by Student's t; infinite ends for one number."""
    values = numpy.asarray(values, numpy.float64)
    mean, n = values.mean(), len(values)
    if n < 2:
        return float(mean), -math.inf, math.inf
    half = special.stdtrit(n - 1, (1 + CONFIDENCE) / 2) * values.std(ddof=1) / math.sqrt(n)
    return float(mean), float(mean - half), float(mean + half)


def verdict(low: float, high: float) -> str:
    """Put the interval of a difference of losses into words: see `RULE`."""
    if high < 0:
        return "better"
    return "worse" if low > 0 else "no difference found"


def compare(corpus: Corpus, settings: Settings, seed: int, folder: Path) -> dict:
    """Run every proposal with every seed, `seed` and those after it; write results.json, losses.csv and the figure.

    Raises InputError for too little text, where training diverges, and where `folder` cannot be written to.
    """
    task = prepare(corpus, settings, folder)
    seeds = range(seed, seed + settings.seeds)
    curves = {proposal.name: {} for proposal in PROPOSALS}
    with tqdm(total=len(PROPOSALS) * len(seeds) * settings.steps, bar_format=BAR, disable=None) as bar:
        for run_seed in seeds:
            for proposal in PROPOSALS:
                model = new_model(task, settings, run_seed)
                curves[proposal.name][run_seed] = train(model, task, settings, proposal, run_seed, bar)
    results = {
        "text": {"name": corpus.name, "train_rows": len(task.train), "validation_rows": len(task.validation)},
        "backend": backend.name,
        "settings": asdict(settings),
        "vocabulary": task.vocabulary,
        "unigram_entropy": task.unigram,
        "proposals": {name: summary(by_seed) for name, by_seed in curves.items()},
        "differences": differences(curves),
        "rule": RULE,
    }
    report.write(results, folder)
    return results


def summary(by_seed: dict) -> dict:
    """Give a proposal's final losses by seed, their mean and its interval, and its curves."""
    final = {seed: curve[-1][1] for seed, curve in by_seed.items()}
    mean, low, high = interval(list(final.values()))
    return {"final": final, "mean": mean, "interval": _json_interval(low, high), "curves": by_seed}


def differences(curves: dict) -> list[dict]:
    """Compare every two proposals, the later with the earlier, by their final losses, seed by seed."""
    found, names = [], list(curves)
    for i, a in enumerate(names):
        for b in names[:i]:
            mean, low, high = interval([curves[a][seed][-1][1] - curves[b][seed][-1][1] for seed in curves[a]])
            found.append(
                {"a": a, "b": b, "mean": mean, "interval": _json_interval(low, high), "verdict": verdict(low, high)}
            )
    return found


def _json_interval(low, high):
    """JSON has no infinity: an interval that one seed alone cannot give is null."""
    return [low, high] if math.isfinite(low) else None
