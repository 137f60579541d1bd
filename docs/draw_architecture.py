"""Draw the floors of the package and the way of a batch through them: `python docs/draw_architecture.py`."""

import itertools
from pathlib import Path

from matplotlib.figure import Figure

FLOORS = (  # from the ground up: rooms, and what they hold
    ("backend, kernels, files, plotting", "NumPy or CuPy, the fast operations, whole files, what figures share"),
    ("text   ·   model", "text to rows of tokens   ·   BERT, forward and backward by hand"),
    ("masks   ·   gradient_norms", "distributions over masks   ·   what a backward pass adds up: gradients, exact norms"),
    ("proposals", "what a trainer draws masks by: scores, importance weights, pools, the optimal proposal"),
    ("mapnet   ·   variance", "the mask proposal network   ·   the decomposition theorem, exact and estimated"),
    ("training", "the trainer, checkpoints, settings, the registry of proposals"),
    ("experiments", "compare, variance: runs and what is measured on the way"),
    ("reports", "claims, tables, figures, the page"),
    ("cli", "the commands"),
)
WAY = (  # of a batch: the floor, counted from 0, where the dot is within it, and what happens there
    (1, 0.5, "rows of tokens:\nids, what may be masked"),
    (4, 0.28, "MAPNet scores\nmasks or positions"),
    (3, 0.5, "masks are drawn\nand weighted by p / q"),
    (1, 0.5, "[MASK] put in; forward,\nloss, backward"),
    (2, 0.5, "accumulators take the gradient\nand each row's exact norm"),
    (5, 0.5, "AdamW steps;\nevaluate, save, log"),
    (4, 0.72, "MAPNet learns\nfrom the norms"),
)
LEFT, FIRST, STEP = 4.9, 5.55, 1.12  # inches: where floors' texts end, the first dot, and the way from dot to dot
WIDTH, HEIGHT = 13.4, 0.72
BLUE, BAND, INK = "#0072B2", ("#f3f6f9", "#e6ecf2"), "#222222"


def draw(file: Path) -> None:
    """Write the picture."""
    figure = Figure(figsize=(WIDTH, HEIGHT * len(FLOORS) + 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT * len(FLOORS) + 0.4)
    axes.axis("off")
    for floor, (rooms, words) in enumerate(FLOORS):
        axes.axhspan(floor * HEIGHT, (floor + 1) * HEIGHT, color=BAND[floor % 2], linewidth=0)
        axes.text(0.15, (floor + 0.62) * HEIGHT, rooms, fontsize=11, weight="bold", color=INK, va="center")
        axes.text(0.15, (floor + 0.25) * HEIGHT, words, fontsize=7.2, color=INK, va="center")
    places = [(FIRST + number * STEP, (floor + within) * HEIGHT) for number, (floor, within, _) in enumerate(WAY)]
    for start, end in itertools.pairwise(places):
        look = {"arrowstyle": "-|>", "color": BLUE, "linewidth": 1.3, "shrinkA": 9, "shrinkB": 9}
        axes.annotate("", end, start, arrowprops=look)
    for number, ((x, y), (_, _, words)) in enumerate(zip(places, WAY, strict=True), 1):
        rises = number < len(places) and places[number][1] > y  # the words keep out of the arrow's way
        axes.plot(x, y, "o", color=BLUE, markersize=15)
        axes.text(x, y, str(number), color="white", fontsize=9, weight="bold", ha="center", va="center_baseline")
        axes.text(x + 0.17, y - 0.1 if rises else y + 0.1, words, fontsize=7.2, color=INK, va="center", linespacing=1.15)
    axes.text(
        FIRST - 0.1, HEIGHT * len(FLOORS) + 0.2, "The way of a batch in training", fontsize=11, va="center", color=BLUE
    )
    axes.text(0.15, HEIGHT * len(FLOORS) + 0.2, "Floors: a room uses those below", fontsize=11, va="center", color=BLUE)
    figure.savefig(file, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(__file__).with_name("architecture.png"))
