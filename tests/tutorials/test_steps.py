"""The tutorials as they are read: every step is whole, its notebook is its script's, what it quotes is what it printed."""

import base64
import re
from pathlib import Path

import jupytext
import matplotlib.image
import pytest

from tutorials import quotes

FOLDER = Path(__file__).parents[2] / "tutorials"

STEPS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
every_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)


def notebook(step: Path):
    return jupytext.read(step.with_suffix(".ipynb"))


def outputs(step: Path) -> list[str]:
    """Return what each cell of a step's notebook printed."""
    return [
        "".join(output.get("text", "") for output in cell.get("outputs", []) if output.get("name") == "stdout")
        for cell in notebook(step).cells
    ]


def pictures(step: Path) -> list[bytes]:
    found = [output.get("data", {}) for cell in notebook(step).cells for output in cell.get("outputs", [])]
    return [base64.b64decode(data["image/png"]) for data in found if "image/png" in data]


def test_there_are_twelve_steps_in_order():
    assert [step.stem[:2] for step in STEPS] == [f"{number:02}" for number in range(1, 13)]


@every_step
def test_the_notebook_is_the_script_with_outputs(step):
    assert quotes.cells(step.with_suffix(".ipynb")) == quotes.cells(step)
    assert not [cell for cell in notebook(step).cells if any(o.output_type == "error" for o in cell.get("outputs", []))]
    assert any(outputs(step))
    assert pictures(step)


@every_step
def test_what_the_text_quotes_was_printed(step):
    assert not quotes.complaints(quotes.cells(step), outputs(step))


@every_step
def test_a_step_ends_with_exercises_and_where_to_go_on(step):
    text = "\n".join(cell.text for cell in quotes.cells(step) if cell.kind == "markdown")
    number = int(step.stem[:2])
    assert text.startswith(f"# {number}. ")
    assert text.count("\n## Exercises\n") == 1 and text.count("\n## Where to go on\n") == 1
    assert 2 <= len(re.findall(r"^\*\*\d\.", text.partition("\n## Exercises\n")[2], re.MULTILINE)) <= 3
    onward = text.partition("\n## Where to go on\n")[2]
    assert "../minimapnet/" in onward
    assert number == len(STEPS) or f"({STEPS[number].stem}.ipynb)" in onward
    assert (FOLDER / "solutions" / step.name).exists()
    assert (Path(__file__).parent / f"test_{step.name}").exists()


@every_step
def test_links_lead_somewhere(step):
    text = "\n".join(cell.text for cell in quotes.cells(step) if cell.kind == "markdown")
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (FOLDER / link).exists(), link


@every_step
def test_the_picture_in_the_list_is_the_notebooks(step):
    picture = FOLDER / "pictures" / f"{step.stem}.png"
    assert picture.read_bytes() in pictures(step)
    height, width = matplotlib.image.imread(picture).shape[:2]
    assert width >= 600 and height >= 200
    assert step.with_suffix(".ipynb").stat().st_size < 1_000_000


@every_step
def test_the_list_names_every_step(step):
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"({step.stem}.ipynb)" in listed and f"pictures/{step.stem}.png" in listed


@pytest.mark.parametrize(
    ("text", "output", "holds"),
    [
        ("it is `0.219` nats", "loss 0.2188", True),
        ("it is `0.219` nats", "loss 0.2201", True),
        ("it is `0.219` nats", "loss 0.2216", False),
        ("it is `84 %`", "headroom 85 %", True),
        ("it is `84 %`", "headroom 86 %", False),
        ("`512` sentences", "512 rows", True),
        ("`512` sentences", "513 rows", False),
        ("`1,024` sentences", "1024 rows", True),
        ("`-0.5`", "-0.5", True),
        ("it is 0.219 nats", "loss 0.219", False),
        ("the formula $0.5 x$ and arXiv 2008.05333", "", True),
    ],
)
def test_quotes_are_held_against_the_output(text, output, holds):
    cells = [quotes.Cell("code", "print()"), quotes.Cell("markdown", text)]
    assert (quotes.complaints(cells, [output, ""]) == []) is holds


def test_a_number_may_be_printed_right_below_but_not_later():
    cells = [quotes.Cell("markdown", "it is `3`"), quotes.Cell("code", ""), quotes.Cell("code", "")]
    assert not quotes.complaints(cells, ["", "3", ""])
    assert quotes.complaints(cells, ["", "", "3"])
