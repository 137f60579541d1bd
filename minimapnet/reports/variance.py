"""What `minimapnet variance` leaves behind: JSON, a table and a figure. Colours are Okabe and Ito's, and a brown."""

from dataclasses import asdict
from pathlib import Path

import matplotlib
import numpy
from matplotlib import ticker
from matplotlib.figure import Figure

from minimapnet.files import write_json, written_whole
from minimapnet.text_tables import aligned
from minimapnet.variance.report import or_dash

DATA, MASK, LIMIT = "#0072B2", "#E69F00", "#000000"
COLOURS = "#D55E00 #009E73 #56B4E9 #CC79A7 #0072B2 #999999 #F0E442 #000000 #E69F00 #7F3C00".split()
MARKS = tuple(zip(COLOURS, "os^DvPX*<p", strict=True))
TALLEST = 1.6  # times the highest estimate: heavy tails have intervals that would leave no room for anything else


def write(results: dict, folder: Path) -> None:
    """Write variance.json, variance.png and variance.svg, each whole or not at all.

    `results` has "reports" {masked positions: VarianceReport}. Raises InputError where the folder cannot be written to.
    """
    reports = results["reports"]
    tables = {str(k): asdict(report) for k, report in reports.items()}
    write_json(folder / "variance.json", results | {"reports": tables})
    for ending in ("png", "svg"):
        with written_whole(folder / f"variance.{ending}") as file:
            _draw(reports, file)


def text(results: dict) -> str:
    """Put the results, with "reports" {masked positions: VarianceReport}, into the lines that the command prints."""
    reports, model = results["reports"], results["model"]
    first = next(iter(reports.values()))
    if "checkpoint" in model:
        origin = f"the checkpoint {model['checkpoint']}"
    else:
        origin = (
            f"a model trained for {model['steps']} steps (validation loss {model['validation_loss']:.3f} nats, "
            f"unigram entropy {model['unigram_entropy']:.3f})"
        )
    sections = [
        f"{results['text']}: {first.sentences} rows of {first.maskable:.0f} maskable tokens, {first.masks} masks of each, "
        f"for {origin}.\nVariances in nats^2, of the gradient of one row under one mask, +- standard error over rows.",
        aligned(_decomposition(reports)),
        aligned(_by_proposal("mask variance, of uniform", reports, lambda proposal: proposal.ratio, ".1f")),
        "That is at equal numbers of gradient rows; what the scores cost is not counted.",
        aligned(_by_proposal("share of the headroom won", reports, lambda proposal: proposal.share_won, ".0f")),
    ]
    biased = [f"{k} masked: {proposal.bias.text('.3g')}" for k, _, proposal in _tried(reports) if proposal.bias is not None]
    if biased:
        sections.append(f"Squared norm of the position proposal's bias, in nats^2: {'; '.join(biased)}")
    return "\n\n".join(sections)


def _tried(reports):
    return [(k, name, proposal) for k, report in reports.items() for name, proposal in report.proposals.items()]


def _names(reports):
    return list(dict.fromkeys(name for _, name, _ in _tried(reports)))


def _decomposition(reports):
    rows = [["uniform masks", *(f"{k} masked" for k in reports)]]
    for name, digits, percent in (
        ("data", ".4g", False),
        ("mask", ".4g", False),
        ("headroom", ".3g", False),
        ("signal", ".3g", False),
        ("mask_share", ".1f", True),
        ("headroom_share", ".2g", True),
    ):
        label = {
            "data": "data variance",
            "mask": "mask variance",
            "signal": "|mean gradient|^2",
            "mask_share": "mask / (data + mask)",
            "headroom_share": "headroom / mask",
        }.get(name, name)
        rows.append([label, *(getattr(report, name).text(digits, percent) for report in reports.values())])
    return rows


