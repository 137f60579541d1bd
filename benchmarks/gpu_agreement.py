"""The same small model trained on the CPU and on a GPU: the same masks and losses, the same bytes twice, common checkpoints.

    python benchmarks/gpu_agreement.py                     on a GPU (about half a minute)
    python benchmarks/gpu_agreement.py --backend strict    on the tests' stand-in, to rehearse it

Each of the proposals trains for 50 steps from one seed. Exit code 1 where anything differs.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import backends
import numpy
import timing

from minimapnet import Bert, backend
from minimapnet.text.load import load_corpus
from minimapnet.training import proposal_registry
from minimapnet.training.settings import ModelSettings, TrainSettings
from minimapnet.training.trainer import Trainer

PROPOSALS = ("uniform", "mapnet-pool", "mapnet-positions", "optimal-pool")
STEPS, LENGTH, NEAR = 50, 32, 1e-4


class Outcome(NamedTuple):
    """A run's losses (steps,), masks (steps) of (B, K) each, and its parameters."""

    losses: numpy.ndarray
    masks: list[numpy.ndarray]
    parameters: numpy.ndarray


class Recorded(Trainer):
    """A trainer that remembers its losses, and is stopped after `stop` steps."""

    stop = None

    def make_step(self, log=False):
        record = super().make_step(log)
        self.losses = [*getattr(self, "losses", []), record["loss"]]
        if self.step == self.stop:
            signal.raise_signal(signal.SIGINT)
        return record


def trainer(text, name: str, library: str, folder: Path | None = None) -> tuple[Recorded, list]:
    """Make a trainer on a backend; its masks are appended to the list that comes with it."""
    backends.use(library)
    model = Bert(ModelSettings(hidden_size=64).config(text, LENGTH), 0)
    proposal, masks = proposal_registry.make(name, model, 0, tokenizer=text.tokenizer), []
    draw = proposal.draw

    def watched(*arguments):
        drawn = draw(*arguments)
        masks.append(drawn.positions)
        return drawn

    proposal.draw = watched
    settings = TrainSettings(steps=STEPS, batch_size=16, learning_rate=1e-3, log_every=1, checkpoint_every=0)
    return Recorded(model, text, proposal, settings, folder), masks


def run(text, name: str, library: str) -> Outcome:
    """Train on one backend, without a folder."""
    made, masks = trainer(text, name, library)
    made.run()
    return Outcome(numpy.array(made.losses), masks, backend.to_host(made.model.flat))


def resumed(text, name: str, first: str, second: str) -> numpy.ndarray:
    """Return the losses after the middle, of a run whose first half was made on one backend and its second on another."""
    with tempfile.TemporaryDirectory() as folder:
        begun, _ = trainer(text, name, first, Path(folder) / "run")
        begun.stop = STEPS // 2
        begun.run()
        gone_on, _ = trainer(text, name, second, Path(folder) / "run")
        gone_on.run(resume=True)
        return numpy.array(gone_on.losses)


def largest_difference(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Return the largest relative difference of two runs' losses."""
    return float(numpy.max(numpy.abs(one - other) / numpy.abs(one)))


def compare(text, name: str, library: str) -> list[str]:
    """Return the table's row of one proposal."""
    host, device, again = (run(text, name, which) for which in ("numpy", library, library))
    same = [numpy.array_equal(*pair) for pair in zip(host.masks, device.masks, strict=True)]
    there = largest_difference(host.losses[STEPS // 2 :], resumed(text, name, "numpy", library))
    back = largest_difference(host.losses[STEPS // 2 :], resumed(text, name, library, "numpy"))
    apart = largest_difference(host.losses, device.losses)
    bytes_same = device.parameters.tobytes() == again.parameters.tobytes()
    good = all(same) and bytes_same and max(apart, there, back) < NEAR
    return [
        name,
        "yes" if good else "NO",
        f"{sum(same)} of {STEPS}",
        f"{apart:.1e}",
        "same bytes" if bytes_same else "DIFFERENT",
        f"{there:.1e}",
        f"{back:.1e}",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=backends.NAMES, default="cupy")
    parser.add_argument("--proposals", nargs="+", choices=proposal_registry.KINDS, default=list(PROPOSALS))
    arguments = parser.parse_args()
    backends.use(arguments.backend)
    with tempfile.TemporaryDirectory() as cache:
        text = load_corpus("grammar", Path(cache), max_length=LENGTH, layout="sentences")
        rows = [compare(text, name, arguments.backend) for name in arguments.proposals]
    header = [
        "proposal",
        "agrees",
        "steps of the same masks",
        "losses differ by",
        "twice",
        "CPU, then here",
        "here, then CPU",
    ]
    print(timing.table(header, rows))
    sys.exit(any(row[1] != "yes" for row in rows))


if __name__ == "__main__":
    main()
