"""What `minimapnet compare` leaves behind: its files, and the lines that the command prints."""

import csv
from functools import partial
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from minimapnet import plotting
from minimapnet.files import write_json, written_whole
from minimapnet.plotting import CONTEXT
from minimapnet.reports import claims, html, tables
from minimapnet.reports import figures_training as training
from minimapnet.reports import figures_variance as variance
from minimapnet.text_tables import aligned

FILES = ("report.html", "results.json", "results.csv", "times.json", "figures/")


def write(results: dict, times: dict, folder: Path) -> None:
    """Write `FILES`, each whole or not at all; older ones are replaced. The numbers come first, the pictures last.

    results.json, results.csv and the SVGs are the same bytes for the same `results` and `times`.

    Raises InputError where the folder cannot be written to.
    """
    folder = Path(folder)
    write_json(folder / "results.json", results)
    write_json(folder / "times.json", times)
    with written_whole(folder / "results.csv") as file, file.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(["experiment", "proposal", "seed", "step", "validation loss (nats per masked token)"])
        for experiment, run in results["experiments"].items():
            for proposal in run["proposals"]:
                for seed, curve in proposal["curves"].items():
                    lines.writerows([experiment, proposal["name"], seed, step, repr(loss)] for step, loss in curve)
    pictures = {}
    for name, figure in draw(results, times).items():
        for ending in ("png", "svg"):
            plotting.save(figure, folder / "figures" / f"{name}.{ending}")
        pictures[name] = (folder / "figures" / f"{name}.svg").read_bytes()
    with written_whole(folder / "report.html") as file:
        file.write_text(html.page(results, times, pictures), encoding="utf-8")


def text(results: dict, times: dict) -> str:
    """Put the outcome into the lines that the command prints."""
    sections = [html.summary(results), _claims(results, times)]
    for experiment in results["experiments"]:
        proposals = aligned(tables.of_proposals(results, times, experiment))
        sections.append(f"{html.experiment_words(results, experiment)}\n{proposals}")
    sections.append("steps, time: to the baseline's final loss, as multiples of the baseline's; 95 % intervals over seeds.")
    return "\n\n".join(sections)


def _claims(results, times):
    lines = []
    for i, claim in enumerate(claims.claims(results, times), 1):
        lines.append([f"{i} {claim.name}", claim.verdict, claim.numbers[0] if claim.numbers else ""])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in lines)


def draw(results: dict, times: dict) -> dict[str, Figure]:
    """Return every figure that was measured, by the name that `claims.Claim.figures` uses."""
    with matplotlib.rc_context(CONTEXT):
        return {name: drawing() for name, drawing in _drawings(results, times).items()}


def _drawings(results, times):
    drawings = {f"loss_{name}": partial(training.losses, results, times, name) for name in results["experiments"]}
    if any(run["comparisons"] for run in results["experiments"].values()):
        drawings["ratios"] = partial(training.ratios, results, times)
    if times.get("steps"):
        drawings["cost"] = partial(training.cost, results, times)
    if results["stages"]:
        drawings["variance_parts"] = partial(variance.variance_parts, results)
        drawings["headroom"] = partial(variance.headroom, results)
    if any(stage.get("mapnet") for stage in results["stages"]):
        drawings["mapnet"] = partial(variance.mapnet, results)
    if len((results.get("calibration") or {}).get("exact", [])) > 1:
        drawings["calibration"] = partial(variance.calibration, results)
    return drawings
