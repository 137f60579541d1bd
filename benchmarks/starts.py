"""How far a small BERT comes in the default steps, by what its parameters begin as: text by size by start.

    python benchmarks/starts.py                        python-docs at the default size, both starts: about 5 minutes
    python benchmarks/starts.py --texts kjv grammar python-docs:characters --sizes 2x128x64 4x128x64 --seeds 2 3 4

A text is a name or a file, with `:characters` where its tokens are characters; a size is layers x channels x tokens of a
row, with a head for every 32 channels. All else is as `minimapnet train` has it without options; --rates and --mask-rates
try others. The loss is in nats per masked token, on fixed uniform masks of 15 % of held-out rows, whatever was masked in
training. Beside it is the unigram entropy, which a model reaches that knows how often each token occurs and nothing else:
the plateau. Runs go side by side, each in a process of one thread."""

import argparse
import itertools
from concurrent.futures import as_completed
from dataclasses import dataclass, replace

import timing
from tqdm import tqdm

from minimapnet.experiments import processes
from minimapnet.masks.replacement import KINDS as REPLACEMENTS
from minimapnet.model.bert import Bert
from minimapnet.model.initialisation import INITS
from minimapnet.text.batches import unigram_entropy
from minimapnet.text.load import load_corpus
from minimapnet.training import proposal_registry
from minimapnet.training.evaluation import MASK_RATE, Evaluation
from minimapnet.training.settings import CorpusSettings, MaskSettings, ModelSettings, TrainSettings
from minimapnet.training.trainer import Trainer

CHANNELS_OF_A_HEAD = 32


@dataclass(frozen=True)
class Start:
    """One run: its text and tokenizer, its size (layers, channels, tokens of a row), its start, and its numbers."""

    text: str
    size: tuple[int, int, int]
    init: str
    settings: TrainSettings
    mask_rate: int | float
    replacement: str


def train(start: Start) -> tuple[float, float]:
    """Train a new model -> its last loss, and the text's unigram entropy, both in nats."""
    name, _, tokenizer = start.text.partition(":")
    layers, channels, length = start.size
    text = load_corpus(name, CorpusSettings().cache, tokenizer or "wordpiece", max_length=length)
    model = ModelSettings(hidden_size=channels, layers=layers, heads=max(1, channels // CHANNELS_OF_A_HEAD))
    bert = Bert(model.config(text, length), start.settings.seed, start.init)
    proposal = proposal_registry.make("uniform", bert, start.settings.seed, mask_rate=start.mask_rate)
    evaluation = Evaluation(text.validation, MASK_RATE)
    options = {"bar": tqdm(disable=True), "replacement": start.replacement}
    records = Trainer(bert, text, proposal, start.settings, None, evaluation, **options).run()
    return records[-1]["validation_loss"], unigram_entropy(text.train, text.validation, text.vocab_size)


def measure(starts: list[Start]) -> dict[Start, tuple[float, float]]:
    """Train all, as many at a time as there are cores."""
    with processes.executor() as workforce:
        futures = {processes.submit(workforce, train, start): start for start in starts}
        for future in tqdm(as_completed(futures), total=len(futures), unit="run", disable=None):
            future.result()
    return {start: future.result() for future, start in futures.items()}


def lines(measured: dict[Start, tuple[float, float]]) -> list[list[str]]:
    """Return the table's lines: seeds that differ in nothing else side by side."""
    table: dict[tuple, list[float]] = {}
    for start, (loss, entropy) in measured.items():
        size = "{} x {}, rows of {}".format(*start.size)
        settings = start.settings
        recipe = f"{settings.learning_rate:g}", f"{start.mask_rate:g}", start.replacement
        key = (start.text, size, start.init, *recipe, f"{entropy:.2f}")
        table.setdefault(key, []).append(loss)
    return [
        [*key, " ".join(f"{loss:.2f}" for loss in losses), f"{sum(losses) / len(losses) - float(key[-1]):+.2f}"]
        for key, losses in table.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, recipe = parser.add_argument, TrainSettings()
    add("--texts", nargs="+", default=["python-docs"])
    add("--sizes", nargs="+", default=["2x128x64"], help="layers x channels x tokens of a row")
    add("--inits", nargs="+", default=INITS, choices=INITS)
    add("--seeds", nargs="+", type=int, default=[0])
    add("--rates", nargs="+", type=float, default=[recipe.learning_rate], help="learning rates")
    add("--mask-rates", nargs="+", type=float, default=[proposal_registry.MASK_RATE], help="shares masked in training")
    default = [MaskSettings().replacement]
    add("--replacements", nargs="+", default=default, choices=REPLACEMENTS, help="what stands at masked positions")
    add("--steps", type=int, default=recipe.steps)
    given = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in given.sizes]
    length = {text: size[2] for text in given.texts for size in sizes}
    for text in length:  # once, before several runs would at the same time
        name, _, tokenizer = text.partition(":")
        load_corpus(name, CorpusSettings().cache, tokenizer or "wordpiece", max_length=length[text])
    recipes = itertools.product(given.rates, given.mask_rates, given.replacements)
    tried = itertools.product(given.texts, sizes, given.inits, recipes, given.seeds)
    recipe = replace(recipe, steps=given.steps, eval_every=0)
    starts = [
        Start(text, size, init, replace(recipe, learning_rate=rate, seed=seed), *masks)
        for text, size, init, (rate, *masks), seed in tried
    ]
    names = [
        "text",
        "layers x channels",
        "init",
        "rate",
        "masked",
        "replacement",
        "unigram",
        "loss by seed",
        "mean less unigram",
    ]
    print(timing.table(names, lines(measure(starts))))


if __name__ == "__main__":
    main()
