"""`minimapnet variance`: where a model's gradient noise comes from, and how much of it a choice of masks removes.

A small model is trained for a short while, or one is given; then the variance of its gradient is taken apart for masks of
several sizes, and proposals are held against uniform masks. Rows are full of text and hold up to 100 maskable tokens each,
so that 1, 2, 5 and 15 masked ones are as many per cent.
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.experiments.candidates import DISJOINT, uniform_with_mapnet
from minimapnet.model.bert import Bert
from minimapnet.progress import progress
from minimapnet.proposals.base import Proposal, Score, Scores
from minimapnet.proposals.scores import exact_norm
from minimapnet.text.batches import Batch, unigram_entropy
from minimapnet.text.load import Corpus, load_corpus, warn_of_unknown
from minimapnet.training import proposal_registry
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.settings import ModelSettings, TrainSettings
from minimapnet.training.trainer import Trainer, run_to_end
from minimapnet.variance.decomposition import decompose_variance

MAX_LENGTH = 101  # of a row that is measured: [CLS] and 100 that can be masked, less one for each [SEP] among them
MASKED = (1, 2, 5, 15)  # of these
LOOKED_AT = 4096  # rows from which those with the most maskable tokens are taken
EVALUATION_SEED = 0  # of the validation masks, whatever the seed of the model is


@dataclass(frozen=True)
class PretrainSettings:
    """How the small model is trained, with uniform masks: on a sentence a row first, then on rows such as are measured.

    From the latter alone it does not learn to use context for thousands of steps. BERT went from short rows to long ones,
    too (Devlin et al. 2019, arXiv 1810.04805, appendix A.2).
    """

    model: ModelSettings = field(default_factory=lambda: ModelSettings(layers=1))
    vocab_size: int = 2048
    masked: float = 0.15  # of the maskable tokens
    learning_rate: float = 2e-3  # constant over the sentences, down in a line over the rows after them
    sentence_tokens: int = 64  # of a row, at most
    sentence_batch_size: int = 30  # of a step
    sentence_steps: int = 2000
    batch_size: int = 10
    steps: int = 1000
    validation_rows: int = 128

    @property
    def all_steps(self) -> int:
        """The steps of both kinds."""
        return self.sentence_steps + self.steps


@dataclass(frozen=True)
class Settings:
    """The size of the measurement: the model's training, and what is drawn once it is trained."""

    training: PretrainSettings = field(default_factory=PretrainSettings)
    sentences: int = 40  # rows of text
    masks: int = 12  # of each of them, or estimates of a proposal
    candidates: int = 8  # of a pool


SMALL = PretrainSettings(
    ModelSettings(hidden_size=32, layers=1),
    sentence_batch_size=8,
    sentence_steps=10,
    batch_size=4,
    steps=10,
    validation_rows=16,
)
PRESETS = {"default": Settings(), "smoke": Settings(SMALL, sentences=4, masks=2, candidates=2)}


@dataclass(frozen=True)
class ModelUnderTest:
    """What is looked at: a model, the text that it is shown, what is to be said of it, and its MAPNet, where it has one."""

    model: Bert
    text: Corpus
    about: dict
    mapnet: Score | None = None


def train_model(source: str, cache: Path, settings: PretrainSettings, seed: int) -> ModelUnderTest:
    """Train a small model on a text, and along with it a MAPNet, which learns from the norms of the same uniform masks.

    Raises InputError for text that cannot be used, and where training diverges.
    """
    load = partial(load_corpus, source, cache, vocab_size=settings.vocab_size)
    sentences = load(max_length=settings.sentence_tokens, layout="sentences")
    text = load(max_length=MAX_LENGTH)
    model = settings.model.new_model(text, MAX_LENGTH, seed)
    proposal = uniform_with_mapnet(settings.masked, model, seed)
    evaluation = Evaluation(text.validation, settings.masked, EVALUATION_SEED, settings.validation_rows)
    for rows, size, steps, schedule in (
        (sentences, settings.sentence_batch_size, settings.sentence_steps, "constant"),
        (text, settings.batch_size, settings.steps, "linear"),
    ):
        training = TrainSettings(
            steps, size, learning_rate=settings.learning_rate, schedule=schedule, eval_every=0, checkpoint_every=0, seed=seed
        )
        records = run_to_end(Trainer(model, rows, proposal, training, evaluation=evaluation))
    about = {
        "validation_loss": records[-1]["validation_loss"],
        "unigram_entropy": unigram_entropy(text.train, text.validation, text.vocab_size),
        "steps": settings.all_steps,
    }
    return ModelUnderTest(model, text, about, proposal.score)


