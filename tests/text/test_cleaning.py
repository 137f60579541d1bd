"""Cleaning: lines, paragraphs, sentences and prose."""

import pytest

from minimapnet.text import cleaning


def test_prose_drops_what_is_not_made_of_sentences():
    text = """Heading words
=============

Return the ``len`` of *values*, see :func:`~math.sqrt` [1].  E.g. a list,
i.e. five well-
known items!

   f(x) = x + 1 if x else {}

* A bullet stands by itself.
* Another one does.

    >>> print("Hello there.")
    Hello there.

expr ::= atom | "(" expr ")"
Is it the end?"""
    assert list(cleaning.prose(text)) == [
        "Return the len of values, see math.sqrt.",
        "E.g. a list, i.e. five well-known items!",
        "A bullet stands by itself.",
        "Another one does.",
    ]  # the last stretch begins with a grammar rule, which no capital letter starts


def test_an_example_reaches_to_the_next_blank_line():
    assert list(cleaning.prose(">>> 1\nA number.\n\nWhat follows stays.")) == ["What follows stays."]
    assert list(cleaning.prose("What stands before stays.\n\n>>> 1\nA number.")) == ["What stands before stays."]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See Mr. J. Smith, e.g. Here.", ["See Mr.", "J. Smith, e.g. Here."]),
        ("Version 3.5 is it. no capital", ["Version 3.5 is it. no capital"]),
        ("Über alles. Änderung.", ["Über alles.", "Änderung."]),
        ('He said, "Go." She went.', ['He said, "Go."', "She went."]),
        ("你好。世界！", ["你好。", "世界！"]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(paragraph, expected):
    assert cleaning.sentences(paragraph) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_paragraphs_do_not_depend_on_the_blocks_of_a_text(size):
    text = "One\r\ntwo.\r\n \r\nThree\n\n\n- four\n  five\n* six-\n  seven\n\neight"
    blocks = [text[i : i + size] for i in range(0, len(text), size)]
    expected = ["One two.", "Three", "four five", "six-seven", "eight"]
    assert list(cleaning.paragraphs(cleaning.lines(blocks))) == expected


def test_a_line_without_end_is_cut_at_a_blank(monkeypatch):
    monkeypatch.setattr(cleaning, "LONGEST", 10)
    found = list(cleaning.lines(["aaa bbb ", "ccc ddd", " eee fff\nxxxxxxxxxxxxxxxxxxxxxxxxx"]))
    assert " ".join("".join(found).split()) == "aaa bbb ccc ddd eee fffxxxxxxxxxxxxxxxxxxxxxxxxx"
    assert max(map(len, found)) <= 10 + 11  # what was left of a line, and one block
    assert all(line[:1] in (" ", "a", "x") for line in found)  # no word is cut but the one that is too long


def test_a_paragraph_without_end_is_cut(monkeypatch):
    monkeypatch.setattr(cleaning, "LONGEST", 20)
    found = list(cleaning.paragraphs(["word word word"] * 10))
    assert len(found) == 5
    assert " ".join(found).split() == ["word"] * 30


WORDS = "lower case words without an end "


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("x" * 2500, [1000, 1000, 500]),  # anywhere
        (WORDS * 100, [990, 998, 996, 215]),  # at blanks
        ((WORDS * 3 + "\n") * 20, [959] * 2),  # at line ends
        (WORDS * 31, [len(WORDS) * 31 - 1]),
        ("你好" * 700 + "。" + "x" * 10, [1000, 401, 10]),
        ("One ends. " * 300, [9] * 300),
    ],
)
def test_where_no_sentence_ends_a_text_is_cut(text, lengths):
    found = list(cleaning.sentences_or_pieces(text.split("\n")))
    assert max(map(len, found)) <= cleaning.LONGEST_SAMPLE
    assert "".join("".join(found).split()) == "".join(text.split())  # nothing is dropped
    if "lower" not in text or len(lengths) == 1:
        assert [len(piece) for piece in found] == lengths
    else:
        assert all(piece.split()[0] in WORDS.split() for piece in found)  # no word is cut
        assert all(len(piece) > 900 for piece in found[:-1])


def test_pieces_keep_their_line_ends_and_sentences_do_not():
    lines = [f"entry {i:04d}  of   the log" for i in range(100)]
    found = list(cleaning.sentences_or_pieces(lines))
    assert "\n".join(found).split("\n") == [" ".join(line.split()) for line in lines]
    assert list(cleaning.sentences_or_pieces(["A sentence", "of two lines. And", "another."])) == [
        "A sentence of two lines.",
        "And another.",
    ]


@pytest.mark.parametrize("mark", "。！？।؟۔")
def test_marks_of_other_scripts_end_sentences(mark):
    assert cleaning.sentences(f"अब{mark} ab{mark}") == [f"अब{mark}", f"ab{mark}"]
