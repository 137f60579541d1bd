"""What `minimapnet compare` leaves behind: its files, and the lines that the command prints."""

import csv
from pathlib import Path

from minimapnet.files import write_json, written_whole
from minimapnet.lab import claims, figure_style, figures, page, tables
from minimapnet.masking.variance_report import aligned

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
    for name, figure in figures.draw(results, times).items():
        for ending in ("png", "svg"):
            figure_style.save(figure, folder / "figures" / f"{name}.{ending}")
        pictures[name] = (folder / "figures" / f"{name}.svg").read_bytes()
    with written_whole(folder / "report.html") as file:
        file.write_text(page.page(results, times, pictures), encoding="utf-8")


def text(results: dict, times: dict) -> str:
    """Put the outcome into the lines that the command prints."""
    sections = [page.summary(results), _claims(results, times)]
    for experiment in results["experiments"]:
        proposals = aligned(tables.of_proposals(results, times, experiment))
        sections.append(f"{page.experiment_words(results, experiment)}\n{proposals}")
    sections.append("steps, time: to the baseline's final loss, as multiples of the baseline's; 95 % intervals over seeds.")
    return "\n\n".join(sections)


def _claims(results, times):
    lines = []
    for i, claim in enumerate(claims.claims(results, times), 1):
        lines.append([f"{i} {claim.name}", claim.verdict, claim.numbers[0] if claim.numbers else ""])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in lines)
