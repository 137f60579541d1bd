"""The variance decomposition: enumeration against definitions, estimators in expectation, proposals, the report."""

import itertools
import json

import numpy
import pytest

from minimapnet import InputError, VarianceReport, decompose_variance, gradients
from minimapnet.proposals.base import MaskBatch, Proposal, rows_of
from minimapnet.proposals.importance import PositionProposal, SetProposal, SingleProposal
from minimapnet.proposals.pools import BatchPoolProposal, PoolProposal
from minimapnet.proposals.scores import exact_norm
from minimapnet.proposals.structured import FullyExploredProposal, SpanProposal, UniformProposal
from minimapnet.variance.accumulators import VarianceAccumulator, removed
from minimapnet.variance.enumeration import exact_variance
from tests.helpers import tiny
from tests.helpers.proposal_checks import PositionScore
from tests.helpers.variance_population import OneGroup, Population, even_model, exact_share, scores

NAMES = ("data", "mask", "headroom", "mask_share", "headroom_share", "signal")


def values(report: VarianceReport) -> dict:
    return {name: getattr(report, name).value for name in NAMES}


# --- enumeration


@pytest.mark.parametrize(("n", "k"), [(4, 1), (6, 2), (10, 1), (10, 2), (10, 3)])
def test_exact_variance_is_what_the_definitions_say(n, k):
    population = Population(3, n, k)
    report = exact_variance(population.model, population.ids, k)
    expected = population.truth()
    for name in NAMES:
        scale = 1 if name.endswith("share") else expected["data"] + expected["mask"]
        assert getattr(report, name).value == pytest.approx(expected[name], rel=1e-10, abs=1e-10 * scale)
        assert getattr(report, name).standard_error == 0
        assert getattr(report, name).interval == (getattr(report, name).value,) * 2
    assert (report.sentences, report.masks, report.positions, report.maskable) == (3, None, k, n)


def test_where_all_is_masked_nothing_varies():
    report = exact_variance(tiny.model(), tiny.IDS, 6)
    assert report.data.value > 1
    assert report.mask.value == pytest.approx(0, abs=1e-12)
    assert report.headroom.value == pytest.approx(0, abs=1e-12)
    drawn = decompose_variance(tiny.model(), tiny.IDS, 6, 3, proposals={"uniform": UniformProposal(6)})
    assert drawn.data.value == pytest.approx(1.5 * report.data.value)  # 3 / (3 - 1): a sample, no longer the population
    assert numpy.isfinite([drawn.headroom_share.value, drawn.proposals["uniform"].share_won.value]).all()


def test_data_and_mask_variance_add_up():
    """The law of total variance, as a fact about the gradients of real sentences and not of our formulas for its parts."""
    population = Population(4, 8, 3)
    report = exact_variance(population.model, population.ids, 3)
    everything = population.flat.reshape(-1, population.flat.shape[-1])  # (S*M, P): all equally likely
    total = ((everything - everything.mean(axis=0)) ** 2).sum(axis=1).mean()
    assert report.data.value + report.mask.value == pytest.approx(total, rel=1e-10)
    groups = report.groups.values()
    assert sum(group.data.value + group.mask.value for group in groups) == pytest.approx(total, rel=1e-10)


def test_no_proposal_removes_more_than_the_headroom():
    population = Population(1, 8, 2)
    headroom = exact_variance(population.model, population.ids, 2).headroom.value
    norms = numpy.sqrt(population.squares.sum(axis=0)[0])  # (M,)
    M, rng = len(norms), numpy.random.default_rng(1)

    def gain(q):
        return (norms**2).mean() - (norms**2 / (M * M * q)).sum()

    best = norms / norms.sum()
    assert gain(best) == pytest.approx(headroom, rel=1e-10)
    for scale in numpy.geomspace(1e-3, 3, 100):
        q = best * numpy.exp(scale * rng.standard_normal(M))
        assert gain(q / q.sum()) < headroom * (1 + 1e-12)
    assert gain(numpy.full(M, 1 / M)) == pytest.approx(0, abs=1e-12 * headroom)


