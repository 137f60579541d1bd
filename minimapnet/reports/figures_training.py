"""Figures of the runs: losses over steps and over time, ratios to the baseline, what a step costs."""

import math
from itertools import cycle

import numpy
from matplotlib import ticker

from minimapnet.experiments import curves
from minimapnet.plotting import BASELINE, RIVALS, UNIFORM, error_bar, new_figure
from minimapnet.reports import claims
from minimapnet.reports.tables import cost_ratio, interval_words, label

SHOWN_FROM = 0.25  # share of the steps: the loss axis ends at the greatest loss from there on, since the first are far above
MOST_OF_THREE = 25  # letters of a name of which three go side by side in a legend
LONGEST = 2.5  # times the baseline's run: what takes longer runs out of the panel
WIDEST = 20.0  # ratio up to which an interval widens the axis; beyond, it runs out of the panel
RATIO_TICKS = (  # by how wide the axis is, so that no two touch
    (3, (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 2)),
    (10, (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.4, 2, 3, 5, 10)),
    (100, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)),
    (math.inf, (0.001, 0.01, 0.1, 1, 10, 100, 1000)),
)


def styles(results: dict) -> dict[str, tuple[str, str, str]]:
    """Return every proposal its (colour, line style, mark): black for baselines, greys for other uniform ones."""
    looks = {run["baseline"]: BASELINE for run in results["experiments"].values()}
    greys, colours = cycle(UNIFORM), cycle(RIVALS)
    for run in results["experiments"].values():
        for proposal in run["proposals"]:
            if proposal["name"] not in looks:
                looks[proposal["name"]] = next(greys if proposal["family"] == "uniform" else colours)
    return looks


def losses(results: dict, times: dict, experiment: str):
    """Draw an experiment: validation loss over steps and over relative time, final losses, differences from the baseline."""
    run, looks = results["experiments"][experiment], styles(results)
    count = len(run["proposals"])
    longest = max(len(label(proposal)) for proposal in run["proposals"])
    columns = 3 if longest <= MOST_OF_THREE else 2
    figure = new_figure(_losses_title(results, experiment), 7.2 + 0.42 * count)
    grid = figure.add_gridspec(3, 2, height_ratios=[4.6, 0.28 * math.ceil(count / columns), 0.9 + 0.38 * count])
    over_steps = figure.add_subplot(grid[0, 0])
    over_time = figure.add_subplot(grid[0, 1], sharey=over_steps)
    lows, highs = [], []
    for proposal in run["proposals"]:
        smooth = numpy.array([curves.smoothed(curve) for curve in proposal["curves"].values()])  # (seeds, evaluations, 2)
        steps, values = smooth[0, :, 0], smooth[:, :, 1]
        lows.append(values.min())
        highs.append(values[:, steps >= SHOWN_FROM * steps[-1]].max())
        colour, line, mark = looks[proposal["name"]]
        cost = cost_ratio(results, times, experiment, proposal["name"])
        for axes, scale in ((over_steps, 1.0), (over_time, cost)):
            if scale is not None:
                x, name = scale * steps, label(proposal)
                axes.plot(x, values.mean(axis=0), line, color=colour, marker=mark, markersize=5, label=name)
                axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.13, linewidth=0)
    room = 0.06 * (max(highs) - min(lows))
    limits = min(lows) - room, max(highs) + room
    _references(over_steps, results, run, limits)
    over_steps.set_ylim(limits)
    over_steps.set_ylabel("validation loss (nats per masked token)")
    over_steps.set_xlabel("training step")
    over_time.set_xlabel(f"time (in steps of {run['baseline']})")
    over_time.tick_params(labelleft=False)
    over_steps.set_title(f"over steps; means of {curves.SMOOTHED} evaluations", loc="left")
    over_time.set_title("over time: steps × what a step costs", loc="left")
    _legend(figure.add_subplot(grid[1, :]), over_steps, columns)
    over_steps.set_xlim(left=0)
    over_time.set_xlim(0, LONGEST * run["steps"])
    for axes in (over_steps, over_time):
        axes.grid(alpha=0.3)
    _finals(figure, grid, run, looks)
    return figure


