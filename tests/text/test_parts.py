"""The split in three, and the sample for the tokenizer."""

import random
import string
from itertools import chain

import pytest

from minimapnet.text import parts
from minimapnet.text.parts import PARTS, TEST, TRAIN, VALIDATION


def split(documents) -> dict[str, list[str]]:
    found = {part: [] for part in PARTS}
    for part, sentence, _ in parts.shared_out(lambda: documents, parts.survey(lambda: documents)):
        found[part].append(sentence)
    return found


def test_parts_have_their_shares_and_whole_documents():
    documents = [(f"document {i}", [f"{i} a", f"{i} b"]) for i in range(3000)]
    found = split(documents)
    for part, share in ((TRAIN, 0.8), (VALIDATION, 0.1), (TEST, 0.1)):
        assert abs(len(found[part]) / 6000 - share) < 5 * (share * (1 - share) / 3000) ** 0.5
    assert sorted(chain.from_iterable(found.values())) == sorted(sentence for _, kept in documents for sentence in kept)
    for part, sentences in found.items():
        assert {parts.part_of(f"document {sentence.split()[0]}") for sentence in sentences} == {part}


@pytest.mark.parametrize("seed", range(3))
def test_no_sentence_is_in_two_parts(seed):
    rng = random.Random(seed)
    documents = [(f"document {i}", [f"sentence {rng.randrange(3000)}" for _ in range(10)]) for i in range(400)]
    found = split(documents)
    sets = {part: set(sentences) for part, sentences in found.items()}
    assert not sets[TRAIN] & (sets[VALIDATION] | sets[TEST])
    assert not sets[VALIDATION] & sets[TEST]
    held_out = {s for name, kept in documents for s in kept if parts.part_of(name) != TRAIN}
    assert sets[VALIDATION] | sets[TEST] == held_out
    assert found[TRAIN] == [
        s for name, kept in documents for s in kept if s not in held_out and parts.part_of(name) == TRAIN
    ]


@pytest.mark.parametrize("count", [3, 100, 1000])
def test_a_repeated_document_leaves_something_to_train_on(count):
    documents = [(f"document {i}", [f"Sentence {letter}." for letter in string.ascii_letters]) for i in range(count)]
    found = split(documents)
    assert [len(found[part]) for part in PARTS] == [count * len(set(found[part])) for part in PARTS]
    assert sum(map(len, found.values())) == 52 * count
    assert all(1 < len(set(found[part])) < 11 for part in (VALIDATION, TEST))


def test_a_document_never_changes_sides():
    many = [(f"document {i}", [f"own {i}"]) for i in range(900)]
    few, everything = split(many[::3]), split(many[::-1])
    for part in PARTS:
        assert set(few[part]) <= set(everything[part])


def test_what_is_held_out_is_bounded_and_the_rest_is_trained_on(monkeypatch):
    monkeypatch.setattr(parts, "HELD_OUT_SENTENCES", 20)
    documents = [(f"document {i}", [f"{i} a", f"{i} b", "boilerplate"]) for i in range(1000)]
    found = split(documents)
    for part in (VALIDATION, TEST):
        assert 20 <= len(set(found[part])) < 23
        assert sum(sentence.endswith("a") for sentence in found[part]) < 12  # documents of two sentences of their own
    assert set(chain.from_iterable(found.values())) == {s for _, kept in documents for s in kept}


def test_the_last_sentence_of_a_document_is_marked(monkeypatch):
    monkeypatch.setattr(parts, "FEW_DOCUMENTS", 0)
    monkeypatch.setattr(parts, "MOST_SHARE", 1)
    monkeypatch.setattr(parts, "LEAST_SHARE", 0)
    held = next(name for i in range(100) if parts.part_of(name := f"document {i}") == VALIDATION)
    trained = next(name for i in range(100) if parts.part_of(name := f"document {i}") == TRAIN)
    documents = [(trained, ["a", "shared", "b"]), (held, ["c", "shared"]), (trained, ["d"])]
    assert list(parts.shared_out(lambda: documents, parts.survey(lambda: documents))) == [
        (TRAIN, "a", False),
        (TRAIN, "b", True),
        (VALIDATION, "c", False),
        (VALIDATION, "shared", True),
        (TRAIN, "d", True),
    ]


def test_the_sample_is_of_training_sentences_alone():
    documents = [(f"document {i}", [f"own {i}", f"shared {i % 50}"]) for i in range(300)]
    survey = parts.survey(lambda: documents)
    assert sorted(survey.sample.values()) == sorted(set(split(documents)[TRAIN]))
    assert survey.sentences == 600


