"""The split in three, and the sample for the tokenizer."""

import random
from itertools import chain

import pytest

from minimapnet.text import parts
from minimapnet.text.parts import PARTS, TEST, TRAIN, VALIDATION, part_of


def split(documents) -> dict[str, list[str]]:
    found = {part: [] for part in PARTS}
    for part, sentence, _ in parts.shared_out(documents, parts.survey(documents).held_out):
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


def test_a_repeated_document_is_on_one_side():
    """All the same text: it is held out for the part that comes first, and trained on nowhere."""
    documents = [(f"document {i}", ["The same.", "And the same."]) for i in range(100)]
    found = split(documents)
    nominal = [part_of(name) for name, _ in documents]
    first = next(part for part in nominal if part != TRAIN)
    assert {part: len(sentences) for part, sentences in found.items() if sentences} == {first: 2 * nominal.count(first)}


def test_a_document_never_changes_sides():
    many = [(f"document {i}", [f"own {i}"]) for i in range(300)]
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


def test_the_last_sentence_of_a_document_is_marked():
    held = next(name for i in range(100) if parts.part_of(name := f"document {i}") == VALIDATION)
    trained = next(name for i in range(100) if parts.part_of(name := f"document {i}") == TRAIN)
    documents = [(trained, ["a", "shared", "b"]), (held, ["c", "shared"]), (trained, ["d"])]
    held_out = parts.survey(documents).held_out
    assert list(parts.shared_out(documents, held_out)) == [
        (TRAIN, "a", False),
        (TRAIN, "b", True),
        (VALIDATION, "c", False),
        (VALIDATION, "shared", True),
        (TRAIN, "d", True),
    ]


def test_the_sample_is_of_training_sentences_alone():
    documents = [(f"document {i}", [f"own {i}", f"shared {i % 50}"]) for i in range(300)]
    survey = parts.survey(documents)
    assert sorted(survey.sample) == sorted(set(split(documents)[TRAIN]))
    assert survey.sentences == 600


def test_the_sample_of_a_long_text_is_bounded_and_even(monkeypatch):
    monkeypatch.setattr(parts, "SAMPLE_CHARACTERS", 20_000)
    documents = [(f"document {i}", [f"sentence {i:06d}"]) for i in range(50_000)]
    sample = parts.survey(documents).sample
    assert 8_000 < sum(map(len, sample)) <= 20_000
    places = [int(sentence.split()[1]) for sentence in sample]
    assert 23_000 < sum(places) / len(places) < 27_000  # 25,000 within four standard errors
    assert min(places) < 1000 and max(places) > 49_000
    again = parts.survey(reversed(documents)).sample
    assert sorted(again) == sorted(sample)  # whatever the order
