"""The paper's claims, one by one, each with a verdict, the numbers that it rests on and the figures that show them.

All is read from the two dicts that a comparison gives, `results` and `times`. Verdicts on single comparisons come
with them, by `convergence`; `verdicts` joins them. Thresholds, where a claim needs one, are below and are printed with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minimapnet.reports.tables import (
    cost_ratio,
    interval_words,
    label,
    masked_words,
    percent,
    signed,
    start_of_branches,
    uncertain_percent,
)

EXACT = 1e-6  # relative error up to which two parts are said to make up the whole
WORTH_IT = 0.10  # share of the mask variance that a proposal could remove, from which on headroom is called large
NEAR = 0.80  # share of the headroom won from which on MAPNet is said to approach the optimal proposal
CHEAP = 1.10  # times the baseline's step
TITLES = {"scratch": "from scratch", "branches": "branches"}


@dataclass(frozen=True)
class Claim:
    """One claim of the paper as the measurements leave it. All fields are plain text; `figures` names those of `figures`."""

    name: str
    question: str
    verdict: str
    numbers: tuple[str, ...]
    answer: tuple[str, ...]
    rule: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """How one proposal of one experiment compares with the baseline in one measure ("loss", "steps" or "time")."""

    experiment: str
    name: str
    measure: str
    mean: float
    interval: list[float] | None
    verdict: str


def claims(results: dict, times: dict) -> list[Claim]:
    """Return the six claims in the paper's order."""
    return [
        decomposition(results),
        headroom(results),
        approach(results),
        convergence(results, times),
        final_loss(results),
        cost(results, times),
    ]


def proposals(results: dict, experiment: str) -> dict[str, dict]:
    """Return an experiment's proposals by name."""
    return {proposal["name"]: proposal for proposal in results["experiments"][experiment]["proposals"]}


def learned(proposal: dict) -> bool:
    """Return whether a proposal's scores are MAPNet's, and its gradient unbiased: on these the paper's claims rest."""
    return proposal["family"] == "MAPNet" and proposal["unbiased"]


def findings(results: dict, times: dict) -> Iterator[Finding]:
    """Return every comparison with the experiment's baseline, in loss, steps and time."""
    for experiment, run in results["experiments"].items():
        for against in run["comparisons"]:
            name, loss, steps = against["name"], against["difference"], against["steps_ratio"]
            yield Finding(experiment, name, "loss", loss["mean"], loss["interval"], against["verdict_loss"])
            yield Finding(experiment, name, "steps", steps["mean"], steps["interval"], against["verdict_steps"])
            time = times.get("time_ratios", {}).get(experiment, {}).get(name)
            if time is not None:
                yield Finding(experiment, name, "time", time["mean"], time["interval"], time["verdict"])


def judged(results: dict, times: dict, measures: tuple[str, ...]) -> list[Finding]:
    """Return the findings on which the paper's claims rest: those of MAPNet's unbiased proposals."""
    return [
        finding
        for finding in findings(results, times)
        if finding.measure in measures and learned(proposals(results, finding.experiment)[finding.name])
    ]


def biased_remark(results: dict) -> list[str]:
    """Return the sentence that names the biased proposals, or nothing."""
    named = [pair for experiment in results["experiments"] for pair in proposals(results, experiment).items()]
    names = sorted({name for name, proposal in named if not proposal["unbiased"]})
    if not names:
        return []
    return [f"Left out of the verdict, because its gradient is biased: {', '.join(names)}."]


