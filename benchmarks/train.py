"""A training step with everything that belongs to it, against the same loop in PyTorch.

    python benchmarks/train.py                      the small size on the CPU (about 2 minutes)
    python benchmarks/train.py --sizes tiny --rounds 30

Needs `pip install -e .[oracle]`. A step takes rows from a memory-mapped text, draws 19 masked positions a row (10 at tiny),
computes the gradient, clips it and updates the parameters by AdamW. Ours is `Trainer.make_step`, every tenth step with the
gradient's variance, as its log has it. PyTorch's is (a) or (a+) of `step.py` with clip_grad_norm_ and torch.optim.AdamW, by
default or fused. Before the timing all take three steps on one batch from the same weights, and must agree to 1e-4 in each
step's loss and in the norm of the parameters after it.
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version

import numpy
import step
import timing

TOKENS = 1_000_000  # of the text
EAGER = "(a) PyTorch eager, AdamW"
PEERS = {  # name -> whether the last layer is computed at masked places alone, and whether AdamW is fused
    EAGER: (False, False),
    "(a) PyTorch eager, fused AdamW": (False, True),
    "(a+) as (a), last layer at masked places, AdamW": (True, False),
    "(a+) as (a), last layer at masked places, fused AdamW": (True, True),
}


@dataclass(frozen=True)
class Loop:
    """What all loops share; `fixed` asks for the batch of `Size.batch` at every step."""

    fixed: bool = False
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    mask: int = step.MASK
    cls: int = 2
    sep: int = 3
    tokens: str = "tokens.npy"


def measure(name: str, size: step.Size, rounds: int) -> list[list[str]]:
    """Return the table's rows for one size, checked, timed and weighed."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(size, folder)
        contenders = start(size, Loop(fixed=True), folder)
        check({who: [contender.ask("check") for _ in range(3)] for who, contender in contenders.items()})
        for contender in contenders.values():
            contender.stop()
        contenders = start(size, Loop(), folder)
        peaks = {who: contender.ask("peak") for who, contender in contenders.items()}
        taken = timing.interleaved(contenders, rounds)
        for contender in contenders.values():
            contender.stop()
    medians = {who: statistics.median(times) for who, times in taken.items()}
    return [
        [name, who, timing.spread(taken[who]), f"{median / medians[EAGER]:.2f}", f"{peaks[who]:.0f}"]
        for who, median in medians.items()
    ]


def prepare(size: step.Size, folder: str) -> None:
    """Write the text and the weights that all start from."""
    rng = numpy.random.default_rng(0)
    numpy.save(f"{folder}/{Loop.tokens}", rng.integers(4, size.vocabulary, TOKENS).astype(numpy.uint16))
    numpy.savez(f"{folder}/params.npz", **size.model().params)


def start(size: step.Size, loop: Loop, folder: str) -> dict:
    """Start all contenders, each in a process of its own."""
    import our_training  # here, so that no contender's process imports another's libraries
    import torch_training

    from minimapnet.kernels import pool

    contenders = {step.OURS: timing.Process(our_training.OurTraining, size, loop, folder)}
    for who, (rows_early, fused) in PEERS.items():
        arguments = (size, loop, folder, pool.threads(), rows_early, fused)
        contenders[who] = timing.Process(torch_training.TorchTraining, *arguments)
    return contenders


def check(results: dict[str, list[tuple[float, float]]]) -> None:
    """Stop unless all contenders have the same losses, and parameters of the same norm, to 1e-4."""
    ours = numpy.array(results[step.OURS])  # (steps, 2)
    for who, theirs in results.items():
        if not numpy.allclose(theirs, ours, rtol=1e-4, atol=0):
            sys.exit(f"{who} does not compute the same: {theirs} and {ours.tolist()}")
    print(f"same losses {', '.join(f'{loss:.5f}' for loss in ours[:, 0])} for {len(results)} contenders", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=step.SIZES, default=["small"])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sizes:
        rows += measure(name, step.SIZES[name], arguments.rounds)
    print(", ".join(f"{library} {version(library)}" for library in ("numpy", "torch")) + "\n")
    print(timing.table(["size", "contender", "ms (quartiles)", "of (a)", "peak MiB"], rows))


if __name__ == "__main__":
    main()