def test_lengths_padding_and_what_is_maskable(xp):
    """A padded batch with ends that are never masked is what its sentences are one by one, unpadded."""
    model = tiny.model(max_position_embeddings=7)
    ids = numpy.random.default_rng(2).integers(2, 11, (3, 7))
    lengths = [7, 5, 6]
    attention_mask = (numpy.arange(7) < numpy.array(lengths)[:, None]).astype(int)
    maskable = attention_mask.astype(bool)
    maskable[:, 0] = False
    report = exact_variance(model, ids, numpy.array([2, 1, 3]), maskable, attention_mask)
    alone = [
        exact_variance(model, ids[b : b + 1, :n], k, maskable[b : b + 1, :n])
        for b, (n, k) in enumerate(zip(lengths, (2, 1, 3), strict=True))
    ]
    assert report.mask.value == pytest.approx(numpy.mean([one.mask.value for one in alone]), rel=1e-10)
    assert report.headroom.value == pytest.approx(numpy.mean([one.headroom.value for one in alone]), rel=1e-10)
    assert [one.data.value for one in alone] == [0, 0, 0]
    assert report.positions == 2
    assert report.maskable == pytest.approx(5)


def test_a_hole_in_the_attention_mask_stays_a_hole():
    model = tiny.model(max_position_embeddings=7)
    ids = numpy.random.default_rng(2).integers(2, 11, (1, 7))
    mask = numpy.array([[1, 1, 0, 1, 1, 0, 0]])
    report = exact_variance(model, ids, 1, attention_mask=mask)
    flat = [next(iter(gradients(model, ids, [[i]], None, mask)[1].values())).base for i in (0, 1, 3, 4)]
    assert report.mask.value == pytest.approx(numpy.var(flat, axis=0).sum(), rel=1e-10)


# --- estimators: their expectations, exactly, over all outcomes


def expectation(outcomes, estimate):
    """Return the mean of `estimate` over equally likely outcomes."""
    return numpy.mean([estimate(outcome) for outcome in outcomes], axis=0)


def test_the_estimators_are_unbiased():
    """Two sentences out of two, two masks out of three for each: all 2^2 * 9^2 samples, through the accumulator itself."""
    population = Population(2, 3, 1)
    one_sentence = list(itertools.product(range(2), range(3), range(3)))

    def estimate(sample):
        accumulator = VarianceAccumulator(population.groups)
        for s, *masks in sample:
            accumulator.add(population.flat[s, masks].mean(axis=0), population.squares[:, s, masks])
        found = {name: numpy.nanmean(rows, axis=0)[0] for name, rows in accumulator.columns.items()}
        assert set(found) == {"within", "noise", "norms", "square", "step"}
        return found["step"] - found["noise"], found["within"], found["norms"], found["square"] - found["step"]

    found = expectation(list(itertools.product(one_sentence, repeat=2)), estimate)
    truth = population.truth()
    headroom = headroom_of_pairs(population)
    expected = [truth["data"], truth["mask"], headroom, truth["signal"]]
    numpy.testing.assert_allclose(found, expected, rtol=1e-10)
    assert headroom == pytest.approx(truth["headroom"], rel=1e-10)


def headroom_of_pairs(population):
    """Return the mean over sentences of half the mean squared difference of the norms of two independent masks."""
    norms = numpy.sqrt(population.squares.sum(axis=0))  # (S, M)
    return ((norms[:, :, None] - norms[:, None]) ** 2).mean(axis=(1, 2)).mean() / 2


def test_what_a_proposal_removes_is_estimated_without_bias():
    """All pairs of draws from a distribution q over the masks of one sentence."""
    population = Population(1, 5, 2)
    squares = population.squares[:, 0].sum(axis=0)  # (M,)
    M = len(squares)
    q = numpy.random.default_rng(0).dirichlet(numpy.full(M, 3.0))
    w = 1 / (M * q)
    pairs = itertools.product(range(M), repeat=2)
    found = sum(q[i] * q[j] * removed((w * w * squares)[None, [i, j]], w[[i, j]])[0] for i, j in pairs)
    assert found == pytest.approx(squares.mean() - (q * w * w * squares).sum(), rel=1e-10)