def decomposition(results: dict) -> Claim:
    """Claim 1: the gradient's variance is data variance and mask variance, and masks make the larger part."""
    exact, stages = results["decomposition"], results["stages"]
    holds = exact["relative_error"] <= EXACT
    numbers = [f"whole and sum of the parts differ by {exact['relative_error']:.1g} of the whole"]
    answer = [
        f"Over every mask of {exact['sentences']} sentences ({exact['masked']} masked): {exact['data']:.4g} (data) + "
        f"{exact['mask']:.4g} (masks) = {exact['data'] + exact['mask']:.4g}, and the whole is {exact['whole']:.4g} nats²."
    ]
    for k, course in by_masked(stages, "mask_share"):
        numbers.append(f"{masked_words(k)}: masks make {uncertain_percent(course[-1][1])} of the variance at the last stage")
        answer.append(f"With {masked_words(k)}, the masks' share is {_course(course)}.")
    return Claim(
        "the decomposition",
        "Does the decomposition hold, and how large is each part as training goes on?",
        SUPPORTED if holds else CONTRADICTED,
        tuple(numbers),
        tuple(answer),
        f"Supported if the whole variance and the sum of its two parts, by enumeration, differ by at most {EXACT:g} of the "
        "whole; else contradicted. Shares are those of one mask of one sentence.",
        ("variance_parts",),
    )


def headroom(results: dict) -> Claim:
    """Claim 2: other masks than uniform ones could lower the variance much."""
    numbers, answer, verdicts = [], [], []
    for k, course in by_masked(results["stages"], "headroom_share"):
        verdicts.append(of_share(course[-1][1][1:], WORTH_IT))
        numbers.append(f"{masked_words(k)}: {uncertain_percent(course[-1][1])} of the mask variance at the last stage")
        answer.append(f"With {masked_words(k)}, the headroom is {_course(course)} of the mask variance: {verdicts[-1]}.")
    start = start_of_branches(results)
    shares = [f"{uncertain_percent(masks['headroom_share'])} ({masked_words(masks['k'])})" for masks in start["masks"]]
    answer.append(f"Where the branches start, it is {', '.join(shares)}.")
    return Claim(
        "the headroom",
        "How much of the mask variance could the best proposal remove, by stage of training and by masked tokens?",
        of_shares(verdicts),
        tuple(numbers),
        tuple(answer),
        f"For each number of masked tokens, at the last stage: supported if the 95 % interval of the headroom lies above "
        f"{percent(WORTH_IT)} of the mask variance, not supported if it lies below, else undecided. Several numbers of "
        "masked tokens that differ: supported in part.",
        ("headroom",),
    )


def approach(results: dict) -> Claim:
    """Claim 3: MAPNet learns the optimal proposal."""
    course = [(stage["step"], stage["mapnet"]) for stage in results["stages"] if stage.get("mapnet")]
    rule = (
        f"Supported if MAPNet wins at least {percent(NEAR)} of the headroom of single masks at the last stage, on held-out "
        "rows, drawn with the branches' share of uniform masks; supported in part if it wins some; contradicted if it wins "
        "none. No interval stands behind this number."
    )
    question = "Does MAPNet approach the optimal proposal?"
    if not course:
        return Claim("MAPNet", question, NOT_MEASURED, (), ("MAPNet was not measured.",), rule, ())
    (_, first), (step, last) = course[0], course[-1]
    won = last["headroom_won"]
    verdict = SUPPORTED if won >= NEAR else SUPPORTED_IN_PART if won > 0 else CONTRADICTED
    answer = [
        f"At step {step:,} it wins {percent(won)} of the headroom of single masks, at the first stage "
        f"{percent(first['headroom_won'])}.",
        f"The Kullback-Leibler divergence from the optimal proposal is {last['kl']:.3g} nats (at first {first['kl']:.3g}).",
        f"Predicted and exact log-norms correlate with {last['correlation']:.2f}; the line through them has slope "
        f"{last['slope']:.2f} (1 is right; its intercept is free, as MAPNet predicts up to a constant).",
    ]
    if won <= 0:
        answer.append("Its masks have more variance than uniform ones.")
    answer.append(f"Where the branches start, it wins {percent(start_of_branches(results)['mapnet']['headroom_won'])}.")
    answer += [
        f"At the end of its branches, {proposal['name']} wins {percent(quality['headroom_won'])} (mean over seeds), with a "
        f"correlation of {quality['correlation']:.2f} and a divergence of {quality['kl']:.3g} nats."
        for experiment in results["experiments"].values()
        for proposal in experiment["proposals"]
        if (quality := proposal.get("mapnet"))
    ]
    numbers = f"{percent(won)} of the headroom won", f"KL {last['kl']:.3g} nats", f"correlation {last['correlation']:.2f}"
    return Claim("MAPNet", question, verdict, numbers, tuple(answer), rule, ("mapnet", "calibration"))


