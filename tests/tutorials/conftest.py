"""What the tests of the exercises share: the answers under test."""

import importlib.util
from pathlib import Path

import pytest

SOLUTIONS = Path(__file__).parents[2] / "tutorials" / "solutions"


@pytest.fixture(scope="module")
def answers(request):
    """Return the answers to a step's exercises as a module: ours, or from the folder given by --answers.

    The step is that of the test's file: test_03_attention.py takes 03_attention.py.
    """
    given = request.config.getoption("--answers")
    name = Path(request.path).stem.removeprefix("test_")
    path = (Path(given) if given else SOLUTIONS) / f"{name}.py"
    if given and not path.exists():
        pytest.skip(f"there is no {path}")
    spec = importlib.util.spec_from_file_location(f"answers_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
