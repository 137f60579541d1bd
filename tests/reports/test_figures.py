"""Which colour, line and mark a proposal has in all figures."""

from minimapnet.plotting import BASELINE
from minimapnet.reports.figures_training import styles


def experiment(baseline, **families):
    return {"baseline": baseline, "proposals": [{"name": name, "family": family} for name, family in families.items()]}


def test_no_two_proposals_of_a_figure_look_the_same():
    scratch = experiment("plain", plain="uniform", pool="MAPNet", best="optimal")
    sizes = dict.fromkeys(("one", "two", "four", "many"), "uniform")
    branches = experiment("two", **sizes, pool="MAPNet", single="MAPNet")
    looks = styles({"experiments": {"scratch": scratch, "branches": branches}})
    assert looks["plain"] == looks["two"] == BASELINE
    for run in (scratch, branches):
        names = [proposal["name"] for proposal in run["proposals"]]
        assert len({looks[name] for name in names}) == len(names)
    assert not any(looks[name] == BASELINE for name in ("one", "four", "many", "pool", "best", "single"))