def convergence(results: dict, times: dict) -> Claim:
    """Claim 4: MAPNet's masks make training converge faster."""
    compared = judged(results, times, ("steps", "time"))
    verdict = together([finding.verdict for finding in compared], FASTER, SLOWER)
    numbers = [_ratio_words(finding) for finding in compared]
    answer = []
    for finding in compared:
        if finding.measure == "steps":
            answer.append(_reached(results, finding))
    answer += biased_remark(results)
    return Claim(
        "convergence",
        "Is convergence faster, in steps and in wall-clock time?",
        verdict,
        tuple(numbers),
        tuple(answer),
        "Per experiment and unbiased MAPNet proposal, once in steps and once in time: the ratio to what the baseline's run "
        "takes, as a mean over seeds with its 95 % interval. Faster if the interval lies below 1, slower if above, else no "
        "difference found; where the ratio to the baseline's own first crossing says otherwise, no difference was found "
        "either, for a noisy curve crosses any level early. Supported if all are faster, in part if some are and none is "
        "slower, and likewise contradicted.",
        ("ratios", *(f"loss_{experiment}" for experiment in results["experiments"])),
    )


def final_loss(results: dict) -> Claim:
    """Claim 5: the final model is better on uniform masks."""
    compared = judged(results, {}, ("loss",))
    numbers = [
        f"{TITLES.get(finding.experiment, finding.experiment)}, {finding.name}: {signed(finding.mean)} nats "
        f"{interval_words(finding.interval, '+.3f')}: {finding.verdict}"
        for finding in compared
    ]
    answer = [
        f"{TITLES.get(name, name)}: the baseline is {run['baseline']}, with a final loss of "
        f"{proposals(results, name)[run['baseline']]['final']['mean']:.3f} nats."
        for name, run in results["experiments"].items()
    ]
    return Claim(
        "the final model",
        "Is the final model better, judged on uniform masks?",
        together([finding.verdict for finding in compared], BETTER, WORSE),
        tuple(numbers),
        tuple([*(line[0].upper() + line[1:] for line in answer), *biased_remark(results)]),
        "The final losses are compared with the baseline's seed by seed. Better if the 95 % interval of the mean difference "
        "lies below 0, worse if above, else no difference found. Supported if all are better, in part if some are and none "
        "is worse, and likewise contradicted.",
        tuple(f"loss_{experiment}" for experiment in results["experiments"]),
    )


def cost(results: dict, times: dict) -> Claim:
    """Claim 6: a step with MAPNet costs little more."""
    ratios, answer = [], []
    for experiment, steps in times.get("steps", {}).items():
        baseline = results["experiments"][experiment]["baseline"]
        for name, timed in steps.items():
            known = proposals(results, experiment).get(name)
            if known is None or name == baseline:
                continue
            where = f"{TITLES.get(experiment, experiment)}, {label(known)}"
            ratio = cost_ratio(results, times, experiment, name)
            answer.append(f"{where}: {timed['ms']:.3g} ms, {ratio:.2f} times the step of {baseline}.")
            if learned(known):
                ratios.append((f"{where}: {ratio:.2f} times", ratio))
    cheap = [ratio <= CHEAP for _, ratio in ratios]
    verdict = SUPPORTED if all(cheap) else SUPPORTED_IN_PART if any(cheap) else NOT_SUPPORTED
    return Claim(
        "the cost",
        "What does a step cost?",
        verdict if ratios else NOT_MEASURED,
        tuple(words for words, _ in ratios),
        tuple(line[0].upper() + line[1:] for line in answer),
        f"Supported if a step with MAPNet's unbiased proposals takes at most {CHEAP:.2f} times the baseline's, in all "
        "experiments; in part if in some. Medians of steps timed in turns on one machine.",
        ("cost",),
    )


