"""Options from TOML files: what they set, what goes before them, and what is refused."""

import argparse
import tomllib
from pathlib import Path

import pytest

from minimapnet.cli import config_file, main
from minimapnet.cli.options import NumberType, Parser, add, add_flag
from minimapnet.training.setting_fields import MASK_RATE, whole
from tests.helpers.command_cases import assert_refused, called


def options(tmp_path, content: str, *arguments) -> argparse.Namespace:
    file = tmp_path / "config.toml"
    file.write_text(content, encoding="utf-8")
    return main._options(["train", "--config", str(file), *arguments])


def test_a_file_goes_before_the_defaults_and_flags_before_both(tmp_path):
    found = options(tmp_path, "steps = 7\nlearning-rate = 0.5\nbatch-size = 3", "--steps", "9")
    assert (found.steps, found.learning_rate, found.batch_size, found.seed) == (9, 0.5, 3, 0)


def test_values_are_what_flags_would_give(tmp_path):
    content = """
        text = "kjv"
        tokenizer = "some/tokenizer.json"
        mask-rate = 0.25
        learning-rate = 1  # a whole number where any number will do
        layout = "sentences"
        proposal = "mapnet-pool"
        dry-run = true
        out = "größe"
    """
    found = options(tmp_path, content)
    flags = "--text kjv --tokenizer some/tokenizer.json --mask-rate 0.25 --learning-rate 1 --dry-run".split()
    flags += "--layout sentences --proposal mapnet-pool --out größe".split()
    expected = vars(main._options(["train", *flags])) | {"config": tmp_path / "config.toml"}
    assert vars(found) == expected
    assert {name: type(value) for name, value in vars(found).items()} == {n: type(v) for n, v in expected.items()}
    assert options(tmp_path, "mask-rate = 3").mask_rate == 3 and type(options(tmp_path, "mask-rate = 3").mask_rate) is int


def test_every_command_takes_a_file(tmp_path, capsys):
    (tmp_path / "config.toml").write_text('backend = "numpy"')
    assert called(capsys, "info", "--config", tmp_path / "config.toml").returncode == 0
    (tmp_path / "config.toml").write_text("top = 0")
    result = called(capsys, "fill-mask", "folder", "[MASK]", "--config", tmp_path / "config.toml")
    assert_refused(result, "top must be a whole number of at least 1")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("step = 5", "minimapnet train has no option 'step'; did you mean steps?"),
        ("learning_rate = 1", "has no option 'learning_rate'; did you mean learning-rate?"),
        ("xyzzy = 5", "has no option 'xyzzy'; see minimapnet train -h"),
        ("config = 'other.toml'", "has no option 'config'"),
        ("help = true", "has no option 'help'"),
        ("h = true", "has no option 'h'"),
        ("[train]\nsteps = 5", "has no option 'train'"),
        ("[steps]\nsteps = 5", "steps must be a whole number, not {'steps': 5}"),
        ("steps = '5'", "steps must be a whole number, not '5'"),
        ("steps = 5.0", "steps must be a whole number, not 5.0"),
        ("steps = true", "steps must be a whole number, not True"),
        ("steps = 0", "steps must be a whole number of at least 1, not '0'"),
        ("learning-rate = '1'", "learning-rate must be a number, not '1'"),
        ("learning-rate = nan", "learning-rate must be a number above 0"),
        ("learning-rate = inf", "learning-rate must be a number above 0"),
        ("mask-rate = false", "mask-rate must be a number, not False"),
        ("mask-rate = 1.5", "mask-rate must be a whole number of at least 1, or a share"),
        ("dry-run = 1", "dry-run must be true or false, not 1"),
        ("text = 5", "text must be text in quotes, not 5"),
        ("text = ''", "text must not be empty"),
        ("out = ''", "out must not be empty"),
        ("text = ['a', 'b']", "text must be text in quotes"),
        ('text = "a\\u0000b"', "text must be text without the character zero"),
        ("out = 1979-05-27", "out must be text in quotes"),
        ("layout = 'diagonal'", "layout must be one of packed, sentences, lines, not 'diagonal'"),
        ("steps = ", "is not TOML"),
        ("steps = 5\nsteps = 6", "is not TOML"),
        ("text = " + "[" * 5000, "is not TOML"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, capsys, content, part):
    file = tmp_path / "config.toml"
    file.write_text(content, encoding="utf-8")
    assert_refused(called(capsys, "train", "--config", file, "--out", tmp_path / "run"), f"{file}", part)
    assert not (tmp_path / "run").exists()


def test_files_that_cannot_be_read(tmp_path, capsys):
    assert_refused(called(capsys, "train", "--config", tmp_path / "no.toml"), "cannot read", "No such file or directory")
    assert_refused(called(capsys, "train", "--config", tmp_path), "cannot read", "Is a directory")
    (tmp_path / "latin.toml").write_bytes("text = 'größe'".encode("latin-1"))
    assert_refused(called(capsys, "train", "--config", tmp_path / "latin.toml"), "is not UTF-8")
    assert_refused(called(capsys, "train", "--config"), "--config: expected one argument")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark(tmp_path, end):
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbfsteps = 7" + end + b"name = 'a'" + end)
    command = small_command()
    config_file.set_defaults(command, tmp_path / "config.toml")
    assert (command.parse_args([]).steps, command.parse_args([]).name) == (7, "a")


def small_command() -> Parser:
    command = Parser(prog="test")
    add(command, "--steps", "", 5, type=NumberType(whole(1)))
    add(command, "--mask-rate", "", type=NumberType(MASK_RATE))
    add(command, "--text-file", "", type=Path)
    add(command, "--name", "", "plain")
    add_flag(command, "--fast", "")
    return command


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--steps", "7", "--mask-rate", "0.1", "--fast"],
        ["--mask-rate", "1e-7"],
        ["--name", 'quotes " and \\ and größe \U0001f600 and \x7f and \n'],
        ["--text-file", "/some where/'text'.txt"],
    ],
)
def test_what_is_written_is_read_again(tmp_path, arguments):
    file = tmp_path / "options.toml"
    written = small_command().parse_args(arguments)
    config_file.write(written, file, without=())
    again = small_command()
    config_file.set_defaults(again, file)
    assert vars(again.parse_args([])) == vars(written)


def test_relative_paths_are_written_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config_file.write(small_command().parse_args(["--text-file", "here.txt"]), tmp_path / "o.toml", ("steps", "text"))
    found = tomllib.loads((tmp_path / "o.toml").read_text())
    assert found == {"text-file": str(tmp_path / "here.txt"), "name": "plain", "fast": False}
