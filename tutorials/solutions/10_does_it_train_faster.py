"""Solutions to the exercises of step 10, does it train faster?"""

import math

import numpy
from scipy import special


def expected_losses(rates, curvature, variance, start):
    """Return the expected loss before and after each step: rates (S,), three numbers -> (S + 1,).

    Each step shrinks E theta^2 by (1 - eta c)^2 and adds eta^2 v. With a falling rate the noise of early steps is shrunk by
    all the steps after them, and late steps add little, so the end depends little on v.
    """
    square, losses = start**2, [curvature / 2 * start**2]
    for rate in rates:
        square = (1 - rate * curvature) ** 2 * square + rate**2 * variance
        losses.append(curvature / 2 * square)
    return numpy.array(losses)


def seeds_needed(deviation, effect):
    """Return the least number of seeds whose interval is less than `effect` wide to either side: two numbers -> int.

    The half width t s / sqrt(S) falls with S, for both t and 1 / sqrt(S) do: so the first S that fits is the least.
    """
    seeds = 2
    while special.stdtrit(seeds - 1, 0.975) * deviation / math.sqrt(seeds) >= effect:
        seeds += 1
    return seeds


def false_alarms(proposals, seeds, experiments, rng):
    """Return the share of experiments in which at least one proposal, none of them different, comes out as different.

    For one proposal it is 5 %. For several it is more, though less than if they were independent: all are compared with the
    same baseline, and where that was lucky, it beats them together. Of tables like ours, with four proposals and four seeds,
    about one in six would hold a wrong verdict if all were equal. So a single "better" among many rows should be looked at
    again with new seeds.
    """
    finals = rng.normal(size=(experiments, proposals + 1, seeds))
    differences = finals[:, 1:] - finals[:, :1]  # (experiments, proposals, seeds)
    half = special.stdtrit(seeds - 1, 0.975) * differences.std(axis=2, ddof=1) / math.sqrt(seeds)
    return float((abs(differences.mean(axis=2)) > half).any(axis=1).mean())