def _by_proposal(heading, reports, column, digits):
    """Return a row for each proposal that has, for any mask size, the Estimate that `column` reads from it."""
    rows = [[heading, *(f"{k} masked" for k in reports)]]
    for name in _names(reports):
        tried = [report.proposals.get(name) for report in reports.values()]
        cells = [or_dash(proposal and column(proposal), digits, percent=True) for proposal in tried]
        if any(cell != "-" for cell in cells):
            rows.append([name, *cells])
    return rows


def _draw(reports, file):
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    _draw_decomposition(left, reports)
    _draw_proposals(right, reports)
    with matplotlib.rc_context({"svg.hashsalt": "minimapnet", "svg.fonttype": "none"}):
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw_decomposition(axes, reports):
    """Stacked bars in shares of the whole, as the whole falls steeply with k; its amount is above each."""
    for place, report in enumerate(reports.values()):
        data, mask, headroom = report.data.value, report.mask.value, report.headroom.value
        share = 100 / (data + mask)
        first = place == 0
        axes.bar(place, data * share, 0.65, color=DATA, label="data variance" if first else None)
        axes.bar(place, (mask - headroom) * share, 0.65, data * share, color=MASK, label="mask variance" if first else None)
        label = "of it headroom: the most that\nimportance sampling can remove" if first else None
        bottom = (data + mask - headroom) * share
        axes.bar(
            place, headroom * share, 0.65, bottom, color=MASK, edgecolor=LIMIT, hatch="////", linewidth=0.8, label=label
        )
        axes.annotate(f"{data + mask:.3g} nats²", (place, 100), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.set_xticks(range(len(reports)), list(map(str, reports)))
    axes.set_xlabel(f"masked positions of {next(iter(reports.values())).maskable:.0f}")
    axes.set_ylabel("share of the gradient's variance, one mask of one row (%)")
    axes.set_ylim(0, 108)
    axes.set_title("Where the variance comes from, under uniform masks", fontsize=11)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=9, frameon=False)


def _draw_proposals(axes, reports):
    """Mask variance of each proposal against that of uniform masks, on a logarithmic axis, with 95 % intervals."""
    names = _names(reports)
    for place, report in enumerate(reports.values()):
        limit = 100 * (1 - report.headroom_share.value)
        label = "least that importance sampling can reach" if place == 0 else None
        axes.hlines(limit, place - 0.42, place + 0.42, color=LIMIT, linewidth=1.5, linestyle="--", label=label)
        for i, name in enumerate(names):
            if name not in report.proposals:
                continue
            ratio = report.proposals[name].ratio
            low, high = ratio.interval
            colour, marker = MARKS[i % len(MARKS)]
            ends = numpy.array([[ratio.value - max(low, ratio.value / 10)], [high - ratio.value]])
            bars = 100 * numpy.maximum(ends, 0.0)  # of few draws an estimate may lie outside of its interval, even below 0
            x = place + 0.8 * ((i + 0.5) / len(names) - 0.5)
            seen = any(name in earlier.proposals for earlier in list(reports.values())[:place])
            axes.errorbar(
                x, 100 * ratio.value, bars, color=colour, marker=marker, markersize=6, markeredgecolor="black",
                markeredgewidth=0.5, linestyle="none", capsize=2, label=None if seen else name,
            )  # fmt: skip
    axes.axhline(100, color="#666666", linewidth=1, label="uniform masks")
    axes.set_yscale("log")
    highest = max(proposal.ratio.value for _, _, proposal in _tried(reports))
    axes.set_ylim(top=100 * TALLEST * max(highest, 1.0))  # an interval that reaches further leaves the picture
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xticks(range(len(reports)), list(map(str, reports)))
    axes.set_xlabel(f"masked positions of {next(iter(reports.values())).maskable:.0f}")
    axes.set_ylabel("mask variance at equal gradient rows\n(% of that of uniform masks, logarithmic; 95 % intervals)")
    axes.set_title("What proposals make of the mask variance", fontsize=11)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=8, frameon=False, ncols=3)