def ratios(results: dict, times: dict):
    """Draw the ratios of steps and of time to the baseline's, all experiments, with their intervals and a line at 1."""
    compared = [finding for finding in claims.findings(results, times) if finding.measure != "loss"]
    rows = list(dict.fromkeys((finding.experiment, finding.name) for finding in compared))
    figure = new_figure(_ratios_title(results, times), 2.2 + 0.46 * (len(rows) + len(results["experiments"])))
    looks, left, places = styles(results), None, _places(rows)
    means = [finding.mean for finding in compared] or [1.0]
    middle = math.sqrt(min(means) * max(means))  # of the logarithmic axis
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, measure in zip(panels, ("steps", "time"), strict=True):
        for finding in compared:
            if finding.measure != measure:
                continue
            colour, _, mark = looks[finding.name]
            place = places[finding.experiment, finding.name]
            open_mark = "white" if not claims.proposals(results, finding.experiment)[finding.name]["unbiased"] else colour
            axes.errorbar(
                finding.mean, place, xerr=error_bar(finding.mean, finding.interval), color=colour, marker=mark, markersize=8,
                markerfacecolor=open_mark, capsize=4, linewidth=2, linestyle="none",
            )  # fmt: skip
            _value(axes, finding, place, results, inwards="left" if finding.mean < middle else "right")
        axes.axvline(1, color="black", linewidth=1.2, linestyle=(0, (5, 3)))
        axes.set_xscale("log")
        axes.set_xlabel(f"{measure} to the baseline's final loss\n(times the baseline's, logarithmic)")
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(f"{measure}: left of the line is faster", loc="left")
        left = left or axes
    for experiment, run in results["experiments"].items():
        top = max((place for (where, _), place in places.items() if where == experiment), default=None)
        if top is not None:
            left.annotate(
                f"{claims.TITLES.get(experiment, experiment)}, against {run['baseline']}", (0.01, top + 0.62),
                xycoords=("axes fraction", "data"), fontsize=11, fontstyle="italic",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
    names = [_in_lines(claims.proposals(results, experiment)[name]) for experiment, name in places]
    left.set_yticks(list(places.values()), names)
    left.set_ylim(-0.7, max(places.values(), default=0) + 1.2)
    _ratio_ticks(left, compared)
    return figure


def cost(results: dict, times: dict):
    """Draw what a step of each proposal takes, with its quartiles, one panel for each experiment."""
    steps = times["steps"]
    most = max(map(len, steps.values()))
    figure = new_figure(_cost_title(results, times), 1.9 + 0.45 * most)
    looks = styles(results)
    panels = figure.subplots(1, len(steps), squeeze=False)[0]
    for axes, (experiment, timed) in zip(panels, steps.items(), strict=True):
        known = claims.proposals(results, experiment)
        names = [name for name in known if name in timed][::-1]
        for place, name in enumerate(names):
            step, (colour, _, _) = timed[name], looks[name]
            bar = error_bar(step["ms"], step["quartiles"])
            hatch = "" if known[name]["unbiased"] else "///"
            axes.barh(place, step["ms"], xerr=bar, color=colour, alpha=0.75, capsize=3, hatch=hatch, height=0.7)
            words = f"{cost_ratio(results, times, experiment, name):.2f} ×"
            axes.annotate(words, (step["quartiles"][1], place), (5, 0), textcoords="offset points", va="center", fontsize=11)
        axes.set_yticks(range(len(names)), [_in_lines(known[name]) for name in names])
        axes.set_xlim(0, 1.3 * max(step["quartiles"][1] for step in timed.values()))
        axes.set_xlabel("ms a step (median, quartiles)")
        axes.set_title(claims.TITLES.get(experiment, experiment), loc="left")
        axes.grid(axis="x", alpha=0.3)
    return figure


def _references(axes, results, run, limits):
    """Draw the unigram entropy, or the loss of the warm start before its restart, where it lies within the axis."""
    lines = [("unigram entropy", results["text"]["unigram_entropy"])]
    if results["text"].get("true_entropy") is not None:
        lines.append(("true entropy", results["text"]["true_entropy"]))
    if "warm" in run:
        lines.append(("before the restart", _before_the_restart(run["warm"])))
    for name, value in lines:
        if value is not None and limits[0] < value < limits[1]:
            axes.axhline(value, color="black", linestyle=(0, (1, 2)), linewidth=1.2)
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right"}
            axes.annotate(name, (1, value), (-3, 3), **place, fontsize=11)


def _before_the_restart(warm):
    return next(loss for step, loss in warm["curve"] if step == warm["steps"])


def _in_lines(proposal) -> str:
    """Return a proposal's label for beside a picture: how many tokens it masks in a line of its own."""
    return label(proposal).replace(", ", ",\n")


def _legend(axes, drawn, columns):
    """Draw the curves' names in a row of their own, where they hide nothing."""
    axes.axis("off")
    axes.legend(*drawn.get_legend_handles_labels(), frameon=False, loc="center", ncols=columns)


def _finals(figure, grid, run, looks):
    finals = figure.add_subplot(grid[2, 0])
    differences = figure.add_subplot(grid[2, 1], sharey=finals)
    against = {comparison["name"]: comparison["difference"] for comparison in run["comparisons"]}
    ordered = run["proposals"][::-1]
    for place, proposal in enumerate(ordered):
        colour, _, mark = looks[proposal["name"]]
        face = colour if proposal["unbiased"] else "white"
        look = {"color": colour, "marker": mark, "markersize": 8, "markerfacecolor": face, "capsize": 4, "linewidth": 2}
        final = proposal["final"]
        finals.errorbar(final["mean"], place, xerr=error_bar(final["mean"], final["interval"]), **look)
        ends = [curves.final_loss(curve) for curve in proposal["curves"].values()]
        finals.plot(ends, [place - 0.28] * len(ends), "|", color=colour, markersize=6, alpha=0.8)
        if proposal["name"] in against:
            mean, interval, seeds = (against[proposal["name"]][key] for key in ("mean", "interval", "by_seed"))
            differences.errorbar(mean, place, xerr=error_bar(mean, interval), **look)
            differences.plot(seeds, [place - 0.28] * len(seeds), "|", color=colour, markersize=6, alpha=0.8)
        elif proposal["name"] == run["baseline"]:
            differences.plot(0, place, color=colour, marker=mark, markersize=8)
    finals.set_yticks(range(len(ordered)), [_in_lines(proposal) for proposal in ordered])
    finals.set_ylim(-0.6, len(ordered) - 0.5)
    finals.set_xlabel("final loss (nats per masked token)")
    finals.set_title("final: mean, 95 % interval, seeds", loc="left")
    differences.axvline(0, color="black", linewidth=1.2, linestyle=(0, (5, 3)))
    differences.set_xlabel("difference from the baseline's (nats)")
    differences.set_title("left of the line: better", loc="left")
    differences.tick_params(labelleft=False)
    for axes in (finals, differences):
        axes.grid(axis="x", alpha=0.3)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))


