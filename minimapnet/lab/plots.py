"""The figures. Colours are Okabe and Ito's, which colour-blind readers tell apart; line styles differ as well."""

from pathlib import Path

import matplotlib
import numpy
from matplotlib.figure import Figure

STYLES = (("#0072B2", "-", "o"), ("#E69F00", "--", "s"), ("#009E73", "-.", "^"), ("#CC79A7", ":", "D"))


def losses(results: dict, file: Path) -> None:
    """Draw the validation loss over the steps, by proposal: mean over seeds, the band from the least to the greatest.

    `results` is what `compare.compare` gives; the ending of `file` chooses the format.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for (name, proposal), (colour, line, marker) in zip(results["proposals"].items(), STYLES, strict=False):
        curves = numpy.array(list(proposal["curves"].values()))  # (seeds, evaluations, 2)
        steps, values = curves[0, :, 0], curves[:, :, 1]
        axes.plot(steps, values.mean(axis=0), line, marker=marker, markersize=4, color=colour, label=name)
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.axhline(results["unigram_entropy"], color="black", linestyle=(0, (5, 3)), linewidth=1)
    axes.annotate(
        "unigram entropy: no use of context above this line",
        (1, results["unigram_entropy"]),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("validation loss (nats per masked token)")
    seeds = len(next(iter(results["proposals"].values()))["curves"])
    axes.set_title(
        f"Which masks teach fastest? Lower is better, all judged on the same uniform masks\n"
        f"{results['text']['name']}, mean of {seeds} seeds, shaded from the least to the greatest",
        fontsize=11,
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "minimapnet", "svg.fonttype": "none"}):
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
