"""The exercises of step 1: guessing hidden words."""

import functools
import itertools
import math

import numpy
import pytest

from minimapnet.text import grammar

TINY = '''
templates = ["number.this noun[number] act number.this noun2[number]", "the noun.one act the noun.one"]
[tables]
number = """
key   this
one   the
many  these
"""
noun = """
one    many   weight
cat    cats   3
sheep  sheep  1
fish   fish   2
"""
act = "sees hears"
'''


SENTENCE = "emma was a big sailor and steered her boat with a rudder , muttered emma ."


def draw_log_q(rng, *shape):
    scores = rng.standard_normal(shape)
    return scores - numpy.log(numpy.exp(scores).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("positions", [[[1, 3], [0, 4]], [[2, -1], [4, 1]], [[-1, 0], [3, -1]]])
def test_mask_losses_word_by_word(answers, positions):
    rng = numpy.random.default_rng(0)
    log_q, ids = draw_log_q(rng, 2, 5, 7), rng.integers(7, size=(2, 5))
    found = answers.mask_losses(log_q, ids, numpy.array(positions))
    assert numpy.shape(found) == (2,)
    for b, row in enumerate(positions):
        own = [-log_q[b, i, ids[b, i]] for i in row if i != -1]
        assert found[b] == pytest.approx(sum(own) / len(own), rel=1e-12)


def test_mask_losses_leave_out_what_is_not_hidden(answers):
    log_q = numpy.log(numpy.full((1, 3, 2), 0.5))
    log_q[0, 2] = 0.0, -numpy.inf  # the last word, which is not hidden, is called impossible
    assert answers.mask_losses(log_q, numpy.array([[0, 1, 1]]), numpy.array([[1, -1]]))[0] == pytest.approx(math.log(2))


@pytest.mark.parametrize("m", [1, 2, 5, 40])
def test_the_perplexity_of_an_even_guess_is_the_number_of_words(answers, m):
    even = numpy.full(m, 1 / m)
    truth = numpy.random.default_rng(m).dirichlet(numpy.ones(m))
    assert answers.perplexity(even, even) == pytest.approx(m)
    assert answers.perplexity(truth, even) == pytest.approx(m)
    assert answers.perplexity(truth, truth) <= m * (1 + 1e-12)


def test_perplexities_of_independent_guesses_multiply(answers):
    rng = numpy.random.default_rng(1)
    P, q, R, s = (rng.dirichlet(numpy.ones(6)) for _ in range(4))
    both = answers.perplexity(numpy.outer(P, R).ravel(), numpy.outer(q, s).ravel())
    assert both == pytest.approx(answers.perplexity(P, q) * answers.perplexity(R, s))
    assert answers.perplexity(P, q) > answers.perplexity(P, P)


def test_the_perplexity_where_something_is_impossible(answers):
    P = numpy.array([0.5, 0.5, 0.0])
    with numpy.errstate(all="raise"):  # no warning by the way
        assert answers.perplexity(P, P) == pytest.approx(2)
        assert answers.perplexity(P, numpy.array([0.25, 0.25, 0.5])) == pytest.approx(4)
        assert answers.perplexity(P, numpy.array([1.0, 0.0, 0.0])) == numpy.inf


@functools.cache
def listed():
    """Every sentence of the tiny language with its probability, written down by hand."""
    nouns, found = [("cat", "cats", 3 / 6), ("sheep", "sheep", 1 / 6), ("fish", "fish", 2 / 6)], {}
    for act in ("sees", "hears"):
        for number, this in enumerate(("the", "these")):
            for a, b in itertools.product(nouns, nouns):
                sentence = this, a[number], act, this, b[number]
                found[sentence] = found.get(sentence, 0) + a[2] * b[2] / 8
        for noun in nouns:
            sentence = "the", noun[0], act, "the", noun[0]
            found[sentence] = found.get(sentence, 0) + noun[2] / 4
    return found


def by_listing(sentence, first, second):
    """The mutual information from the joint distribution: sum P(a, b) log(P(a, b) / (P(a) P(b)))."""
    joint = {}
    for other, share in listed().items():
        if all(other[i] == sentence[i] for i in range(len(sentence)) if i not in (first, second)):
            joint[other[first], other[second]] = joint.get((other[first], other[second]), 0) + share
    total = sum(joint.values())
    joint = {pair: share / total for pair, share in joint.items()}
    of_first, of_second = {}, {}
    for (a, b), share in joint.items():
        of_first[a] = of_first.get(a, 0) + share
        of_second[b] = of_second.get(b, 0) + share
    return sum(share * math.log(share / of_first[a] / of_second[b]) for (a, b), share in joint.items())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    file = tmp_path_factory.mktemp("grammar") / "tiny.toml"
    file.write_text(TINY, encoding="utf-8")
    return grammar.read(file)


@pytest.mark.parametrize(
    "sentence",
    ["the cat sees the cat", "the sheep hears the fish", "these sheep sees these fish", "these cats hears these cats"],
)
def test_mutual_information_against_a_list_of_all_sentences(answers, tiny, sentence):
    sentence = sentence.split()
    for first, second in itertools.permutations(range(5), 2):
        found = answers.mutual_information(tiny, sentence, first, second)
        assert found == pytest.approx(by_listing(sentence, first, second), abs=1e-12)


def test_mutual_information_in_our_language(answers):
    language = grammar.read()
    sentence = SENTENCE.split()
    women = numpy.array([4, 3, 2, 2, 1, 1]) / 13
    names = answers.mutual_information(language, sentence, 0, 14)
    assert names == pytest.approx(-(women * numpy.log(women)).sum())  # each name tells all about the other
    assert answers.mutual_information(language, sentence, 3, 13) == pytest.approx(0, abs=1e-12)
    assert sentence == SENTENCE.split()  # as it was
