"""The claims' verdicts: every branch of every rule, on intervals made by hand."""

import pytest

from minimapnet.reports import claims, tables
from minimapnet.reports.claims import (
    CONTRADICTED,
    CONTRADICTED_IN_PART,
    MIXED,
    NO_DIFFERENCE,
    NOT_MEASURED,
    NOT_SUPPORTED,
    ONE_SEED,
    SUPPORTED,
    SUPPORTED_IN_PART,
    UNDECIDED,
)
from tests.helpers.compare_results import outcome


def by_name(results, times):
    return {claim.name: claim for claim in claims.claims(results, times)}


def set_verdicts(results, times, loss=(), steps=(), time=()):
    """Return MAPNet's three unbiased comparisons these verdicts: from scratch pool, branches single, branches pool."""
    places = [("scratch", "MAPNet pool"), ("branches", "MAPNet single"), ("branches", "MAPNet pool")]
    for i, (experiment, name) in enumerate(places):
        one = next(one for one in results["experiments"][experiment]["comparisons"] if one["name"] == name)
        if loss:
            one["verdict_loss"] = loss[i]
        if steps:
            one["verdict_steps"] = steps[i]
        if time:
            times["time_ratios"][experiment][name]["verdict"] = time[i]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], NOT_MEASURED),
        ([ONE_SEED, ONE_SEED], ONE_SEED),
        (["faster", "faster"], SUPPORTED),
        (["faster", NO_DIFFERENCE], SUPPORTED_IN_PART),
        (["faster", ONE_SEED], SUPPORTED_IN_PART),
        (["faster", "slower", NO_DIFFERENCE], MIXED),
        (["slower", "slower"], CONTRADICTED),
        (["slower", NO_DIFFERENCE], CONTRADICTED_IN_PART),
        ([NO_DIFFERENCE, NO_DIFFERENCE], NO_DIFFERENCE),
        ([NO_DIFFERENCE, ONE_SEED], NO_DIFFERENCE),
    ],
)
def test_verdicts_on_several_comparisons_make_one(found, expected):
    assert claims.together(found, "faster", "slower") == expected


@pytest.mark.parametrize(
    ("interval", "expected"), [([0.11, 0.2], SUPPORTED), ([0.01, 0.09], NOT_SUPPORTED), ([0.05, 0.15], UNDECIDED)]
)
def test_a_share_is_held_against_its_threshold(interval, expected):
    assert claims.of_share(interval, 0.1) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([SUPPORTED, SUPPORTED], SUPPORTED),
        ([NOT_SUPPORTED, NOT_SUPPORTED], NOT_SUPPORTED),
        ([SUPPORTED, NOT_SUPPORTED], SUPPORTED_IN_PART),
        ([UNDECIDED, NOT_SUPPORTED], UNDECIDED),
        ([], NOT_MEASURED),
    ],
)
def test_shares_make_one_verdict(found, expected):
    assert claims.of_shares(found) == expected


@pytest.mark.parametrize(("error", "expected"), [(1e-15, SUPPORTED), (1e-6, SUPPORTED), (1e-3, CONTRADICTED)])
def test_the_decomposition_holds_up_to_a_stated_error(error, expected):
    results, times = outcome()
    results["decomposition"]["relative_error"] = error
    claim = by_name(results, times)["the decomposition"]
    assert claim.verdict == expected
    assert "1e-06" in claim.rule


def test_headroom_is_judged_at_the_last_stage_alone():
    results, times = outcome()
    for one in results["stages"][-1]["masks"]:
        one["headroom_share"] = [0.3, 0.28, 0.33]
    assert by_name(results, times)["the headroom"].verdict == SUPPORTED
    for one in results["stages"][-1]["masks"]:
        one["headroom_share"] = [0.03, 0.01, 0.06]
    claim = by_name(results, times)["the headroom"]
    assert claim.verdict == NOT_SUPPORTED
    assert claim.numbers[0] == "1 masked: 3.0 [1.0, 6.0] % of the mask variance at the last stage"
    results["stages"][-1]["masks"][0]["headroom_share"] = [0.3, 0.28, 0.33]
    assert by_name(results, times)["the headroom"].verdict == SUPPORTED_IN_PART
    results["stages"][-1]["masks"][0]["headroom_share"] = [0.3, 0.09, 0.4]
    assert by_name(results, times)["the headroom"].verdict == UNDECIDED


@pytest.mark.parametrize(
    ("won", "expected"),
    [(0.93, SUPPORTED), (0.8, SUPPORTED), (0.79, SUPPORTED_IN_PART), (0.0, CONTRADICTED), (-0.5, CONTRADICTED)],
)
def test_mapnet_is_judged_by_the_headroom_that_it_wins(won, expected):
    results, times = outcome()
    results["stages"][-1]["mapnet"]["headroom_won"] = won
    claim = by_name(results, times)["MAPNet"]
    assert claim.verdict == expected
    assert any("more variance than uniform" in words for words in claim.answer) == (won <= 0)


