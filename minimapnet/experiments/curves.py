"""From validation losses over steps to figures that can be compared: final losses, ratios of steps, intervals, verdicts.

A *curve* is [(step, loss), ...]. Training at a constant learning rate goes up and down, so a curve is first smoothed: each
loss becomes the mean of itself and the two before it. The first crossing of a level is then looked for between the
evaluations, on a straight line.
"""

import math
from collections.abc import Sequence

import numpy
from scipy import special

CONFIDENCE = 0.95
SMOOTHED = 3  # evaluations that a mean is taken of
RULES = {
    "final": (
        f"The final loss of a run is the mean of its last {SMOOTHED} evaluations, all on the same uniform masks of "
        "validation rows: from scratch of 15 % of the tokens, in branches of one token."
    ),
    "steps": (
        "The ratio of steps is taken seed by seed: the step at which a proposal's smoothed curve first reaches the "
        "baseline's final loss, over all steps of the run; where it never does, all steps over the step at which the "
        "baseline first reaches the proposal's final loss. Below 1 is faster. The mean over seeds is geometric."
    ),
    "verdict": (
        "Every difference and every ratio to the baseline has a 95 % interval over seeds (Student's t, for ratios on "
        "their logarithm). A proposal is better or worse, faster or slower, where the interval excludes no difference, "
        "and else no difference was found. A proposal is called faster only if it also reaches the baseline's final loss "
        "in fewer steps than the baseline itself first does, with an interval that excludes 1: a noisy curve crosses any "
        "level early. All branches go on from one restarted warm start, so their intervals leave out how another would do."
    ),
}


def smoothed(curve: Sequence[tuple[int, float]]) -> numpy.ndarray:
    """Return the curve (E, 2), every loss replaced by the mean of the last 3 evaluations up to it, fewer at the start."""
    points = numpy.asarray(curve, numpy.float64)  # (E, 2)
    losses = [points[max(0, i + 1 - SMOOTHED) : i + 1, 1].mean() for i in range(len(points))]
    return numpy.column_stack([points[:, 0], losses])


def final_loss(curve) -> float:
    """Return the mean of the last 3 evaluations."""
    return float(smoothed(curve)[-1, 1])


def first_reached(curve, level: float) -> float | None:
    """Return the step at which the smoothed curve first comes down to `level`, or None where it never does."""
    points = smoothed(curve)
    below = numpy.flatnonzero(points[:, 1] <= level)
    if not len(below):
        return None
    after = below[0]
    if after == 0:
        return float(points[0, 0])
    (start, high), (stop, low) = points[after - 1], points[after]
    return float(start + (stop - start) * (high - level) / (high - low))


def steps_ratio(curve, baseline) -> tuple[float, float]:
    """Return how many steps a curve takes to the final loss of another, over all of its steps and over what the other takes.

    The first number is that of `RULES`; the second puts the baseline's own first crossing below the line instead of all of
    its steps, so that two curves that differ by chance alone have a ratio around 1. Both curves have the same steps, from 0.
    """
    whole = float(baseline[-1][0])
    least = float(baseline[1][0])  # a curve that begins below the level is counted as there at the first evaluation
    own = max(first_reached(baseline, final_loss(baseline)), least)
    reached = first_reached(curve, final_loss(baseline))
    if reached is not None:
        return max(reached, least) / whole, max(reached, least) / own
    mirrored = whole / max(first_reached(baseline, final_loss(curve)), least)
    itself = max(first_reached(curve, final_loss(curve)), least)
    return mirrored, mirrored * itself / whole


def interval(values: Sequence[float] | numpy.ndarray) -> tuple[float, list[float] | None]:
    """Return the mean of some numbers and the ends of its 95 % interval by Student's t; no ends for one number."""
    numbers = numpy.asarray(values, numpy.float64)
    mean, n = float(numbers.mean()), len(numbers)
    if n < 2:
        return mean, None
    half = special.stdtrit(n - 1, (1 + CONFIDENCE) / 2) * numbers.std(ddof=1) / math.sqrt(n)
    return mean, [float(mean - half), float(mean + half)]


def geometric_interval(ratios: Sequence[float]) -> tuple[float, list[float] | None]:
    """Return the geometric mean of positive numbers and its interval, by `interval` of their logarithms."""
    mean, ends = interval(numpy.log(ratios))
    return math.exp(mean), None if ends is None else [math.exp(end) for end in ends]


def sign(ends: list[float] | None, neutral: float, below: str, above: str) -> str:
    """Put an interval into a word: `below` or `above` where it excludes `neutral`."""
    if ends is None:
        return "one seed: no verdict"
    if ends[1] < neutral:
        return below
    return above if ends[0] > neutral else "no difference found"


def agreed(*intervals: list[float] | None) -> str:
    """Return the verdict on ratios that all intervals agree on, else that there is none."""
    words = {sign(ends, 1.0, "faster", "slower") for ends in intervals}
    return words.pop() if len(words) == 1 else "no difference found"


def comparison(name: str, curves: dict, against: str, baseline: dict) -> dict:
    """Hold the curves {seed: curve} of a proposal against those of the baseline, seed by seed."""
    differences = [final_loss(curves[seed]) - final_loss(baseline[seed]) for seed in curves]
    pairs = [steps_ratio(curves[seed], baseline[seed]) for seed in curves]
    mean, ends = interval(differences)
    ratio, ratio_ends = geometric_interval([of_all for of_all, _ in pairs])
    own, own_ends = geometric_interval([of_own for _, of_own in pairs])
    return {
        "name": name,
        "against": against,
        "difference": {"mean": mean, "interval": ends, "by_seed": differences},
        "steps_ratio": {"mean": ratio, "interval": ratio_ends, "by_seed": [of_all for of_all, _ in pairs]},
        "own_ratio": {"mean": own, "interval": own_ends, "by_seed": [of_own for _, of_own in pairs]},
        "verdict_loss": sign(ends, 0.0, "better", "worse"),
        "verdict_steps": agreed(ratio_ends, own_ends),
    }
