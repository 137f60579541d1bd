"""What a comparison leaves behind: its files, and the lines that the command prints."""

import csv
import json
from pathlib import Path

from minimapnet.files import written_whole
from minimapnet.lab import plots


def write(results: dict, folder: Path) -> None:
    """Write results.json, losses.csv, losses.png and losses.svg, each whole or not at all; older ones are replaced.

    Raises InputError where the folder cannot be written to.
    """
    with written_whole(folder / "results.json") as file:
        file.write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with written_whole(folder / "losses.csv") as file, file.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(["proposal", "seed", "step", "validation loss (nats per masked token)"])
        for name, proposal in results["proposals"].items():
            for seed, curve in proposal["curves"].items():
                lines.writerows([name, seed, step, repr(loss)] for step, loss in curve)
    for ending in ("png", "svg"):
        with written_whole(folder / f"losses.{ending}") as file:
            plots.losses(results, file)


def text(results: dict) -> str:
    """Put the results into the lines that the command prints."""
    source, entropy = results["text"], results["unigram_entropy"]
    lines = [
        f"{source['name']}: {source['train_rows']:,} rows to train on, {source['validation_rows']:,} to validate on, "
        f"{results['vocabulary']:,} word pieces",
        "",
        "Loss on uniform masks of the validation rows, in nats per masked token: final mean and 95 % interval",
        f"  {entropy:6.3f}                   unigram entropy: what a model reaches that ignores context",
    ]
    for name, proposal in results["proposals"].items():
        lines.append(f"  {proposal['mean']:6.3f} {_words(proposal['interval'], ''):18s}{name}")
    if any(proposal["mean"] >= entropy for proposal in results["proposals"].values()):
        lines.append("  Not all are below the unigram entropy: more steps are needed to say anything of masks.")
    lines.append("")
    for d in results["differences"]:
        lines.append(f"  {d['verdict']:20s}{d['mean']:+.3f} {_words(d['interval'], '+'):18s}{d['a']} against {d['b']}")
    return "\n".join([*lines, "", results["rule"]])


def _words(ends, sign: str) -> str:
    return "[one seed]" if ends is None else f"[{ends[0]:{sign}.3f}, {ends[1]:{sign}.3f}]"
