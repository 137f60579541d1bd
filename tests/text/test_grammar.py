"""The grammar against a full listing of a tiny one, and against frequencies."""

import itertools
from collections import Counter, defaultdict

import numpy
import pytest
from scipy import special

from minimapnet.backend import generator
from minimapnet.errors import InputError
from minimapnet.text import grammar
from minimapnet.text.tokenizer import word_level

TINY = '''
templates = [
    "number.this noun[number] act[tense] number.this noun2[number]",
    "number.this noun.one act1.past the noun.one",
    "number.this sheep sat the fish",
]
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
tense = "now past"
act = """
now    past
sits   sat
sees   saw
put    put
"""
'''
ROWS = {
    "number": [("one", "the"), ("many", "these")],
    "noun": [("cat", "cats"), ("sheep", "sheep"), ("fish", "fish")],
    "act": [("sits", "sat"), ("sees", "saw"), ("put", "put")],
}
SHARES = (3 / 6, 1 / 6, 2 / 6)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    file = tmp_path_factory.mktemp("grammar") / "tiny.toml"
    file.write_text(TINY, encoding="utf-8")
    return grammar.read(file)


@pytest.fixture(scope="module")
def listed():
    """Every sentence of the tiny grammar and its probability, written down by hand: no code in common with the module."""
    found = defaultdict(float)
    for (n, (_, this)), (a, noun), (b, noun2), tense, act in itertools.product(
        enumerate(ROWS["number"]), enumerate(ROWS["noun"]), enumerate(ROWS["noun"]), (0, 1), ROWS["act"]
    ):
        found[this, noun[n], act[tense], this, noun2[n]] += SHARES[a] * SHARES[b] / 2 / 2 / 3 / 3
    for (_, this), (a, noun), act in itertools.product(ROWS["number"], enumerate(ROWS["noun"]), ROWS["act"]):
        found[this, noun[0], act[1], "the", noun[0]] += SHARES[a] / 2 / 3 / 3
    for _, this in ROWS["number"]:
        found[this, "sheep", "sat", "the", "fish"] += 1 / 2 / 3
    return dict(found)


def by_listing(listed, sentence, place, masked, vocabulary):
    shares = numpy.zeros(len(vocabulary))
    hidden = {place, *masked}
    for other, share in listed.items():
        if all(other[i] == sentence[i] for i in range(len(sentence)) if i not in hidden):
            shares[vocabulary.index(other[place])] += share
    return shares / shares.sum()


def test_conditional_probabilities_are_those_of_the_listing(tiny, listed):
    assert sum(listed.values()) == pytest.approx(1, abs=1e-12)
    for sentence in listed:
        for place in range(5):
            for masked in itertools.chain.from_iterable(itertools.combinations(range(5), size) for size in range(6)):
                expected = by_listing(listed, sentence, place, masked, tiny.vocabulary)
                found = tiny.distribution(sentence, place, masked)
                numpy.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_entropies_and_log_probabilities(tiny, listed):
    for sentence in listed:
        shares = [by_listing(listed, sentence, place, (), tiny.vocabulary) for place in range(5)]
        expected = [special.entr(share).sum() for share in shares]
        numpy.testing.assert_allclose(tiny.token_entropies(sentence), expected, rtol=1e-12, atol=1e-15)
        true = [numpy.log(share[tiny.vocabulary.index(word)]) for share, word in zip(shares, sentence, strict=True)]
        numpy.testing.assert_allclose(tiny.log_probs(sentence), true, rtol=1e-12, atol=1e-14)
        masked = [4, 1, 2]
        shares = [by_listing(listed, sentence, place, masked, tiny.vocabulary) for place in masked]
        true = [numpy.log(share[tiny.vocabulary.index(sentence[i])]) for share, i in zip(shares, masked, strict=True)]
        numpy.testing.assert_allclose(tiny.log_probs(sentence, masked), true, rtol=1e-12, atol=1e-14)


def test_frequencies_are_the_probabilities(tiny, listed):
    count = 60_000
    found = Counter(map(tuple, tiny.sample(numpy.random.default_rng(0), count)))
    assert set(found) <= set(listed)
    for sentence, share in listed.items():
        assert abs(found[sentence] - count * share) < 5 * numpy.sqrt(count * share), sentence


