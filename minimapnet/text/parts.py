"""Which part of a text is trained on, validated on and tested on; and a sample of the training part for the tokenizer.

A document belongs to a part by a hash of its name, so it never changes sides, whatever else is read. A sentence that a
validation or test document has is in that part alone: it is left out of the documents of other parts, since boilerplate
would otherwise be trained on and asked for as well. Within a part sentences may repeat. Memory stays bounded: what is
remembered are 8-byte hashes of the sentences held out, at most 50,000 for each of the two parts; documents after that are
all trained on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = PARTS
HELD_OUT_SHARE = 0.1  # of the documents, on average, for validation, and as many for testing
HELD_OUT_SENTENCES = 50_000  # at most, of each
SAMPLE_CHARACTERS = 8_000_000  # of the training part, at most, for the tokenizer


def part_of(document: str) -> str:
    """Return the part that a document belongs to, from its name alone."""
    name = document.encode(errors="surrogateescape")  # a file's name need not be UTF-8
    share = int.from_bytes(hashlib.sha256(name).digest()[:4], "big") / 2**32  # [0, 1)
    if share < HELD_OUT_SHARE:
        return VALIDATION
    return TEST if share < 2 * HELD_OUT_SHARE else TRAIN


def hash_of(sentence: str) -> int:
    """Return 8 bytes of hash, which two different sentences share with a chance of 2**-64."""
    return int.from_bytes(hashlib.blake2b(sentence.encode(), digest_size=8).digest(), "big")


@dataclass
class Survey:
    """What one reading of a text finds: which sentences are held out for which part, and a sample of those to train on."""

    held_out: dict[int, str] = field(default_factory=dict)
    sentences: int = 0
    sample: list[str] = field(default_factory=list)


class _Sample:
    """Of all sentences that come, those with the lowest hashes, as many as have SAMPLE_CHARACTERS together.

    So every sentence has the same chance, wherever it is, and memory is bounded. Repeated sentences count once.
    """

    def __init__(self):
        self.kept, self.size, self.bound = {}, 0, 2**64

    def add(self, number: int, sentence: str) -> None:
        if number >= self.bound or number in self.kept:
            return
        self.kept[number] = sentence
        self.size += len(sentence)
        while self.size > SAMPLE_CHARACTERS:
            self.bound //= 2
            self.kept = {number: sentence for number, sentence in self.kept.items() if number < self.bound}
            self.size = sum(map(len, self.kept.values()))


def survey(documents: Iterable[tuple[str, Sequence[str]]]) -> Survey:
    """Read a text once, see `Survey`."""
    surveyed, sample, counts = Survey(), _Sample(), dict.fromkeys(PARTS, 0)
    for name, sentences in documents:
        part = part_of(name)
        held_out = part != TRAIN and counts[part] < HELD_OUT_SENTENCES
        for sentence in sentences:
            number = hash_of(sentence)
            surveyed.sentences += 1
            if not held_out:
                sample.add(number, sentence)
            elif number not in surveyed.held_out:
                surveyed.held_out[number] = part
                counts[part] += 1
    surveyed.sample = [sentence for number, sentence in sample.kept.items() if number not in surveyed.held_out]
    return surveyed


def shared_out(documents: Iterable[tuple[str, Sequence[str]]], held_out: dict[int, str]) -> Iterator[tuple[str, str, bool]]:
    """Read a text again and give (part, sentence, whether a document ends with it), without what the rule leaves out.

    held_out is the survey's.
    """
    for name, sentences in documents:
        nominal, sorted_out = part_of(name), []
        for sentence in sentences:
            part = held_out.get(hash_of(sentence), TRAIN)
            if part in (TRAIN, nominal):
                sorted_out.append((part, sentence))
        for place, (part, sentence) in enumerate(sorted_out):
            yield part, sentence, place + 1 == len(sorted_out) or sorted_out[place + 1][0] != part
