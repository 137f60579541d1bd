"""From characters to sentences: paragraphs, sentences, pieces where none ends; and what is prose in a documentation."""

import re
from collections.abc import Iterable, Iterator

PROSE_SHARE = 0.85  # of a sentence's characters must be letters, blanks or the marks of ordinary prose
PLAIN = {0x2018: "'", 0x2019: "'", 0x60: "'", 0x201C: '"', 0x201D: '"'}  # curved quotes and backquotes to plain ones
LONGEST = 2**16  # characters of a line or paragraph; what is longer is cut, so that memory stays bounded
LONGEST_SAMPLE = 1000  # characters in which a sentence should end; where none does, the text is cut
BULLET = re.compile(r"\s*[-*] ")
SENTENCE_ENDS = re.compile(
    r"(?:(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?<!\bvs\.)(?<!\b[A-Z]\.)|(?<=[.!?][\"')]))"
    r"\s+(?=[^\W\d_a-z]|[\"'(\[])|(?<=[。！？।؟۔])\s*"
)


def lines(blocks: Iterable[str]) -> Iterator[str]:
    """Cut a text that comes in blocks into its lines, and lines of more than 65,536 characters at a blank."""
    rest = ""
    for block in blocks:
        *whole, rest = (rest + block).split("\n")
        yield from whole
        while len(rest) > LONGEST:
            cut = rest.rfind(" ", 1, LONGEST) if " " in rest[1:LONGEST] else LONGEST
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def paragraphs(lines_of_text: Iterable[str]) -> Iterator[str]:
    """Return the stretches between blank lines or bullets, each as one line; a word cut by a hyphen is whole again.

    A stretch ends after 65,536 characters in any case.
    """
    for stretch in _stretches(lines_of_text):
        if text := " ".join(stretch.split()):
            yield text


def _stretches(lines_of_text: Iterable[str]) -> Iterator[str]:
    """Return what `paragraphs` returns, with its line ends."""
    stretch, size = [], 0
    for line in lines_of_text:
        bullet = BULLET.match(line)
        if bullet or not line.strip() or size > LONGEST:
            yield _joined(stretch)
            stretch, size = [], 0
        stretch.append(line[bullet.end() :] if bullet else line)
        size += len(line)
    yield _joined(stretch)


def _joined(stretch: list[str]) -> str:
    return re.sub(r"(?<=[a-z])-\r?\n\s*(?=[a-z])", "-", "\n".join(stretch))


def sentences(paragraph: str) -> list[str]:
    """Cut a paragraph after each full stop, question or exclamation mark that a blank and a capital or quote follow.

    A closing quote or bracket belongs to the sentence before it. A full stop after "e.g.", "i.e.", "etc.", "vs." or a single
    capital letter does not end a sentence; before a letter that has no capitals it does. The wide marks of Chinese and
    Japanese end one in any case, and so do those of Hindi, Arabic and Urdu.
    """
    return [sentence for sentence in SENTENCE_ENDS.split(paragraph) if sentence]


def sentences_or_pieces(lines_of_text: Iterable[str]) -> Iterator[str]:
    """Return the sentences of a text of any kind, in order, each as one line; one of more than 1,000 characters in `pieces`.

    Pieces keep their line ends, since these may be all that parts them.
    """
    for stretch in _stretches(lines_of_text):
        for sentence in sentences(stretch):
            if len(sentence) <= LONGEST_SAMPLE:
                yield from filter(None, [" ".join(sentence.split())])
                continue
            for piece in pieces(sentence):
                yield from filter(None, ["\n".join(" ".join(line.split()) for line in piece.split("\n")).strip()])


def pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of at most 1,000 characters: at the last line end, else the last blank, else anywhere."""
    start = 0
    while len(text) - start > LONGEST_SAMPLE:
        end = start + LONGEST_SAMPLE
        cut = max(text.rfind("\n", start + 1, end + 1), 0) or max(text.rfind(" ", start + 1, end + 1), 0) or end
        yield text[start:cut]
        start = cut
    yield text[start:]


def prose(text: str) -> Iterator[str]:
    """Return the sentences of a documentation text, in order, and drop what is no prose.

    Dropped: examples (`>>>` up to the next blank line), and every stretch between blank lines or bullets that is not made
    of sentences: code, signatures, grammar rules, tables, headings. A sentence begins with a capital letter, ends with a
    full stop, question or exclamation mark, and at least 85 % of it are letters, blanks, commas, full stops, hyphens and
    apostrophes. Removed from within a sentence: the marks of reStructuredText (backquotes, asterisks, bars, roles) and
    footnote numbers. Quotes become plain.
    """
    text = re.sub(r"^[ \t]*>>>.*?(?=\n[ \t]*\n|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    for paragraph in paragraphs(text.split("\n")):
        plain = re.sub(r":[a-z:]+:`~?([^`]*)`", r"\1", paragraph)
        plain = re.sub(r"[`*|]|\s*\[\d+\]", "", plain).translate(PLAIN)
        yield from (sentence for sentence in sentences(plain.strip()) if _is_prose(sentence))


def _is_prose(sentence: str) -> bool:
    plain = sum(letter.isalpha() or letter in " ,'.-" for letter in sentence)
    return sentence[0].isupper() and sentence[-1] in ".!?" and plain >= PROSE_SHARE * len(sentence)
