"""Figures of the gradient's variance along the warm start: its parts, the headroom, and how near MAPNet comes to it."""

import numpy

from minimapnet.plotting import BY_MASKED, new_figure
from minimapnet.reports import claims
from minimapnet.reports.tables import amount, masked_words, percent

BINS = 10  # of the calibration curve, equally full


def variance_parts(results: dict):
    """Draw data and mask variance by stage for every number of masked tokens, and the masks' share."""
    stages = results["stages"]
    shares = [course[-1][1][0] for _, course in claims.by_masked(stages, "mask_share")]
    figure = new_figure(
        f"Masks make {_span(shares)} of the gradient's variance at step {stages[-1]['step']:,}; "
        + ("estimates above 100 % are noise" if max(shares) > 1 else "the rest comes from which sentence is drawn"),
        5.2,
    )
    sizes, share = figure.subplots(1, 2)
    for (k, masks), (_, data), look in zip(
        claims.by_masked(stages, "mask"), claims.by_masked(stages, "data"), _looks(stages), strict=True
    ):
        _course(sizes, stages, masks, look, 1.0, f"masks, {masked_words(k)}")
        _course(sizes, stages, data, (look[0], look[1], look[2]), 1.0, f"data, {masked_words(k)}", hollow=True)
    sizes.set_yscale("log")
    sizes.set_ylabel("variance (nats², one mask of one sentence)")
    few = any(pair[0] <= 0 for _, course in claims.by_masked(stages, "data") for _, pair in course)
    sizes.set_title("filled: masks; open: data" + (" (none where estimated ≤ 0)" if few else ""), loc="left")
    for (k, course), look in zip(claims.by_masked(stages, "mask_share"), _looks(stages), strict=True):
        _course(share, stages, course, look, 100.0, masked_words(k))
    share.set_ylim(0, max(103, min(125, share.get_ylim()[1])))
    share.axhline(100, color="black", linewidth=0.8)
    share.set_ylabel("the masks' share (%)")
    share.set_title("share of the whole, 95 % intervals", loc="left")
    share.legend(frameon=False, loc="lower left", ncols=2)
    for axes in (sizes, share):
        _stage_axis(axes, stages)
    return figure


def headroom(results: dict):
    """Draw the headroom as a share of the mask variance, by stage and by number of masked tokens."""
    stages = results["stages"]
    courses = list(claims.by_masked(stages, "headroom_share"))
    k, greatest = max(((k, course[-1][1][0]) for k, course in courses), key=lambda pair: pair[1])
    first = stages[0]["step"]
    early = max(course[0][1][0] for _, course in courses)
    figure = new_figure(
        f"The best proposal could remove {percent(greatest)} of the mask variance at step {stages[-1]['step']:,} "
        f"({masked_words(k)}), and {percent(early)} at step {first:,}",
        5.2,
    )
    by_stage, by_masked = figure.subplots(1, 2, sharey=True)
    for (k, course), look in zip(courses, _looks(stages), strict=True):
        _course(by_stage, stages, course, look, 100.0, masked_words(k))
    _stage_axis(by_stage, stages)
    by_stage.set_ylabel("headroom (% of the mask variance)")
    by_stage.set_title("by stage, 95 % intervals", loc="left")
    by_stage.legend(frameon=False, loc="upper left")
    order = [k for k, _ in courses]
    shades = numpy.linspace(0.75, 0.0, len(stages))
    for stage, shade, mark in zip(stages, shades, "osD^vPX*" * len(stages), strict=False):
        ks = [order.index(masks["k"]) for masks in stage["masks"]]
        values = [100 * masks["headroom_share"][0] for masks in stage["masks"]]
        by_masked.plot(ks, values, "-", marker=mark, markersize=6, color=str(shade), label=f"step {stage['step']:,}")
    by_masked.set_xticks(range(len(order)), [amount(k) for k in order])
    by_masked.set_xlim(-0.15, len(order) + 0.2)  # room for the legend
    by_masked.set_xlabel("masked tokens, number or share")
    by_masked.set_title("by number of masked tokens", loc="left")
    by_masked.legend(frameon=False, loc="upper right")
    by_masked.grid(alpha=0.3)
    by_stage.set_ylim(bottom=min(0, by_stage.get_ylim()[0]))
    return figure


