"""Where importance sampling of masks can pay: headroom by text, by stage of training and by the number of masked tokens.

    python benchmarks/headroom.py             about 10 minutes on 2 cores; writes headroom.png beside this file
    python benchmarks/headroom.py --steps 16000 --out longer.png

The same small BERT (one layer, 128 channels) is trained at a constant learning rate, with uniform masks of 15 %, on each
text: words of the grammar, word pieces of Python's documentation and of the King James Bible (which needs the extra
`corpora`), a sentence a row, and characters of the latter two, in rows of 64. On the way the variance of the gradient is
taken apart on held-out rows, and a MAPNet that learns along is held against the exact norms of all single masks. Headroom is
the share of the mask variance that the optimal proposal would remove: no proposal can do better.
"""

import argparse
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

import numpy
import timing
from tqdm import tqdm

from minimapnet import plotting
from minimapnet.experiments import presets, processes, training_runs
from minimapnet.experiments.presets import Run
from minimapnet.text.batches import unigram_entropy
from minimapnet.text.load import load_corpus

CACHE = Path("runs/cache")
TEXTS = (  # name, tokenizer, what the figure calls it
    ("grammar", "wordpiece", "grammar, words"),
    ("kjv", "characters", "kjv, characters"),
    ("python-docs", "characters", "python-docs, characters"),
    ("kjv", "wordpiece", "kjv, word pieces"),
    ("python-docs", "wordpiece", "python-docs, word pieces"),
)
LOOKS = (("#009E73", "-", "o"), ("#0072B2", "--", "s"), ("#D55E00", "--", "v"), ("#56B4E9", ":", "P"), ("#E69F00", ":", "X"))
MASKED = {1: "one token masked", 0.15: "15 % masked", 0.4: "40 % masked"}
ROW, CHARACTERS = 32, 64  # tokens of a row


def measured(source: str, tokenizer: str, steps: int) -> dict:
    """Train on a text and measure on the way -> its unigram entropy, and the stages as of `experiments.stages`."""
    settings = presets.PRESETS["full"]
    settings = replace(
        settings,
        text=replace(settings.text, max_length=ROW if tokenizer == "wordpiece" else CHARACTERS),
        branches=replace(settings.branches, warm_steps=steps, warm_masked=0.15, warm_schedule="constant", evaluations=4),
        stages=replace(settings.stages, count=5, masked=tuple(MASKED), quality_sentences=200, shown=0),
    )
    layout = "packed" if tokenizer == "characters" else "sentences"
    text = load_corpus(source, CACHE, tokenizer, max_length=settings.text.max_length, layout=layout)
    _, _, found = training_runs.staged_training(Run("warm", "uniform", 0), settings, text, lambda: None)
    return {"unigram": unigram_entropy(text.train, text.validation, text.vocab_size), "stages": found["stages"]}


def side_by_side(steps: int) -> list[dict]:
    """Measure all texts, each in a process with one thread, as many at a time as there are cores."""
    with processes.executor() as workforce:
        futures = [processes.submit(workforce, measured, *text[:2], steps) for text in TEXTS]
        for _ in tqdm(as_completed(futures), total=len(TEXTS), unit="text", disable=None):
            pass
    return [future.result() for future in futures]


def lines(found: list[dict]) -> list[list[str]]:
    """Return the table's lines: the last stage of every text."""
    table = []
    for (_, _, words), one in zip(TEXTS, found, strict=True):
        last = one["stages"][-1]
        by_k = {masks["k"]: masks for masks in last["masks"]}
        headroom = [_percent(by_k[k]["headroom_share"]) for k in MASKED]
        share = f"{by_k[0.15]['mask_share'][0]:.0%}"
        quality = [f"{last['mapnet']['correlation']:.2f}", f"{last['mapnet']['headroom_won']:.0%}"]
        table.append([words, f"{last['loss']:.2f}", f"{one['unigram']:.2f}", share, *headroom, *quality])
    return table


def _percent(estimate) -> str:
    value, low, high = (round(100 * share) for share in estimate)
    return f"{value} [{low}, {high}] %"


def draw(found: list[dict], file: Path) -> None:
    """Draw headroom over training, a panel for each number of masked tokens."""
    figure = plotting.new_figure(
        "Headroom grows with training, and with how much of a text follows from the rest of it", 4.6
    )
    panels = figure.subplots(1, len(MASKED), sharey=True)
    for axes, (k, words) in zip(panels, MASKED.items(), strict=True):
        for (_, _, name), one, (colour, line, mark) in zip(TEXTS, found, LOOKS, strict=True):
            shares = [next(m["headroom_share"] for m in stage["masks"] if m["k"] == k) for stage in one["stages"]]
            values, low, high = 100 * numpy.array(shares).T  # each (stages,)
            look = {"color": colour, "linestyle": line, "marker": mark, "markersize": 6, "capsize": 2, "label": name}
            axes.errorbar(range(len(shares)), values, numpy.maximum([values - low, high - values], 0), **look)
        axes.set_xticks(range(len(shares)), [f"{stage['step']:,}" for stage in one["stages"]])
        axes.set_title(words)
        axes.set_xlabel("step of training")
    panels[0].set_ylim(0, 100)
    panels[0].set_ylabel("headroom (% of the mask variance)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    plotting.save(figure, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000, help="of training (default: 4000)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("headroom.png"), help="the figure's file")
    given = parser.parse_args()
    found = side_by_side(given.steps)
    headroom = [f"headroom, {words}" for words in MASKED.values()]
    names = ["text", "loss", "unigram", "masks' share, 15 %", *headroom, "MAPNet's correlation", "won"]
    print(timing.table(names, lines(found)))
    draw(found, given.out)


if __name__ == "__main__":
    main()
