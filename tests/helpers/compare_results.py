"""A made-up outcome of `minimapnet compare`, seeded, in the form of results.json and times.json."""

import math

import numpy

from minimapnet.experiments import curves

FAMILY = {"uniform,": "uniform", "uniform": "uniform", "fully": "structured", "MAPNet": "MAPNet"}
LAST = {"scratch": 5.0, "branches": 3.1}
STEPS = {"scratch": 1500, "branches": 1000}
NAMES = {
    "scratch": ["uniform", "fully explored", "MAPNet pool", "optimal pool", "MAPNet positions"],
    "branches": [*(f"uniform, {k} masked" for k in (1, 2, 4)), "MAPNet single", "MAPNet pool", "optimal single"],
}
BASELINE = {"scratch": "uniform", "branches": "uniform, 2 masked"}
GAIN = {"fully explored": 0.01, "MAPNet pool": 0.05, "MAPNet single": 0.06, "optimal pool": 0.07, "optimal single": 0.1}
GAIN |= {"MAPNet positions": -0.08, "uniform, 1 masked": -0.06, "uniform, 4 masked": -0.02}
TOKENS = '[CLS] the <b> tag & its ##s "friends" </script> are kept as they stand by str . escape ( ) [SEP]'.split()


def outcome(seeds: int = 3, gains: dict | None = None) -> tuple[dict, dict]:
    """Return (results, times) of a comparison with so many seeds.

    `gains` replaces by how much proposals beat the baseline.
    """
    rng = numpy.random.default_rng(7)
    gains = GAIN | (gains or {})
    results = {
        "preset": "default",
        "seed": 0,
        "backend": "numpy",
        "settings": {
            "scratch": {"steps": 1500, "batch_size": 30},
            "model": {"hidden_size": 128, "layers": [1, 2]},
            "text": {"vocab_size": 2048},
        },
        "text": {
            "name": "python-docs",
            "train_rows": 16662,
            "validation_rows": 1024,
            "vocabulary": 2048,
            "max_length": 32,
            "unigram_entropy": 6.05,
            "true_entropy": None,
        },
        "decomposition": {"sentences": 4, "masked": 1, "whole": 1.234, "data": 0.2, "mask": 1.034, "relative_error": 3e-15},
        "stages": [stage(step, i) for i, step in enumerate((0, 500, 1000, 2500))],
        "calibration": calibration(rng),
        "sentences": [sentence(rng, step) for step in (500, 2500)],
        "experiments": {name: experiment(name, seeds, gains, rng) for name in NAMES},
        "rules": {
            "final": "The final loss is the mean of the last three evaluations.",
            "steps": "The ratio is that of the first evaluation at which the baseline's final loss is reached.",
            "verdict": "Faster if the interval lies below 1.",
        },
    }
    return results, times(results)


def around(value: float, error: float) -> list[float]:
    """Return [value, low, high] of an interval that is longer to the far side."""
    return [value, value - 1.8 * error, value + 2.4 * error]


def stage(step: int, i: int) -> dict:
    masks = []
    for k in (1, 2, 0.15, 0.4):
        size = 10 * k if k < 1 else k
        mask, head = 8 * (1 - 0.2 * i) / size, (0.01 + 0.11 * i) / size**0.8
        masks.append(
            {
                "k": k,
                "data": around(0.2 + 0.1 * i, 0.02),
                "mask": around(mask, 0.1 * mask),
                "headroom": around(head * mask, 0.1 * head * mask),
                "mask_share": around(mask / (mask + 0.2 + 0.1 * i), 0.01),
                "headroom_share": around(head, 0.1 * head + 0.002),
            }
        )
    learned = {"correlation": 0.3 + 0.2 * i, "slope": 0.7 + 0.1 * i, "intercept": 0.3 - 0.1 * i, "kl": 0.08 / (1 + i) ** 2}
    return {"step": step, "loss": 7.2 - 1.2 * i, "masks": masks, "mapnet": learned | {"headroom_won": -0.1 + 0.32 * i}}


