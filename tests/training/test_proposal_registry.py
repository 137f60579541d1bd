"""Every proposal of the registry: that it draws what it says, with the weights that its claim to be unbiased rests on."""

import numpy
import pytest

from minimapnet import InputError
from minimapnet.mapnet.learner import MapNetScore
from minimapnet.proposals.base import Score, Scores
from minimapnet.proposals.scores import exact_norm
from minimapnet.text.tokenizer import continues_word, train_wordpiece
from minimapnet.training import proposal_registry
from minimapnet.training.proposal_registry import KINDS
from tests.helpers import proposal_checks as checks
from tests.helpers.text_cases import made_up

N, ROWS = 6, 12_000
SENTENCE = numpy.tile(numpy.arange(10, 10 + N), (ROWS, 1))
TABLE = numpy.random.default_rng(3).lognormal(0, 0.7, N)
TOKENIZER = train_wordpiece(made_up(300), 60)
every = pytest.mark.parametrize("name", KINDS)


class ByTable(Score):
    """A score that needs no model: a number for each position, and their mean for a mask."""

    def of_masks(self, model, ids, masks, attention_mask=None):
        return Scores(numpy.where(masks >= 0, TABLE[masks], 0).mean(axis=2))

    def of_positions(self, model, ids, maskable, attention_mask=None):
        return Scores(numpy.tile(TABLE, (len(ids), 1)))


def make(name, **parameters):
    rate = {"mask_rate": 2} if "mask_rate" in KINDS[name].parameters else {}
    return proposal_registry.make(name, None, score=ByTable(), tokenizer=TOKENIZER, **rate | parameters)


@every
def test_what_a_kind_draws(name):
    """Positions of the sentence, none twice, with positive weights; as many of them as were asked for."""
    drawn = make(name).draw(None, SENTENCE[:50], numpy.random.default_rng(1))
    masked = drawn.positions >= 0
    assert (drawn.positions < N).all() and ((drawn.weights > 0) == masked).all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in drawn.positions)
    assert (masked.sum(axis=1) <= (2 if "mask_rate" in KINDS[name].parameters else 1)).all() and masked.any(axis=1).all()
    assert (drawn.ids == SENTENCE[drawn.sentences]).all()
    assert (drawn.choice is None) == (KINDS[name].score is None)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.unbiased])
def test_an_unbiased_kind_weighs_every_position_alike(name):
    """E[sum of a position's weights] is 1/n in every sentence; that the contexts are uniform too, tests/proposals hold."""
    rows = {"rows": ROWS} if "rows" in KINDS[name].parameters else {}
    drawn = make(name, **rows).draw(None, SENTENCE, numpy.random.default_rng(2))
    counted = numpy.zeros((len(drawn.positions), N + 1))
    numpy.put_along_axis(counted, drawn.positions, drawn.weights, axis=1)  # -1 falls into the last column
    checks.assert_mean_is(counted[:, :N], 1 / N)


@every
def test_parameters_reach_the_proposal(name):
    values = {"mask_rate": 0.5, "masks": 2, "candidates": 3, "uniform_mix": 0.25, "exponent": 0.5, "rows": 7}
    given = {parameter: value for parameter, value in values.items() if parameter in KINDS[name].parameters}
    made = proposal_registry.make(name, None, score=ByTable(), tokenizer=TOKENIZER, **given)
    for parameter, value in given.items():
        assert getattr(made, "k" if parameter == "mask_rate" else parameter) == value
    left_out = proposal_registry.make(name, None, score=ByTable(), tokenizer=TOKENIZER, **dict.fromkeys(values))
    for parameter, value in KINDS[name].parameters.items():
        assert (
            parameter in proposal_registry.LEARNING
            or getattr(left_out, "k" if parameter == "mask_rate" else parameter) == value
        )


def test_scores_are_made_by_name():
    model = checks.model()
    made = proposal_registry.make("mapnet-pool", model, 3, objective="cross-entropy", learning_rate=0.5, learn_every=2)
    assert isinstance(made.score, MapNetScore) and made.score.network.config.vocab_size == model.config.vocab_size
    assert (made.score.objective, made.score.learning_rate, made.score.learn_every) == ("cross-entropy", 0.5, 2)
    assert [made.learns_after(steps) for steps in (1, 2, 3, 4)] == [False, True, False, True]
    assert proposal_registry.make("optimal-single", model).score is exact_norm
    assert not proposal_registry.make("optimal-pool", model).learns_after(4)


def test_families_are_those_of_the_reports():
    assert {kind.family for kind in KINDS.values()} == {"uniform", "structured", "MAPNet", "optimal", "other"}
    assert [name for name, kind in KINDS.items() if kind.family == "uniform"] == ["uniform"]


@every
def test_help_texts_name_every_kind(name):
    assert f"{name}: {KINDS[name].summary}" in proposal_registry.summaries()
    assert ("biased" in KINDS[name].summary) == (not KINDS[name].unbiased)
    for parameter in KINDS[name].parameters.keys() - proposal_registry.LEARNING.keys():
        assert name in proposal_registry.defaults(parameter)
    assert proposal_registry.defaults("masks") == "2 for fully-explored; 1 for whole-word, span"


def test_whole_words_follow_the_tokenizer():
    continues = continues_word(TOKENIZER)
    assert len(continues) == TOKENIZER.get_vocab_size() and 0 < continues.sum() < len(continues)
    assert all(TOKENIZER.id_to_token(token).startswith("##") for token in numpy.flatnonzero(continues))
    assert (make("whole-word").continues == continues).all()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("uniform", {"masks": 2}, "uniform has no --masks"),
        ("optimal-single", {"mask_rate": 2}, "masks a single position: give --mask-rate 1"),
        ("mapnet-pool", {"candidates": 0}, "candidates must be a whole number of at least 1, not 0"),
        ("mapnet-positions", {"uniform_mix": 2.0}, "uniform_mix must be a number from 0 to 1, not 2.0"),
        ("span", {"objective": "regression"}, "span has no --objective"),
    ],
)
def test_parameters_that_a_kind_does_not_have(name, parameters, message):
    with pytest.raises(InputError, match=message):
        proposal_registry.make(name, checks.model(), **parameters)