def test_the_bias_is_estimated_without_bias():
    """Estimates from other masks than the uniform ones, all outcomes of two sentences with two masks and two estimates."""
    rng = numpy.random.default_rng(4)
    uniform, other = rng.standard_normal((2, 2, 2, 5))  # (sentences, masks, P) each
    other = other + 1.0
    one_sentence = list(itertools.product(range(2), repeat=5))

    def estimate(sample):
        accumulator = VarianceAccumulator(OneGroup())
        for s, *masks in sample:
            g, h = uniform[s, masks[:2]], other[s, masks[2:]]
            accumulator.add(g.mean(axis=0), (g * g).sum(axis=1)[None])
            accumulator.add_estimates("p", h.mean(axis=0), (h * h).sum(axis=1)[None], 3, uniform=g.mean(axis=0))
        found = {name: numpy.nanmean(rows, axis=0)[0] for name, rows in accumulator.columns.items()}
        return found["p/sentence bias"], found["p/square"] - found["p/step"], found["within"] - found["p/removed"]

    found = expectation(list(itertools.product(one_sentence, repeat=2)), estimate)
    away = other.mean(axis=1) - uniform.mean(axis=1)  # (sentences, P)
    own = other.var(axis=1).sum(axis=1).mean()
    expected = [(away**2).sum(axis=1).mean(), (away.mean(axis=0) ** 2).sum(), 3 * own]
    numpy.testing.assert_allclose(found, expected, rtol=1e-10)


# --- proposals: one large sample each, against what enumeration says


@pytest.fixture(scope="module")
def large():
    """A population large and even enough that thirty sentences stand for it."""
    return Population(48, 6, 2, even_model())


def assert_near(estimate, expected):
    """Fail where an estimate is more than four standard errors off, or these are too large to say anything."""
    assert abs(estimate.value - expected) < 4 * estimate.standard_error
    assert estimate.standard_error < 0.2 * abs(expected)


def test_the_optimal_single_proposal_wins_all_of_the_headroom(monkeypatch):
    population = Population(12, 6, 1, even_model())
    norms = numpy.sqrt(population.squares.sum(axis=0))  # (S, n)
    known = {row.tobytes(): norms[s] for s, row in enumerate(population.ids)}

    best = PositionScore(lambda ids: numpy.array([known[row.tobytes()] for row in ids]))
    population.lookup(monkeypatch)
    ids = population.ids.repeat(20, axis=0)
    report = decompose_variance(
        population.model, ids, 1, 8, proposals={"best": SingleProposal(best), "any": SingleProposal(scores)}
    )
    assert_near(report.proposals["best"].share_won, 1)
    assert_near(report.proposals["best"].mask, report.mask.value - report.headroom.value)
    assert_near(report.proposals["any"].share_won, exact_share(population, SingleProposal(scores)))


def test_fully_explored_masks_at_equal_rows(large, monkeypatch):
    """Three disjoint masks of two of six positions: all 15 partitions."""
    code = {tuple(mask): m for m, mask in enumerate(large.masks)}
    partitions = {
        frozenset(code[tuple(sorted(order[i : i + 2]))] for i in (0, 2, 4)) for order in itertools.permutations(range(6))
    }
    assert len(partitions) == 15
    means = numpy.array([large.flat[:, list(partition)].mean(axis=1) for partition in partitions])  # (15, S, P)
    expected = 3 * means.var(axis=0).sum(axis=1).mean()
    large.lookup(monkeypatch)
    report = decompose_variance(
        large.model, large.ids.repeat(4, axis=0), 2, 4, proposals={"explored": FullyExploredProposal(2, 3)}
    )
    explored = report.proposals["explored"]
    assert_near(explored.mask, expected)
    assert explored.rows == 3
    assert explored.share_won is None
    assert explored.bias is None


class Few(Proposal):
    """One of the first three masks only, which is far from the uniform objective."""

    unbiased = False

    def __init__(self, masks):
        self.masks = masks[:3]

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        positions = self.masks[rng.integers(3, size=len(ids))]
        weights = numpy.full(positions.shape, 1 / positions.shape[1])
        return MaskBatch(**rows_of(numpy.arange(len(ids)), ids, None), positions=positions, weights=weights)


def test_a_biased_proposal_has_its_own_variance_and_biases(large, monkeypatch):
    means = large.flat[:, :3].mean(axis=1)  # (S, P)
    variance = ((large.flat[:, :3] - means[:, None]) ** 2).sum(axis=2).mean()
    away = means - large.flat.mean(axis=1)
    large.lookup(monkeypatch)
    report = decompose_variance(large.model, large.ids.repeat(12, axis=0), 2, 6, proposals={"few": Few(large.masks)})
    few = report.proposals["few"]
    assert not few.unbiased
    assert few.share_won is None
    assert_near(few.mask, variance)
    assert_near(few.sentence_bias, (away**2).sum(axis=1).mean())
    assert_near(few.bias, (away.mean(axis=0) ** 2).sum())