def _value(axes, finding, place, results, inwards):
    """Write a ratio above its mark, and below it in how many seeds the baseline's loss was reached, where not in all."""
    look = {"textcoords": "offset points", "ha": "center", "fontsize": 10, "color": "#333333"}
    look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
    axes.annotate(f"{finding.mean:.2f}", (finding.mean, place), (0, 7), **look)
    by_seed = claims.steps_by_seed(results, finding.experiment, finding.name)
    if finding.measure == "steps" and claims.reached(by_seed) < len(by_seed):
        words = f"reached in {claims.reached(by_seed)} of {len(by_seed)}"
        axes.annotate(words, (finding.mean, place), (0, -16), **look | {"ha": inwards})


def _places(rows):
    """Return each (experiment, proposal) a height, the first highest, with a gap above each experiment."""
    places, height = {}, 0.0
    for i, (experiment, name) in enumerate(reversed(rows)):
        if i and rows[::-1][i - 1][0] != experiment:
            height += 1.1
        places[experiment, name] = height
        height += 1
    return dict(reversed(places.items()))


def _ratio_ticks(axes, compared):
    ends = [end for finding in compared for end in (*(finding.interval or ()), finding.mean)] or [1.0]
    means = [finding.mean for finding in compared] or [1.0]
    low = min(*means, max(min(ends), 1 / WIDEST), 0.95) / 1.1
    high = max(*means, min(max(ends), WIDEST), 1.05) * 1.1
    chosen = next(ticks for widest, ticks in RATIO_TICKS if high / low < widest)
    chosen = [tick for tick in chosen if low <= tick <= high]
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(ticker.FixedLocator(chosen))
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())


def _losses_title(results, experiment):
    run = results["experiments"][experiment]
    where = claims.TITLES.get(experiment, experiment)
    start = f"{where[0].upper()}{where[1:]}, {results['text']['name']}"
    if len(run["proposals"][0]["curves"]) == 1:
        return f"{start}: one seed, too few for a verdict"
    compared = [
        finding for finding in claims.findings(results, {}) if finding.experiment == experiment and finding.measure == "loss"
    ]
    known = claims.proposals(results, experiment)
    verdicts = []
    for verdict in (claims.BETTER, claims.WORSE):
        names = [label(known[finding.name]) for finding in compared if finding.verdict == verdict]
        if names:
            verdicts.append(f"{' / '.join(names)} {'ends' if len(names) == 1 else 'end'} {verdict}")
    return f"{start}: {'; '.join(verdicts) or 'no proposal ends better or worse'} than {run['baseline']}"


def _ratios_title(results, times):
    compared = [finding for finding in claims.judged(results, times, ("steps", "time")) if finding.interval is not None]
    if not compared:
        return "Steps and time to the baseline's final loss, one seed: no verdict"
    best = min(compared, key=lambda finding: (finding.verdict != claims.FASTER, finding.interval[1]))
    where = f"{best.name} ({claims.TITLES.get(best.experiment, best.experiment)})"
    faster, slower = (sum(finding.verdict == verdict for finding in compared) for verdict in (claims.FASTER, claims.SLOWER))
    counts = f"faster in {faster or 'none'}" + (f", slower in {slower}," if slower else "")
    nearest = "the clearest" if faster else "the nearest to it"
    return (
        f"MAPNet's unbiased masks are {counts} of {len(compared)} comparisons; {nearest}, {where}, "
        f"takes {best.mean:.2f} {interval_words(best.interval, '.2f')} of the {best.measure}"
    )


def _cost_title(results, times):
    ratios = [
        cost_ratio(results, times, experiment, name)
        for experiment, steps in times["steps"].items()
        for name in steps
        if claims.learned(claims.proposals(results, experiment)[name])
    ]
    if not ratios:
        return "What a step costs"
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return f"A step with MAPNet takes {low if low == high else f'{low} to {high}'} times the baseline's"
