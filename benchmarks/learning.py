"""Our training curve beside Hugging Face's BertForMaskedLM in PyTorch: the same rows, masks, steps and size.

    python benchmarks/learning.py           about 15 minutes on 2 cores; writes learning.png beside this file
    python benchmarks/learning.py --steps 500 --rates 1e-3 --out short.png

Needs `pip install -e .[oracle]`. Ours is `minimapnet train --replacement mask`, from its own start and from the random one.
The peer is BertForMaskedLM as its config makes it (every weight from N(0, 0.02^2), no dropout), with AdamW and the same
warm-up, clipping and number of steps, at several peaks of the learning rate, on the rows and masks that ours draws: those
of training, and for the loss in nats those of the same fixed uniform evaluation. The peers also run at 15 % masked, the
usual rate."""

import argparse
import itertools
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

import numpy
import timing
from tqdm import tqdm

from minimapnet import plotting
from minimapnet.experiments import processes
from minimapnet.text.batches import unigram_entropy
from minimapnet.text.load import Corpus, load_corpus
from minimapnet.training import proposal_registry
from minimapnet.training.evaluation import MASK_RATE, Evaluation
from minimapnet.training.settings import CorpusSettings, ModelSettings, TrainSettings
from minimapnet.training.step import draw
from minimapnet.training.trainer import Trainer

RATES = (1e-4, 3e-4, 1e-3)  # peaks of the learning rate of BertForMaskedLM


def read() -> Corpus:
    """Return the text of `minimapnet train` without options."""
    return load_corpus(CorpusSettings().text, CorpusSettings().cache, max_length=CorpusSettings().max_length)


def our_curve(init: str, mask_rate, settings: TrainSettings) -> list[list[float]]:
    """Train ours -> [[step, loss], ...]."""
    text = read()
    model = ModelSettings(init=init).new_model(text, CorpusSettings().max_length, settings.seed)
    proposal = proposal_registry.make("uniform", model, settings.seed, mask_rate=mask_rate)
    evaluation = Evaluation(text.validation, MASK_RATE)
    records = Trainer(model, text, proposal, settings, None, evaluation, bar=tqdm(disable=True)).run()
    return [[record["step"], record["validation_loss"]] for record in records if "validation_loss" in record]


def peer_curve(rate: float, mask_rate, settings: TrainSettings) -> list[list[float]]:
    """Train BertForMaskedLM on the rows and masks that ours would draw -> [[step, loss], ...]."""
    from torch_training import HuggingFaceTraining  # here, so that our process does not import PyTorch

    text = read()
    model = ModelSettings().new_model(text, CorpusSettings().max_length, settings.seed)  # for its config alone
    proposal = proposal_registry.make("uniform", model, settings.seed, mask_rate=mask_rate)
    peer = HuggingFaceTraining(model.config, rate, settings)
    evaluation = Evaluation(text.validation, MASK_RATE)
    curve = [[0, peer.loss(evaluation.chunks)]]
    for step in range(settings.steps):
        drawn = draw(model, text, proposal, settings, step)
        peer.step(drawn.ids, drawn.positions, drawn.attention_mask, settings.lr_scale(step))
        if (step + 1) % settings.eval_every == 0 or step + 1 == settings.steps:
            curve.append([step + 1, peer.loss(evaluation.chunks)])
    return curve


def measure(settings: TrainSettings, rates) -> dict[str, list[list[float]]]:
    """Train all side by side, each in a process of one thread -> the curves by name."""
    default = proposal_registry.MASK_RATE
    starts = {"minimapnet": "mimetic", "minimapnet, random start": "random"}
    runs = {name: (our_curve, init, default) for name, init in starts.items()}
    for rate, masked in itertools.product(rates, (MASK_RATE, default)):
        runs[f"BertForMaskedLM, rate {rate:g}, {100 * masked:.0f} % masked"] = (peer_curve, rate, masked)
    with processes.executor() as workforce:
        futures = {name: processes.submit(workforce, *run, settings) for name, run in runs.items()}
        for future in tqdm(as_completed(futures.values()), total=len(futures), unit="run", disable=None):
            future.result()
    return {name: future.result() for name, future in futures.items()}


def draw_curves(curves: dict[str, list[list[float]]], entropy: float, file: Path) -> None:
    """Draw loss over steps, with the unigram entropy as a line."""
    figure = plotting.new_figure("From its own start a small BERT leaves the unigram plateau", 5.5)
    axes = figure.subplots()
    for (name, curve), (colour, line, mark) in zip(curves.items(), plotting.RIVALS + plotting.UNIFORM, strict=False):
        steps, losses = numpy.array(curve).T
        width = 2.5 if name == "minimapnet" else 1.2
        axes.plot(steps, losses, color=colour, linestyle=line, marker=mark, markersize=4, linewidth=width, label=name)
    axes.axhline(entropy, color="#000000", linestyle="--", linewidth=1, label=f"unigram entropy, {entropy:.2f}")
    axes.set_ylim(min(curve[-1][1] for curve in curves.values()) - 0.2, entropy + 1)
    axes.set_xlabel("training step")
    axes.set_ylabel("loss on held-out rows (nats per masked token)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    plotting.save(figure, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--steps", type=int, default=TrainSettings().steps)
    add("--rates", type=float, nargs="+", default=RATES, help="learning rates of BertForMaskedLM")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path(__file__).with_name("learning.png"), help="the figure's file")
    given = parser.parse_args()
    text = read()
    entropy = unigram_entropy(text.train, text.validation, text.vocab_size)
    settings = replace(TrainSettings(), steps=given.steps, seed=given.seed, eval_every=max(1, given.steps // 20))
    curves = measure(settings, given.rates)
    half = [next(loss for step, loss in curve if 2 * step >= given.steps) for curve in curves.values()]
    rows = [
        [name, f"{middle:.2f}", f"{curve[-1][1]:.2f}", f"{curve[-1][1] - entropy:+.2f}"]
        for (name, curve), middle in zip(curves.items(), half, strict=True)
    ]
    print(timing.table(["model", f"loss at {given.steps // 2:,}", "at the end", f"less the entropy {entropy:.2f}"], rows))
    draw_curves(curves, entropy, given.out)


if __name__ == "__main__":
    main()
