"""From verdicts on single comparisons, which `convergence` gives, and from shares with intervals, to verdicts on claims."""

from collections.abc import Sequence

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
    """Put the verdicts on several comparisons into one.

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
    """Put the verdicts of `of_share` into one: all alike is that verdict, some supported is "supported in part"."""
    found = set(verdicts)
    if len(found) == 1:
        return found.pop()
    if not found:
        return NOT_MEASURED
    return SUPPORTED_IN_PART if SUPPORTED in found else UNDECIDED