def test_every_kind_of_proposal_goes_through_the_model(xp):
    """Real passes on every backend: what uniform masks must give exactly, and numbers that are finite for the others."""
    model = tiny.model()
    proposals = {
        "uniform": UniformProposal(2),
        "three uniform": UniformProposal(2, 3),
        "set": SetProposal(2, exact_norm),
        "pool": PoolProposal(2, exact_norm, 3),
        "explored": FullyExploredProposal(2, 3),
        "position": PositionProposal(2, exact_norm),
    }
    report = decompose_variance(model, tiny.IDS, 2, 3, proposals=proposals)
    uniform = report.proposals["uniform"]
    assert (uniform.ratio.value, uniform.share_won.value, uniform.mask) == (1, 0, report.mask)
    assert [name for name, one in report.proposals.items() if one.bias is not None] == ["position"]
    unbounded = [name for name, one in report.proposals.items() if one.share_won is None]
    assert unbounded == ["three uniform", "explored", "position"]
    for one in report.proposals.values():
        assert numpy.isfinite([one.mask.value, one.ratio.standard_error]).all()
        assert sum(part.value for part in one.removed_by_group.values()) == pytest.approx(
            report.mask.value - one.mask.value, rel=1e-9, abs=1e-9 * report.mask.value
        )


def test_a_sample_is_the_same_whatever_else_is_tried():
    model = tiny.model()
    plain = decompose_variance(model, tiny.IDS, 2, 3, seed=4)
    tried = decompose_variance(model, tiny.IDS, 2, 3, seed=4, proposals={"set": SetProposal(2, scores)})
    assert values(plain) == values(tried)
    assert values(plain) != values(decompose_variance(model, tiny.IDS, 2, 3, seed=5))


# --- the report


def test_report_reads_prints_and_saves(tmp_path):
    proposals = {"set": SetProposal(0.34, scores), "spans": SpanProposal(2)}
    report = decompose_variance(tiny.model(), tiny.IDS, 2, 3, proposals=proposals)
    assert isinstance(report, VarianceReport)
    assert report.mask_share.value == pytest.approx(report.mask.value / (report.mask.value + report.data.value))
    table = str(report)
    for part in ("3 sentences, 3 masks each", "data variance", "headroom", "layer 1 attention", "spans", "nats^2"):
        assert part in table
    for block in table.split("\n\n")[1:]:
        lines = block.splitlines()
        assert len({len(line) for line in lines[1:] if line.split()[-1] == lines[-1].split()[-1]}) == 1
    report.save(tmp_path / "deep" / "report.json")
    saved = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert saved["whole"]["mask"]["value"] == report.mask.value
    assert tuple(saved["whole"]["mask"]["interval"]) == report.mask.interval
    assert saved["proposals"]["spans"]["bias"]["standard_error"] == report.proposals["spans"].bias.standard_error
    assert saved["proposals"]["set"]["bias"] is None
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        report.save(tmp_path / "file" / "report.json")


# --- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": 1}, "1 masks a sentence have no variance: draw 2 at least"),
        ({"ids": tiny.IDS[:2]}, "2 sentences are too few for a standard error: give 3 at least"),
        ({"ids": tiny.IDS[:0]}, "sentences"),
        ({"k": 7}, "k must lie between 1 and the 6 maskable positions"),
        ({"k": 0}, "k must lie between 1"),
        ({"k": 1.5}, "share"),
        ({"maskable": numpy.zeros((3, 6), bool)}, "no maskable position"),
        ({"maskable": numpy.ones((3, 5), bool)}, "of the ids' shape"),
        ({"attention_mask": tiny.PADDING, "maskable": numpy.ones((3, 6), bool)}, "padding of sentence 1"),
        ({"proposals": {"batch": BatchPoolProposal(2, exact_norm, 3)}}, "batch chooses among sentences"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"model": tiny.model(), "ids": tiny.IDS, "k": 2, "masks": 3} | changes
    with pytest.raises(InputError, match=message) as caught:
        decompose_variance(**arguments)
    assert "\n" not in str(caught.value)


def test_too_many_masks_to_enumerate():
    model = tiny.model(max_position_embeddings=40)
    ids = numpy.full((1, 40), 3)
    with pytest.raises(InputError, match=r"658008 masks of 5 out of 40 positions, more than the 200000"):
        exact_variance(model, ids, 5)