def calibration(rng) -> dict:
    predicted = rng.normal(0.5, 0.8, 2000)
    return {"predicted": predicted.tolist(), "exact": (0.1 + 0.9 * predicted + rng.normal(0, 0.35, 2000)).tolist()}


def sentence(rng, step: int) -> dict:
    inside = numpy.array([token not in ("[CLS]", "[SEP]") for token in TOKENS])
    norms = numpy.exp(rng.normal(0, 0.8, len(TOKENS))) * inside
    guess = norms * numpy.exp(rng.normal(0, 0.3, len(TOKENS)))
    return {
        "step": step,
        "tokens": TOKENS,
        "norms": norms.tolist(),
        "optimal": (norms / norms.sum()).tolist(),
        "mapnet": (guess / guess.sum()).tolist(),
    }


def experiment(name: str, seeds: int, gains: dict, rng) -> dict:
    steps, last = STEPS[name], LAST[name]
    at = [round(steps * part / 10) for part in range(11)]
    luck = rng.normal(0, 0.03, seeds)
    proposals, by_name = [], {}
    for proposal in NAMES[name]:
        by_name[proposal] = {}
        for seed in range(seeds):
            start = 7.6 if name == "scratch" else last + 0.35
            end = last + luck[seed] - gains.get(proposal, 0) + rng.normal(0, 0.01)
            by_name[proposal][str(seed)] = [[step, end + (start - end) * math.exp(-5 * step / steps)] for step in at]
        mean, interval = curves.interval([curves.final_loss(curve) for curve in by_name[proposal].values()])
        proposals.append(
            {
                "name": proposal,
                "family": FAMILY.get(proposal.split()[0], "optimal"),
                "masked": 0.15 if name == "scratch" else 1,
                "unbiased": proposal != "MAPNet positions",
                "curves": by_name[proposal],
                "final": {"mean": mean, "interval": interval},
                "diagnostics": {}
                if "uniform" in proposal
                else {"effective_sample_size": 0.97, "largest_weight": 1.4, "tau": 1.12},
            }
        )
    baseline = BASELINE[name]
    found = {"masked": 0.15, "steps": steps, "batch_size": 30, "baseline": baseline, "proposals": proposals}
    found["comparisons"] = [
        curves.comparison(one, by_name[one], baseline, by_name[baseline]) for one in NAMES[name] if one != baseline
    ]
    if name == "branches":
        curve = [[0, 7.6], [1000, 4.5], [2500, last - 0.05], [2800, last + 0.35]]
        warm = {"steps": 2500, "restart_steps": 300, "curve": curve, "start": stage(2800, 2)}
        found |= {"masked": None, "batch_size": 4, "learning_rate": 5e-4, "warm": warm}
    return found


def times(results: dict) -> dict:
    found = {"machine": "a laptop <2 cores>", "threads": 1, "steps": {}, "time_ratios": {}}
    for name, run in results["experiments"].items():
        base = 14.0 if name == "scratch" else 5.0
        costs = {one: 1 + 0.3 * ("optimal" in one) + 0.08 * ("MAPNet" in one) for one in NAMES[name]}
        costs |= {one: cost / 0.8 for one, cost in costs.items() if name == "branches" and one != "uniform, 1 masked"}
        found["steps"][name] = {
            one: {"ms": base * ratio, "quartiles": [base * ratio * 0.96, base * ratio * 1.05], "ratio": ratio}
            for one, ratio in costs.items()
        }
        found["time_ratios"][name] = {
            one["name"]: time_ratio(one, costs[one["name"]] / costs[run["baseline"]]) for one in run["comparisons"]
        }
    return found


def time_ratio(one: dict, cost: float) -> dict:
    ends, own = ([cost * end for end in one[key]["interval"] or ()] or None for key in ("steps_ratio", "own_ratio"))
    mean = cost * one["steps_ratio"]["mean"]
    return {"mean": mean, "interval": ends, "cost": cost, "verdict": curves.agreed(ends, own)}
