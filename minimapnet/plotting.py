"""What all figures share. Colours are Okabe and Ito's, for colour-blind readers; line styles and marks differ as well."""

import textwrap

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from minimapnet.files import written_whole

BASELINE = "#000000", "-", "o"
UNIFORM = (("#777777", "--", "s"), ("#777777", ":", "D"), ("#AAAAAA", "-.", "^"))
RIVALS = (
    ("#009E73", "-.", "^"),
    ("#0072B2", "-", "s"),
    ("#D55E00", "--", "v"),
    ("#CC79A7", ":", "X"),
    ("#56B4E9", "--", "o"),
    ("#E69F00", "-", "P"),
    ("#882255", "--", "D"),
)
BY_MASKED = (("#0072B2", "-", "o"), ("#E69F00", "--", "s"), ("#009E73", "-.", "^"), ("#CC79A7", ":", "D"))
TITLE, LABEL, TICK = 13, 12, 11  # points, at a width of `WIDTH` inches: legible at half the size
WIDTH = 10.0
CONTEXT = {
    "svg.hashsalt": "minimapnet",
    "svg.fonttype": "none",
    "font.size": LABEL,
    "axes.titlesize": LABEL,
    "axes.labelsize": LABEL,
    "xtick.labelsize": TICK,
    "ytick.labelsize": TICK,
    "legend.fontsize": TICK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
}
PAGE = CONTEXT | {  # of a figure within a page of text, as the tutorials have them
    "figure.figsize": (WIDTH, 4.0),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.titleweight": "bold",
    "axes.titleweight": "bold",
    "axes.prop_cycle": cycler(color=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000"]),
    "legend.frameon": False,
}


def new_figure(title: str, height: float) -> Figure:
    """Return an empty figure under a title, which is broken into lines where it is long."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(
        "\n".join(textwrap.wrap(title.replace(" %", "\N{NO-BREAK SPACE}%"), 88)), fontsize=TITLE, fontweight="bold"
    )
    return figure


def save(figure: Figure, file) -> None:
    """Write a figure whole or not at all, in the format of the ending; an SVG's bytes are the same each time."""
    metadata = {"Date": None} if file.suffix == ".svg" else None
    with written_whole(file) as temporary, matplotlib.rc_context(CONTEXT):
        figure.savefig(temporary, dpi=120, metadata=metadata)


def error_bar(mean: float, interval) -> list[list[float]] | None:
    """Return an interval as lengths to either side of the mean; None for one seed."""
    return None if interval is None else [[mean - interval[0]], [interval[1] - mean]]
