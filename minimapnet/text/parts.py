"""Which part of a text is trained on, validated on and tested on; and a sample of the training part for the tokenizer.

A document belongs to a part by a hash of its name, so it never changes sides, whatever else is read. A sentence that a
validation or test document has is in that part alone: it is left out of the documents of other parts, since boilerplate
would otherwise be trained on and asked for as well. Within a part sentences may repeat.

With fewer than 200 documents, or where a part would be far from its share (so much is repeated, say, that most of the
training part would be left out), each sentence is a document of its own instead, named by its words, and so is each line of
what has no sentences; should a part still be too large or too small, some sentences change sides.

Where the user gives a text to validate on, all of it is the validation part, and what would have been that of the main text
is trained on.

Memory stays bounded: what is remembered are 8-byte hashes of the sentences held out, at most 50,000 for each of the two
parts; documents after that are all trained on. Sentences are what a text consists of here, so they may be lines as well.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = PARTS
HELD_OUT_SHARE = 0.1  # of the documents, on average, for validation, and as many for testing
HELD_OUT_SENTENCES = 50_000  # at most, of each
FEW_DOCUMENTS = 200  # with fewer, a tenth of them is no fair share
LEAST_SHARE, MOST_SHARE = 0.025, 0.2  # of the sentences, in each part held out
LEAST_KEPT = 0.5  # of the training part, after what is held out was left out of it
SAMPLE_CHARACTERS = 8_000_000  # of the training part, at most, for the tokenizer
Documents = Callable[[], Iterable[tuple[str, Sequence[str]]]]  # gives (name, sentences) from the beginning


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
    """What reading a text finds: which sentences are held out for which part, and a sample of those to train on, by hash.

    occurring: how often a sentence held out occurs where it belongs. sentences and documents: how many there are, and
    one_by_one whether each sentence is a document of its own.
    """

    held_out: dict[int, str] = field(default_factory=dict)
    sample: dict[int, str] = field(default_factory=dict)
    occurring: Counter[int] = field(default_factory=Counter)
    sentences: int = 0
    documents: int = 0
    one_by_one: bool = False

    def numbers(self, part: str) -> list[int]:
        """Return the hashes of the sentences of a part held out, the most frequent first."""
        held_out = [number for number, where in self.held_out.items() if where == part]
        return sorted(held_out, key=lambda number: (-self.occurring[number], number))

    def size(self, part: str) -> int:
        """Return how many sentences a part held out has, repeated ones counted."""
        return sum(self.occurring[number] for number in self.numbers(part))


class _Sample:
    """Of all samples that come, those with the lowest hashes, as many as have SAMPLE_CHARACTERS together.

    So every one has the same chance, wherever it is, and memory is bounded. Repeated ones count once.
    """

    def __init__(self):
        self.kept, self.size, self.bound = {}, 0, 2**64

    def add(self, number: int, text: str) -> None:
        if number >= self.bound or number in self.kept:
            return
        self.kept[number] = text
        self.size += len(text)
        while self.size > SAMPLE_CHARACTERS:
            self.bound //= 2
            self.kept = {number: text for number, text in self.kept.items() if number < self.bound}
            self.size = sum(map(len, self.kept.values()))


def survey(documents: Documents, validation: Documents | None = None) -> Survey:
    """Read a text once, or twice where its sentences have to be shared out one by one, see `Survey`."""
    held_out_by_hash = (TEST,) if validation else (VALIDATION, TEST)
    surveyed, kept = _read(documents, validation, one_by_one=False)
    fair = all(_has_its_share(surveyed, part) for part in held_out_by_hash)
    if not fair or kept < LEAST_KEPT or surveyed.documents < FEW_DOCUMENTS:
        surveyed, _ = _read(documents, validation, one_by_one=True)
        for part in held_out_by_hash:
            _even_out(surveyed, part)
    return surveyed


def _read(documents: Documents, validation: Documents | None, one_by_one: bool) -> tuple[Survey, float]:
    """Return what one reading finds, and the share of the training part that is not left out."""
    surveyed, sample, distinct = Survey(one_by_one=one_by_one), _Sample(), Counter()
    for part, sentences, given in _placed(documents, validation, one_by_one):
        held_out = part != TRAIN and distinct[part] < HELD_OUT_SENTENCES
        for sentence in sentences:
            number = hash_of(sentence)
            if not held_out and not given:
                sample.add(number, sentence)
            elif held_out and number not in surveyed.held_out:
                surveyed.held_out[number] = part
                distinct[part] += 1
            if surveyed.held_out.get(number) == part:
                surveyed.occurring[number] += 1
        surveyed.sentences += 0 if given else len(sentences)
        surveyed.documents += not given
    surveyed.sample = {number: sentence for number, sentence in sample.kept.items() if number not in surveyed.held_out}
    return surveyed, len(surveyed.sample) / max(1, len(sample.kept))


def _placed(
    documents: Documents, validation: Documents | None, one_by_one: bool
) -> Iterator[tuple[str, Sequence[str], bool]]:
    """Return (part, sentences, whether they are of the text to validate on) of each document."""
    for _, sentences in validation() if validation else ():
        yield VALIDATION, _lines(sentences) if one_by_one else sentences, True
    for name, sentences in documents():
        alone = ((line, [line]) for line in _lines(sentences))
        for document, inner in alone if one_by_one else [(name, sentences)]:
            part = part_of(document)
            yield TRAIN if validation and part == VALIDATION else part, inner, False


def _lines(sentences: Sequence[str]) -> list[str]:
    """Return sentences one by one, and the lines of pieces in which none ends."""
    return [line for sentence in sentences for line in sentence.split("\n")]


def _has_its_share(surveyed: Survey, part: str) -> bool:
    numbers = surveyed.numbers(part)
    size = surveyed.size(part)
    return LEAST_SHARE * surveyed.sentences <= size <= MOST_SHARE * surveyed.sentences or len(numbers) >= HELD_OUT_SENTENCES


def _even_out(surveyed: Survey, part: str) -> None:
    """Train on the most frequent sentences of a part that is too large; give one too small those of the lowest hashes."""
    size = float(surveyed.size(part))
    for number in surveyed.numbers(part):
        if size <= MOST_SHARE * surveyed.sentences:
            break
        size -= surveyed.occurring[number]
        del surveyed.held_out[number]
    often = surveyed.sentences / max(1, len(surveyed.sample) + len(surveyed.held_out))  # a sentence occurs, about
    for number in sorted(surveyed.sample):
        if size >= LEAST_SHARE * surveyed.sentences or len(surveyed.sample) == 1:
            break
        size += often
        surveyed.held_out[number] = part
        del surveyed.sample[number]


def shared_out(
    documents: Documents, surveyed: Survey, validation: Documents | None = None
) -> Iterator[tuple[str, str, bool]]:
    """Read a text again and give (part, sentence, whether a document ends with it), without what the rule leaves out.

    surveyed is what `survey` returned.
    """
    apart = {TEST} if validation else {VALIDATION, TEST}  # what sentences of the main text may be held out for
    for nominal, sentences, given in _placed(documents, validation, surveyed.one_by_one):
        sorted_out = []
        for sentence in sentences:
            part = nominal if given else surveyed.held_out.get(hash_of(sentence), TRAIN)
            if part in (TRAIN, nominal) or (surveyed.one_by_one and part in apart):
                sorted_out.append((part, sentence))
        for place, (part, sentence) in enumerate(sorted_out):
            yield part, sentence, place + 1 == len(sorted_out) or sorted_out[place + 1][0] != part