def load_model(model: Bert, name: str, source: str, cache: Path, tokenizer: Path) -> ModelUnderTest:
    """Take a model as it is, by the name of its checkpoint, with a text as its own tokenizer reads it.

    Raises InputError for text that cannot be used, and a model that is too short for the rows or guesses no tokens.
    """
    if model.config.max_position_embeddings < MAX_LENGTH:
        raise InputError(f"the model reads {model.config.max_position_embeddings} tokens, {MAX_LENGTH} are needed")
    if not model.config.mlm_head:
        raise InputError(f"the model in {name} has no masked-language-model head: there is no loss of masked tokens")
    text = load_corpus(source, cache, tokenizer, max_length=MAX_LENGTH)
    return ModelUnderTest(model, text, {"checkpoint": name})


def variance(subject: ModelUnderTest, settings: Settings, seed: int) -> dict:
    """Decompose the variance of a model's gradient for all mask sizes; "reports" is {masked positions: VarianceReport}.

    Raises InputError for too little text.
    """
    model, sample = subject.model, fullest_rows(subject.text, settings.sentences, seed)
    warn_of_unknown(subject.text)
    exact, reports = CachedNorms(), {}
    for k in progress(MASKED, unit="mask size"):
        tried = proposals(k, settings.candidates, exact, subject.mapnet)
        reports[k] = decompose_variance(model, sample.ids, k, settings.masks, seed, sample.maskable, proposals=tried)
    return {
        "text": subject.text.name,
        "unknown_share": subject.text.unknown_share,
        "backend": backend.name,
        "seed": seed,
        "settings": asdict(settings),
        "model": subject.about,
        "reports": reports,
    }


def fullest_rows(text: Corpus, count: int, seed: int) -> Batch:
    """Choose `count` rows to train on, at random among those with the most maskable tokens: those without [SEP] come first.

    Raises InputError where the text has fewer rows.
    """
    if len(text.train) < count:
        raise InputError(
            f"{text.name} is too short: it gives {len(text.train)} rows of {MAX_LENGTH} tokens, and {count} are needed"
        )
    order = backend.generator(seed, "variance rows").permutation(len(text.train))[:LOOKED_AT]
    maskable = text.train.batch(order).maskable.sum(axis=1)
    return text.train.batch(order[numpy.argsort(-maskable, kind="stable")[:count]])


def proposals(k: int, candidates: int, exact: Score, mapnet: Score | None = None) -> dict[str, Proposal]:
    """Return the proposals to try for masks of k positions, by name; `exact` scores by the exact norm.

    `mapnet`, where there is one, is beside the exact norm.
    """
    single, rate, of = k == 1, {"mask_rate": k}, f"pool of {candidates}"
    pool = rate | {"candidates": candidates}
    entries: list[tuple[bool, str, str, Score | None, dict]] = [
        (single, "optimal single", "optimal-single", exact, {}),
        (single and mapnet is not None, "MAPNet single", "mapnet-single", mapnet, {}),
        (True, f"{of}, exact norm", "optimal-pool", exact, pool),
        (True, f"{of}, output bound", "output-bound-pool", None, pool),
        (True, f"{of}, loss", "loss-pool", None, pool),
        (mapnet is not None, f"{of}, MAPNet", "mapnet-pool", mapnet, pool),
        (not single, "set", "optimal-set", exact, rate),
        (not single, "set, odds to the power 1/k", "optimal-set", exact, rate | {"exponent": 1 / k}),
        (not single, "position (biased)", "optimal-positions", exact, rate),
        (True, f"fully explored, {DISJOINT} masks", "fully-explored", None, rate | {"masks": DISJOINT}),
    ]
    return {
        name: proposal_registry.make(kind, None, score=score, **parameters)
        for applies, name, kind, score, parameters in entries
        if applies
    }


class CachedNorms(Score):
    """The exact norm of each position alone, computed once for each sentence, however many rows it is in.

    Every proposal draws several times for a sentence, and the model stays as it is. Masks are scored by `exact_norm`.
    """

    def __init__(self):
        self._norms: dict[tuple, numpy.ndarray] = {}

    def of_masks(self, model, ids, masks, attention_mask=None):
        return exact_norm.of_masks(model, ids, masks, attention_mask)

    def of_positions(self, model, ids, maskable, attention_mask=None):
        return Scores(
            numpy.array([self._row(model, ids, maskable, attention_mask, slice(b, b + 1)) for b in range(len(ids))])
        )

    def _row(self, model, ids, maskable, attention_mask, row: slice) -> numpy.ndarray:
        arguments = [None if array is None else array[row] for array in (ids, attention_mask, maskable)]
        key = tuple(None if array is None else array.tobytes() for array in arguments)
        if key not in self._norms:
            self._norms[key] = exact_norm.score_each_position(model, *arguments)[0]
        return self._norms[key]
