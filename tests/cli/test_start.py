"""The first moments of the command, in which it loads: Ctrl-C is a line, wherever it comes."""

import subprocess
import sys

import pytest

import minimapnet
from tests.helpers.command_cases import environment

INTERRUPTING = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["minimapnet", *{arguments!r}]
"""
WAYS = {
    "module": "import runpy; runpy.run_module('minimapnet', run_name='__main__', alter_sys=True)",
    "script": "from minimapnet.__main__ import main; sys.exit(main())",
}
MODULES = (
    *("minimapnet.cli", "minimapnet.cli.main", "minimapnet.cli.options", "minimapnet.errors", "minimapnet.backend"),
    *("numpy", "scipy.sparse", "scipy.special", "tokenizers", "safetensors", "minimapnet.cli.variance", "matplotlib"),
)


def interrupted(module: str, arguments: list[str], code: str, before: str = "") -> tuple[int, str, str]:
    line = [sys.executable, "-c", before + INTERRUPTING.format(module=module, arguments=arguments) + code]
    result = subprocess.run(line, capture_output=True, text=True, env=environment())
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_while_a_module_is_loaded(module, way):
    found = interrupted(module, ["variance", "--preset", "smoke"], WAYS[way])
    assert found == (130, "", "minimapnet: stopped before the end\n")


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--version"], ["nonsense"], ["info"]])
def test_ctrl_c_whatever_was_asked_for(arguments):
    assert interrupted("numpy", arguments, WAYS["script"]) == (130, "", "minimapnet: stopped before the end\n")


def test_a_signal_that_is_ignored_stays_ignored():
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    code, stdout, stderr = interrupted("numpy", ["--version"], WAYS["script"], ignored)
    assert (code, stdout, stderr) == (0, f"{minimapnet.__version__}\n", "")


def test_nothing_slow_is_loaded_outside_of_the_guard():
    code = "import sys; before = set(sys.modules); import minimapnet.__main__; print(*(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert {name for name in result.stdout.split() if name.startswith("minimapnet")} == {"minimapnet", "minimapnet.__main__"}
    assert not {"numpy", "scipy", "tokenizers", "tqdm"} & set(result.stdout.split())


def test_public_names_are_loaded_when_they_are_used():
    code = "import minimapnet; assert {names}; print(minimapnet.backend.name, minimapnet.model.bert.Bert is minimapnet.Bert)"
    names = " and ".join(f"callable(minimapnet.{name})" for name in minimapnet.__all__)
    line = [sys.executable, "-c", code.format(names=names)]
    result = subprocess.run(line, capture_output=True, text=True, env=environment())
    assert (result.stdout, result.stderr) == ("numpy True\n", "")
    assert set(minimapnet.__all__) <= set(dir(minimapnet))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        minimapnet.nonsense  # noqa: B018 - it is the look that fails


def test_from_minimapnet_import_everything():
    code = "from minimapnet import *; print(Bert.__name__, use('numpy'))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (result.stdout, result.stderr) == ("Bert numpy\n", "")