def test_impossible_words_have_probability_zero(tiny):
    assert tiny.log_probs(["these", "cats", "sat", "these", "cat"], [4]) == -numpy.inf
    with pytest.raises(InputError, match="gives no such sentence: cats these"):
        tiny.token_entropies(["cats", "these"])
    with pytest.raises(InputError, match="gives no such sentence"):
        tiny.log_probs(["these", "cats", "sat", "these", "cat"])
    with pytest.raises(InputError, match="no word 'dog'"):
        tiny.log_probs(["the", "dog", "sat", "the", "cat"])


def test_our_own_grammar_is_redundant_as_it_says():
    ours = grammar.read()
    sentences = ours.sample(generator(0, "test"), 200)
    assert 100 <= len(ours.vocabulary) <= 300
    assert {len(sentence) for sentence in sentences} == {16}
    entropies = numpy.array([ours.token_entropies(sentence) for sentence in sentences])  # (sentences, 16)
    assert 0.85 < (entropies < 1e-9).mean() < 0.95
    free = entropies[entropies > 1e-9]
    assert free.min() > 1.3 and free.max() < 2.2  # from a choice of four verbs to one of eight qualities


def test_the_mean_surprise_is_the_mean_entropy():
    ours = grammar.read()
    sentences = ours.sample(generator(1, "test"), 300)
    surprise = -numpy.array([ours.log_probs(sentence) for sentence in sentences])  # (sentences, 16)
    difference = (surprise - numpy.array([ours.token_entropies(sentence) for sentence in sentences])).mean(1)
    assert abs(difference.mean()) < 4 * difference.std() / numpy.sqrt(len(difference))


def test_a_stream_is_the_same_for_the_same_seed():
    ours = grammar.read()
    first, same, other = (list(itertools.islice(ours.stream(seed), grammar.BLOCK + 5)) for seed in (3, 3, 4))
    assert first == same != other
    assert first[:5] != first[grammar.BLOCK :]


def test_a_word_is_a_token():
    ours = grammar.read()
    tokenizer = word_level(ours.vocabulary)
    for sentence in ours.sample(generator(2, "test"), 50):
        encoding = tokenizer.encode(" ".join(sentence))
        assert encoding.tokens == ["[CLS]", *sentence, "[SEP]"]
    assert tokenizer.get_vocab_size() == len(ours.vocabulary) + 5
    assert tokenizer.encode("unheard").tokens == ["[CLS]", "[UNK]", "[SEP]"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("templates = 3", "a list `templates`"),
        ("templates = []\n[tables]", "a list `templates`"),
        ("templates = ['a b']\ntables = 'a'", "a list `templates`"),
        ("templates = ['a b', 3]", "is a string"),
        ("templates = ['  ']", "is a string"),
        ("templates = ['a']\n[tables]\na = 3", "is a string"),
        ("templates = ['a.b']\n[tables]\na = 'x y'", "table a has no column b"),
        ("templates = ['b.c']\n[tables]\na = 'x y'", "there is no table b"),
        ("templates = ['a[b]']\n[tables]\na = 'x y'", "there is no table b"),
        ("templates = ['a[b]']\n[tables]\na = 'x y'\nb = 'p q'", "table a has no column p"),
        ("templates = ['a']\n[tables]\na = '''\nx y\n1\n'''", "table a: every row needs one word"),
        ("templates = ['a']\n[tables]\na = '''\nx x\n1 2\n'''", "table a: every column needs a name"),
        ("templates = ['a']\n[tables]\na = '''\nweight\n1\n'''", "the first cannot be `weight`"),
        ("templates = ['a']\n[tables]\na = '''\nx weight\n1 0\n'''", "weights are whole numbers"),
        ("templates = [", "cannot read the grammar"),
    ],
)
def test_a_file_without_meaning_is_refused(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.toml") as caught:
        grammar.read(file)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.toml", "binary.toml", "."):
        with pytest.raises(InputError, match=r"cannot read|is not UTF-8"):
            grammar.read(tmp_path / name)


def test_too_many_outcomes_are_refused(tmp_path):
    words = " ".join(f"w{i}" for i in range(600))
    rows = "\n".join(f"r{i} " + " ".join(f"x{i}" for _ in range(600)) for i in range(600))
    file = tmp_path / "large.toml"
    header = "key " + " ".join(f"w{i}" for i in range(600))
    file.write_text(f"templates = ['a[b]']\n[tables]\nb = '{words}'\na = '''\n{header}\n{rows}\n'''", encoding="utf-8")
    with pytest.raises(InputError, match="360000 outcomes"):
        grammar.read(file)