def mapnet(results: dict):
    """Draw by stage what share of the headroom MAPNet wins, its correlation, and its divergence from the optimum."""
    stages = [stage for stage in results["stages"] if stage.get("mapnet")]
    last = stages[-1]
    figure = new_figure(
        f"MAPNet wins {percent(last['mapnet']['headroom_won'])} of the headroom of single masks at step {last['step']:,} "
        f"(KL {last['mapnet']['kl']:.2g} nats)",
        5.0,
    )
    shares, divergence = figure.subplots(1, 2)
    for key, words, (colour, line, mark) in zip(
        ("headroom_won", "correlation"),
        ("share of the headroom won", "correlation of log-norms"),
        BY_MASKED[:2],
        strict=True,
    ):
        values = [stage["mapnet"][key] for stage in stages]
        shares.plot(range(len(stages)), values, line, color=colour, marker=mark, markersize=8, linewidth=2, label=words)
    shares.axhline(1, color="black", linewidth=1.2, linestyle=(0, (5, 3)))
    shares.axhline(0, color="black", linewidth=0.8)
    look = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "fontsize": 11}
    shares.annotate("the optimal proposal", (0.99, 1), (0, 4), **look)
    shares.annotate("uniform masks", (0.99, 0), (0, 4), **look)
    low = min(0.0, *(stage["mapnet"]["headroom_won"] for stage in stages))
    shares.set_ylim(max(low - 0.08, -1.5), 1.45)
    shares.set_ylabel("share, correlation")
    shares.set_title("1 is perfect" + (" (axis cut at −1.5)" if low < -1.42 else ""), loc="left")
    shares.legend(frameon=False, loc="upper left")
    colour, line, mark = BY_MASKED[2]
    kl = [stage["mapnet"]["kl"] for stage in stages]
    divergence.plot(range(len(stages)), kl, line, color=colour, marker=mark, markersize=8, linewidth=2)
    divergence.set_ylim(0, 1.1 * max(kl) or 1)
    divergence.set_ylabel("KL from the optimal proposal (nats)")
    divergence.set_title("0 is perfect", loc="left")
    for axes in (shares, divergence):
        _stage_axis(axes, stages)
    return figure


def calibration(results: dict):
    """Draw exact log-norms of held-out tokens against MAPNet's predictions, with the mean of ten equally full bins."""
    predicted, exact = (numpy.array(results["calibration"][key], float) for key in ("predicted", "exact"))
    correlation = numpy.corrcoef(predicted, exact)[0, 1]
    miss = numpy.sqrt(numpy.mean((predicted - exact) ** 2))
    figure = new_figure(
        f"MAPNet's log-norms of held-out tokens: correlation {correlation:.2f}, root mean square error {miss:.2f}", 6.0
    )
    axes = figure.add_subplot()
    axes.plot(
        predicted, exact, ".", color="#0072B2", markersize=5, alpha=0.35, rasterized=True, label=f"{len(exact):,} tokens"
    )
    ends = [min(predicted.min(), exact.min()), max(predicted.max(), exact.max())]
    axes.plot(ends, ends, color="black", linewidth=1.2, linestyle=(0, (5, 3)), label="right prediction")
    parts = [part for part in numpy.array_split(numpy.argsort(predicted, kind="stable"), BINS) if len(part)]
    centres, means = ([values[part].mean() for part in parts] for values in (predicted, exact))
    axes.plot(centres, means, "-", color="#D55E00", marker="s", markersize=7, label="mean of each tenth")
    axes.set_xlabel("log-norm that MAPNet predicts")
    axes.set_ylabel("exact log-norm")
    axes.legend(frameon=False, loc="upper left")
    axes.grid(alpha=0.3)
    return figure


def _looks(stages):
    count = len(list(claims.by_masked(stages, "mask")))
    return [BY_MASKED[i % len(BY_MASKED)] for i in range(count)]


def _course(axes, stages, course, look, scale, words, hollow=False):
    colour, line, mark = look
    places = {stage["step"]: i for i, stage in enumerate(stages)}
    x = [places[step] for step, _ in course]
    values, low, high = scale * numpy.array([estimate for _, estimate in course]).T
    errors = numpy.maximum([values - low, high - values], 0.0)
    axes.errorbar(
        x, values, errors, color=colour, linestyle=line, marker=mark, markersize=7, linewidth=1.8, capsize=3, label=words,
        markerfacecolor="white" if hollow else colour,
    )  # fmt: skip


def _stage_axis(axes, stages):
    """Stages are equally far apart, whatever their steps; each is named by its step and its loss."""
    axes.set_xticks(range(len(stages)), [f"{stage['step']:,}\n{stage['loss']:.2f}" for stage in stages])
    axes.set_xlim(-0.3, len(stages) - 0.7)
    axes.set_xlabel("stage: training step, and loss in nats below it")
    axes.grid(alpha=0.3)


def _span(shares):
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low[:-2]} to {high}"
