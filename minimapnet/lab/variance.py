"""`minimapnet variance`: where a model's gradient noise comes from, and how much of it a choice of masks removes.

A small model is trained for a short while, or a checkpoint is read; then the variance of its gradient is taken apart for
masks of several sizes, and proposals are held against uniform masks. Rows hold 100 maskable tokens each, so that 1, 2, 5 and
15 % of them are whole numbers: sentences are joined into passages, which are cut every 100 tokens. The model is trained on
single sentences as well: from long rows alone a small one does not learn to use context for thousands of steps.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy
from tokenizers import Tokenizer
from tqdm import tqdm

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.lab import compare, variance_output
from minimapnet.masking.proposals import (
    FullyExploredProposal,
    PoolProposal,
    PositionProposal,
    Proposal,
    SetProposal,
    SingleProposal,
)
from minimapnet.masking.scores import each_alone, exact_norm, mean_loss, norm_from_tokens, output_bound
from minimapnet.masking.variance import decompose_variance
from minimapnet.model.bert import Bert
from minimapnet.text import sentence_rows as batches
from minimapnet.text.corpus import Corpus
from minimapnet.text.sentence_rows import Rows

PASSAGE = 40  # sentences that are joined before they are cut into rows
MASKABLE = 100  # tokens of a row
MASKED = (1, 2, 5, 15)  # of these
DISJOINT = 5  # masks of one sentence in a fully explored estimate


@dataclass(frozen=True)
class Settings:
    """The size of the laboratory: the model's training, and what is drawn once it is trained."""

    training: compare.Settings
    sentences: int
    masks: int  # of each sentence, or estimates of a proposal
    candidates: int  # of a pool


LEARNING = compare.Settings(seeds=1, steps=3000, row_tokens=MASKABLE + 2, evaluations=1, validation_rows=128)
PRESETS = {
    "default": Settings(LEARNING, sentences=40, masks=12, candidates=8),
    "smoke": Settings(
        replace(LEARNING, steps=20, rows=8, hidden_size=32, validation_rows=16), sentences=4, masks=2, candidates=2
    ),
}


def variance(corpus: Corpus, settings: Settings, seed: int, folder: Path, checkpoint: Path | None = None) -> dict:
    """Train or read a model, decompose its variance for all mask sizes, and write variance.json and the figure.

    Raises InputError for too little text, a checkpoint that cannot be read or has no tokenizer.json, where training
    diverges, and where `folder` cannot be written to.
    """
    if checkpoint is None:
        model, rows, about = trained(corpus, settings.training, seed, folder)
    else:
        model, rows, about = read(corpus, checkpoint)
    sample = full_rows(rows, settings.sentences, seed, corpus.name)
    maskable = numpy.zeros(sample.ids.shape, bool)
    maskable[:, 1:-1] = True
    score, reports = OnceEach(each_alone(norm_from_tokens)), {}
    for k in tqdm(MASKED, unit="mask size", disable=None):
        tried = proposals(k, settings.candidates, score)
        reports[k] = decompose_variance(model, sample.ids, k, settings.masks, seed, maskable, proposals=tried)
    results = {
        "text": corpus.name,
        "backend": backend.name,
        "seed": seed,
        "settings": asdict(settings),
        "model": about,
        "reports": {str(k): asdict(report) for k, report in reports.items()},
    }
    variance_output.write(results, reports, folder)
    return results | {"reports": reports}


def passages(sentences) -> tuple[str, ...]:
    """Join every 40 consecutive sentences."""
    return tuple(" ".join(sentences[i : i + PASSAGE]) for i in range(0, len(sentences), PASSAGE))


def trained(corpus: Corpus, settings: compare.Settings, seed: int, folder: Path):
    """Train a model as `minimapnet compare` does, with uniform masks, on sentences and passages; validate on passages.

    -> the model, its training rows, and how it went.
    """
    text = replace(corpus, train=corpus.train + passages(corpus.train), validation=passages(corpus.validation))
    task = compare.prepare(text, settings, folder)
    model = compare.new_model(task, settings, seed)
    with tqdm(total=settings.steps, unit="step", disable=None) as bar:
        curve = compare.train(model, task, settings, compare.PROPOSALS[0], seed, bar)
    return model, task.train, {"validation_loss": curve[-1][1], "unigram_entropy": task.unigram, "steps": settings.steps}


def read(corpus: Corpus, checkpoint: Path):
    """Read a model and its tokenizer -> the model, the rows of the text's passages, and where it came from."""
    model, file = Bert.from_pretrained(checkpoint), checkpoint / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library has no narrower kind
        raise InputError(f"cannot read the tokenizer {file}: {error}") from error
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        raise InputError(f"{file} has {tokenizer.get_vocab_size()} pieces, the model only {model.config.vocab_size}")
    if model.config.max_position_embeddings < MASKABLE + 2:
        raise InputError(f"the model reads {model.config.max_position_embeddings} tokens, {MASKABLE + 2} are needed")
    return model, batches.rows(tokenizer, passages(corpus.train), MASKABLE + 2), {"checkpoint": str(checkpoint)}


def full_rows(rows: Rows, count: int, seed: int, name: str) -> Rows:
    """Choose `count` of the rows that have 100 maskable tokens. Raises InputError where there are fewer."""
    full = numpy.flatnonzero(rows.maskable == MASKABLE)
    if len(full) < count:
        raise InputError(f"{name} is too short: it gives {len(full)} rows of {MASKABLE} tokens, and {count} are needed")
    return rows.take(backend.generator(seed, "variance rows").permutation(full)[:count])


def proposals(k: int, candidates: int, score) -> dict[str, Proposal]:
    """Give the proposals to try for masks of k positions, by name; `score` is the exact norm of each position alone."""
    tried = {"optimal single": SingleProposal(score)} if k == 1 else {}
    for name, by in (("exact norm", exact_norm), ("output bound", output_bound), ("loss", mean_loss)):
        tried[f"pool of {candidates}, {name}"] = PoolProposal(k, by, candidates)
    if k > 1:
        tried["set"] = SetProposal(k, score)
        tried["set, odds to the power 1/k"] = SetProposal(k, score, temper=1 / k)
        tried["position (biased)"] = PositionProposal(k, score)
    tried[f"fully explored, {DISJOINT} masks"] = FullyExploredProposal(k, DISJOINT)
    return tried


class OnceEach:
    """A position score that is computed once for each sentence, however many rows it stands in and however often it comes.

    The laboratory draws from every proposal several times a sentence, and the model stays as it is.
    """

    def __init__(self, score):
        self.score, self.known = score, {}

    def __call__(self, model, ids, attention_mask=None, maskable=None) -> numpy.ndarray:
        """As the score given, -> float64 (B, T) on the host."""
        found = []
        for b in range(len(ids)):
            row = slice(b, b + 1)
            arguments = [None if array is None else array[row] for array in (ids, attention_mask, maskable)]
            key = tuple(None if array is None else array.tobytes() for array in arguments)
            if key not in self.known:
                self.known[key] = backend.to_host(self.score(model, *arguments))[0]
            found.append(self.known[key])
        return numpy.array(found)