def test_the_sample_of_a_long_text_is_bounded_and_even(monkeypatch):
    monkeypatch.setattr(parts, "SAMPLE_CHARACTERS", 20_000)
    documents = [(f"document {i}", [f"sentence {i:06d}"]) for i in range(50_000)]
    sample = list(parts.survey(lambda: documents).sample.values())
    assert 8_000 < sum(map(len, sample)) <= 20_000
    places = [int(sentence.split()[1]) for sentence in sample]
    assert 23_000 < sum(places) / len(places) < 27_000  # 25,000 within four standard errors
    assert min(places) < 1000 and max(places) > 49_000
    again = parts.survey(lambda: reversed(documents)).sample
    assert sorted(again.values()) == sorted(sample)  # whatever the order


@pytest.mark.parametrize("count", [30, 100, 200, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_few_documents_are_shared_out_sentence_by_sentence(count, seed):
    sentences = [f"sentence {seed} {i}" for i in range(count)]
    found = split([("the only one", sentences)])
    assert sorted(chain.from_iterable(found.values())) == sorted(sentences)
    for part in (VALIDATION, TEST):
        assert 0.025 * count <= len(found[part]) <= 0.2 * count
    assert found == split([("another", sentences[: count // 2]), ("name", sentences[count // 2 :])])
    if count == 1000:  # large enough that nothing has to be evened out: what else is read changes no side
        fewer = split([("the only one", sentences[::-2])])
        assert all(set(fewer[part]) <= set(found[part]) for part in PARTS)


def test_lines_without_sentences_are_shared_out_line_by_line():
    lines = [f"line {i}" for i in range(300)]
    found = split([("page", ["\n".join(lines[i : i + 30]) for i in range(0, 300, 30)])])
    assert sorted(chain.from_iterable(found.values())) == sorted(lines)
    assert 240 - 5 * 7 < len(found[TRAIN]) < 240 + 5 * 7


@pytest.mark.parametrize("often", range(12))
def test_what_makes_up_most_of_a_text_is_trained_on(often):
    """Whatever its hash: were it held out, a part would be nothing else."""
    lines = [f"line {i}" for i in range(300)] + [f"heartbeat {often}"] * 700
    found = split([(line, [line]) for line in lines])
    assert found[TRAIN].count(f"heartbeat {often}") == 700
    assert all(len(set(found[part])) == len(found[part]) >= 10 for part in (VALIDATION, TEST))


def test_sentences_that_repeat_everywhere_leave_training_its_share():
    """By documents nearly all of the 500 different sentences would be held out."""
    rng = random.Random(0)
    documents = [(f"document {i}", [f"sentence {rng.randrange(500)}" for _ in range(10)]) for i in range(1000)]
    found = split(documents)
    assert sum(map(len, found.values())) == 10_000
    assert 7_000 < len(found[TRAIN]) < 9_000
    assert not set(found[TRAIN]) & set(found[VALIDATION] + found[TEST])


@pytest.mark.parametrize("count", [50, 5000])
def test_a_text_to_validate_on(count):
    """It is the validation part, whole; the main text loses its test part alone, and what both have."""
    documents = [(f"document {i}", [f"own {i}", f"shared {i}"]) for i in range(count)]
    given = [("theirs", ["their own", *(f"shared {i}" for i in range(count // 2)), "their own"])]
    found = {part: [] for part in PARTS}
    survey = parts.survey(lambda: documents, lambda: given)
    for part, sentence, _ in parts.shared_out(lambda: documents, survey, lambda: given):
        found[part].append(sentence)
    assert found[VALIDATION] == given[0][1]
    assert not set(found[TRAIN] + found[TEST]) & set(found[VALIDATION])
    assert len(found[TRAIN] + found[TEST]) == 2 * count - count // 2
    assert 0.02 * count < len(found[TEST]) < 0.4 * count
    assert set(survey.sample.values()) == set(found[TRAIN])


def test_lines_that_both_texts_have_are_validated_on_alone():
    documents = [("page", ["\n".join(f"line {i}" for i in range(j, j + 20)) for j in range(0, 200, 20)])]
    given = [("theirs", ["\n".join(f"line {i}" for i in range(50, 90))])]
    survey = parts.survey(lambda: documents, lambda: given)
    shared = list(parts.shared_out(lambda: documents, survey, lambda: given))
    assert {sentence for part, sentence, _ in shared if part == VALIDATION} == {f"line {i}" for i in range(50, 90)}
    assert len(shared) == 200


def test_a_long_text_to_validate_on_stays_whole(monkeypatch):
    monkeypatch.setattr(parts, "HELD_OUT_SENTENCES", 20)
    documents, given = [("own", [f"own {i}" for i in range(300)])], [("theirs", [f"theirs {i}" for i in range(100)])]
    survey = parts.survey(lambda: documents, lambda: given)
    shared = list(parts.shared_out(lambda: documents, survey, lambda: given))
    assert [sentence for part, sentence, _ in shared if part == VALIDATION] == given[0][1]
    assert not any(sentence.startswith("theirs") for sentence in survey.sample.values())


def test_a_name_that_is_not_utf_8_has_a_part():
    assert parts.part_of(b"caf\xe9 page 0".decode(errors="surrogateescape")) in PARTS