def test_where_the_branches_start_is_told_beside_the_stages():
    results, times = outcome()
    start = results["experiments"]["branches"]["warm"]["start"]
    start["masks"][0]["headroom_share"], start["mapnet"]["headroom_won"] = [0.61, 0.52, 0.7], -0.37
    found = by_name(results, times)
    assert "Where the branches start, it is 61 [52, 70] % (1 masked), " in " ".join(found["the headroom"].answer)
    assert "Where the branches start, it wins -37 %." in found["MAPNet"].answer
    assert found["MAPNet"].verdict == SUPPORTED  # as of the last stage
    for table in (tables.of_stages(results), tables.of_mapnet(results)):
        assert table[-1][0] == "2,800, restarted"


def test_mapnet_that_was_not_measured():
    results, times = outcome()
    for stage in results["stages"]:
        stage["mapnet"] = None
    assert by_name(results, times)["MAPNet"].verdict == NOT_MEASURED


@pytest.mark.parametrize(
    ("steps", "time", "expected"),
    [
        (["faster"] * 3, ["faster"] * 3, SUPPORTED),
        (["faster"] * 3, [NO_DIFFERENCE] * 3, SUPPORTED_IN_PART),
        (["faster"] * 3, ["slower"] * 3, MIXED),
        (["slower"] * 3, ["slower"] * 3, CONTRADICTED),
        ([NO_DIFFERENCE] * 3, [NO_DIFFERENCE, "slower", NO_DIFFERENCE], CONTRADICTED_IN_PART),
        ([NO_DIFFERENCE] * 3, [NO_DIFFERENCE] * 3, NO_DIFFERENCE),
    ],
)
def test_convergence_is_judged_in_steps_and_in_time(steps, time, expected):
    results, times = outcome()
    set_verdicts(results, times, steps=steps, time=time)
    assert by_name(results, times)["convergence"].verdict == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (["better"] * 3, SUPPORTED),
        (["better", NO_DIFFERENCE, NO_DIFFERENCE], SUPPORTED_IN_PART),
        (["better", "worse", NO_DIFFERENCE], MIXED),
        (["worse"] * 3, CONTRADICTED),
        ([NO_DIFFERENCE] * 3, NO_DIFFERENCE),
    ],
)
def test_the_final_model_is_judged_by_its_loss(loss, expected):
    results, times = outcome()
    set_verdicts(results, times, loss=loss)
    assert by_name(results, times)["the final model"].verdict == expected


def test_verdicts_follow_from_the_runs():
    """Nothing is set by hand here: curves go in, the verdicts of the comparisons come out at the claims."""
    good = by_name(*outcome(gains={"MAPNet pool": 0.1, "MAPNet single": 0.1}))
    bad = by_name(*outcome(gains={"MAPNet pool": -0.1, "MAPNet single": -0.1}))
    none = by_name(*outcome(gains={"MAPNet pool": 0.0, "MAPNet single": 0.0}))
    for name in ("convergence", "the final model"):
        assert (good[name].verdict, bad[name].verdict) == (SUPPORTED, CONTRADICTED)
    assert none["the final model"].verdict == NO_DIFFERENCE


def test_one_seed_gives_numbers_and_no_verdict():
    found = by_name(*outcome(seeds=1))
    for name in ("convergence", "the final model"):
        assert found[name].verdict == ONE_SEED
        assert "[one seed]" in found[name].numbers[0]


def test_biased_and_optimal_proposals_do_not_decide():
    results, times = outcome()
    expected = {name: claim.verdict for name, claim in by_name(results, times).items()}
    for experiment, run in results["experiments"].items():
        for one in run["comparisons"]:
            if one["name"] in ("MAPNet positions", "optimal pool", "optimal single", "fully explored"):
                one["verdict_loss"], one["verdict_steps"] = "worse", "slower"
                times["time_ratios"][experiment][one["name"]]["verdict"] = "slower"
    found = by_name(results, times)
    assert {name: claim.verdict for name, claim in found.items()} == expected
    assert any("MAPNet positions" in words and "biased" in words for words in found["convergence"].answer)


def test_what_was_not_reached_is_said():
    results, times = outcome(gains={"MAPNet pool": -0.1})
    assert any("in 0 of 3 seeds" in words for words in by_name(results, times)["convergence"].answer)


def test_cost_is_told_against_the_baseline():
    results, times = outcome()
    assert times["steps"]["branches"]["MAPNet single"]["ratio"] == pytest.approx(1.35)
    claim = by_name(results, times)["the cost"]
    assert claim.verdict == SUPPORTED
    assert "branches, MAPNet single: 1.08 times" in claim.numbers
    for one in ("MAPNet single", "MAPNet pool"):
        times["steps"]["branches"][one]["ratio"] = 1.5
    assert by_name(results, times)["the cost"].verdict == SUPPORTED_IN_PART
    times["steps"]["scratch"]["MAPNet pool"]["ratio"] = 1.2
    assert by_name(results, times)["the cost"].verdict == NOT_SUPPORTED
    assert by_name(results, {})["the cost"].verdict == NOT_MEASURED