def by_masked(stages: list[dict], field: str) -> Iterator[tuple[int, list]]:
    """Return (k, [(step, [value, low, high]), ...]) of a field of the stages, for every k that occurs."""
    ks = dict.fromkeys(masks["k"] for stage in stages for masks in stage["masks"])
    for k in ks:
        yield k, [(stage["step"], masks[field]) for stage in stages for masks in stage["masks"] if masks["k"] == k]


def steps_by_seed(results: dict, experiment: str, name: str) -> list[float]:
    """Return a proposal's ratios of steps to the baseline's, one for each seed."""
    comparisons = results["experiments"][experiment]["comparisons"]
    return next(comparison["steps_ratio"]["by_seed"] for comparison in comparisons if comparison["name"] == name)


def reached(ratios: list[float]) -> int:
    """Count the seeds that reached the baseline's final loss: by the rule for steps, a ratio above 1 is one that did not."""
    return sum(ratio <= 1 for ratio in ratios)


def _course(course) -> str:
    (first_step, first), (last_step, last) = course[0], course[-1]
    if len(course) == 1:
        return f"{uncertain_percent(last)} at step {last_step:,}"
    return f"{uncertain_percent(first)} at step {first_step:,} and {uncertain_percent(last)} at step {last_step:,}"


def _ratio_words(finding: Finding) -> str:
    where = TITLES.get(finding.experiment, finding.experiment)
    ratio = f"{finding.mean:.2f} {interval_words(finding.interval, '.2f')}"
    return f"{where}, {finding.name}: {ratio} of the {finding.measure}: {finding.verdict}"


def _reached(results: dict, finding: Finding) -> str:
    run = results["experiments"][finding.experiment]
    ratios = steps_by_seed(results, finding.experiment, finding.name)
    where = TITLES.get(finding.experiment, finding.experiment)
    return (
        f"{where[0].upper()}{where[1:]}: {finding.name} reached the final loss of {run['baseline']} in {reached(ratios)} of "
        f"{len(ratios)} seeds; ratios by seed {', '.join(f'{ratio:.2f}' for ratio in ratios)}."
    )


SUPPORTED, CONTRADICTED, NOT_SUPPORTED = "supported", "contradicted", "not supported"
SUPPORTED_IN_PART, CONTRADICTED_IN_PART, MIXED = "supported in part", "contradicted in part", "mixed"
NO_DIFFERENCE, UNDECIDED = "no difference found", "undecided"
ONE_SEED, NOT_MEASURED = "one seed: no verdict", "not measured"

BETTER, WORSE, FASTER, SLOWER = "better", "worse", "faster", "slower"


def of_share(interval: Sequence[float], least: float) -> str:
    """Judge whether a share reaches `least`."""
    low, high = interval
    if low > least:
        return SUPPORTED
    return NOT_SUPPORTED if high < least else UNDECIDED


def together(verdicts: Sequence[str], good: str, bad: str) -> str:
    """Combine the verdicts on several comparisons.

    All `good` is "supported", some and none `bad` "supported in part"; likewise "contradicted" for `bad`; both is "mixed".
    """
    if not verdicts:
        return NOT_MEASURED
    if all(verdict == ONE_SEED for verdict in verdicts):
        return ONE_SEED
    won, lost = verdicts.count(good), verdicts.count(bad)
    if won and lost:
        return MIXED
    if won:
        return SUPPORTED if won == len(verdicts) else SUPPORTED_IN_PART
    if lost:
        return CONTRADICTED if lost == len(verdicts) else CONTRADICTED_IN_PART
    return NO_DIFFERENCE


def of_shares(verdicts: Sequence[str]) -> str:
    """Combine the verdicts of `of_share`: all alike is that verdict, some supported is "supported in part"."""
    distinct = set(verdicts)
    if len(distinct) == 1:
        return distinct.pop()
    if not distinct:
        return NOT_MEASURED
    return SUPPORTED_IN_PART if SUPPORTED in distinct else UNDECIDED
