"""Write the notebooks, with outputs and figures, from the scripts: python tutorials/render.py [NN ...]

The picture of a step, which README.md shows, is its figure in the cell that is marked `tags=["picture"]`.
It needs the extra `tutorials`.
"""

import base64
import sys
from pathlib import Path

import jupytext
import nbformat
from check import FOLDER, chosen
from nbclient import NotebookClient

from minimapnet.files import written_whole

PICTURES = FOLDER / "pictures"


def render(step: Path) -> None:
    """Run a step as a notebook and write it; raises nbclient's CellExecutionError where a cell fails."""
    notebook = jupytext.read(step)
    options = {"timeout": 600, "kernel_name": "python3", "coalesce_streams": True}
    NotebookClient(notebook, resources={"metadata": {"path": FOLDER}}, **options).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same each time
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("jupytext", None)
    notebook.metadata.pop("widgets", None)
    with written_whole(step.with_suffix(".ipynb")) as temporary:
        nbformat.write(notebook, temporary)
    with written_whole(PICTURES / f"{step.stem}.png") as temporary:
        temporary.write_bytes(picture(notebook))


def picture(notebook) -> bytes:
    """Return the PNG of the cell that is marked."""
    (marked,) = [cell for cell in notebook.cells if "picture" in cell.metadata.get("tags", [])]
    figures = [output.data["image/png"] for output in marked.outputs if "image/png" in output.get("data", {})]
    return base64.b64decode(figures[-1])


if __name__ == "__main__":
    for chosen_step in chosen(sys.argv[1:]):
        render(chosen_step)
        print(chosen_step.with_suffix(".ipynb").name, flush=True)
