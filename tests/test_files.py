"""Files that are whole or not there, and how others are read: links, what is no file, line ends, byte order marks."""

import os

import pytest

from minimapnet import Bert, BertConfig, InputError
from minimapnet.files import no_new_empty, read_json, read_lines, read_text, write_json, written_whole
from minimapnet.text.load import load_corpus
from tests.helpers.command_cases import assert_refused, called
from tests.helpers.text_cases import socket_at


def write(file, content="new"):
    with written_whole(file) as temporary:
        temporary.write_text(content)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    file = tmp_path / "some/where/file.txt"
    write(file, "old")
    write(file)
    assert file.read_text() == "new"
    assert names(file.parent) == ["file.txt"]


def test_the_temporary_name_has_the_ending_of_the_file(tmp_path):
    (tmp_path / "link.svg").symlink_to("data")
    for name in ("plain.png", "link.svg"):
        with written_whole(tmp_path / name) as temporary:
            assert temporary.suffix == (tmp_path / name).suffix
            temporary.write_text("")
    assert names(tmp_path) == ["data", "link.svg", "plain.png"]


# Links


def test_a_link_stays_one_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    target, link, far = tmp_path / "there/target.txt", tmp_path / "link.txt", tmp_path / "far.txt"
    target.write_text("old")
    link.symlink_to("there/target.txt")
    far.symlink_to(link)
    write(far)
    assert (link.is_symlink(), far.is_symlink(), target.is_symlink()) == (True, True, False)
    assert target.read_text() == "new"
    assert (names(tmp_path), names(tmp_path / "there")) == (["far.txt", "link.txt", "there"], ["target.txt"])


def test_the_target_of_a_link_that_leads_nowhere_is_made(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there/target.txt")
    write(link)
    assert link.is_symlink()
    assert (tmp_path / "there/target.txt").read_text() == "new"


def test_its_folder_is_not(tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "nowhere/target.txt")
    with pytest.raises(InputError, match=r"cannot write .*link.txt: No such file or directory"):
        write(link)
    assert names(tmp_path) == ["link.txt"]


def test_links_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match=r"cannot write .*a: Too many levels of symbolic links"):
        write(tmp_path / "a")
    assert names(tmp_path) == ["a", "b"]


def test_an_error_leaves_the_target_of_a_link(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(ValueError):
        write_json(tmp_path / "link", float("nan"))
    assert (tmp_path / "target").read_text() == "old"
    assert names(tmp_path) == ["link", "target"]


# What is no file


def pipe(path):
    os.mkfifo(path)


@pytest.mark.skipif(os.name != "posix", reason="needs a system with pipes in folders")
@pytest.mark.parametrize("through_a_link", [False, True])
@pytest.mark.parametrize("make", [pipe, socket_at])
def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path, make, through_a_link):
    given = special = tmp_path / "special"
    make(special)
    if through_a_link:
        given = tmp_path / "link"
        given.symlink_to("special")
    before = names(tmp_path), special.lstat()
    line = rf"cannot write {given}: what is there is no regular file .*; choose another name"
    with pytest.raises(InputError, match=line), written_whole(given):
        raise AssertionError("it was let in")
    assert names(tmp_path) == before[0]
    assert os.path.samestat(special.lstat(), before[1])


@pytest.mark.skipif(os.name != "posix", reason="needs a system with pipes in folders")
def test_a_pipe_that_a_command_is_given_stays_one(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(called(capsys, "info", "--out", tmp_path / "pipe"), "cannot write", "no regular file")
    assert (tmp_path / "pipe").is_fifo() and names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("place", ["", ".", "/", "folder"])
def test_a_folder_is_refused(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*: Is a directory"):
        write(place)
    assert names(tmp_path) == ["folder"]


def test_a_place_inside_a_file(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError, match=r"cannot write .*file/below: Not a directory"):
        write(tmp_path / "file/below")
    assert (tmp_path / "file").read_text() == "old"


# Folders


def test_new_folders_are_gone_after_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError):
        write_json(tmp_path / "mine/a/b/file", float("nan"))
    assert names(tmp_path) == ["mine"] and names(tmp_path / "mine") == []


def test_a_folder_that_is_not_empty_stays(tmp_path):
    with no_new_empty(tmp_path / "a/b"):
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/file").write_text("")
    assert names(tmp_path / "a") == ["file"]


# Reading

BREAKS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines cuts as well


def test_lines_end_at_line_feeds_alone(tmp_path):
    file = tmp_path / "lines"
    lines = [*BREAKS, *(f"a{letter}b" for letter in BREAKS), " blanks \t", "\u3000", "", "\rmiddle\rof", "last"]
    for end in ("\n", "\r\n"):
        for content in (end.join(lines), end.join(lines) + end):
            file.write_bytes(content.encode())
            assert read_lines(file) == lines
            file.write_bytes(content.encode("utf-8-sig"))
            assert read_lines(file) == lines
    file.write_bytes(b"")
    assert read_lines(file) == []


def test_what_cannot_be_read_is_said_in_a_line(tmp_path):
    (tmp_path / "latin").write_bytes("größe".encode("latin-1"))
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    cases = {
        "latin": "latin is not UTF-8",
        "pointer": "run git lfs pull",
        "none": "none: No such file",
        "": "Is a directory",
    }
    for name, part in cases.items():
        for reader in (read_text, read_lines, read_json):
            with pytest.raises(InputError, match=part) as caught:
                reader(tmp_path / name)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("nothing", [None, 3, ["a"], {}, object()])
def test_what_is_no_path(nothing):
    for action in (Bert.from_pretrained, Bert(BertConfig(vocab_size=5)).save_pretrained, load_corpus_of):
        with pytest.raises(InputError, match="a path is needed"):
            action(nothing)


def load_corpus_of(source):
    return load_corpus(source, "cache")
