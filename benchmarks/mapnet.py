"""What MAPNet costs beside a training step: its passes and AdamW, and the norms that it learns from.

    python benchmarks/mapnet.py                     the small size of step.py, on the CPU (about 2 minutes)
    python benchmarks/mapnet.py --sizes tiny small --rounds 30

A training step is the gradient and the model's AdamW. "forward, backward, AdamW" is all of MAPNet: `draw` of a pool less
the drawing itself, and `learn`. "draw" and "learn" are these whole; "norms" is what the step takes longer where the norm of
each sequence's gradient is read from the same backward pass. All in one process, in turns; medians, and their ratios to the
median of the step.
"""

import argparse
import statistics
import time

import backends
import numpy
import step
import timing

from minimapnet import backend, gradients, gradients_and_norms
from minimapnet.mapnet.learner import UNIFORM_MIX, MapNetScore
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.model.optimizer import AdamW
from minimapnet.proposals import PoolProposal, SingleProposal
from minimapnet.training.proposal_registry import LEARN_EVERY

CANDIDATES, RATE = 8, 1e-3


class Contest:
    """The pieces of a step at one size, each a method to be timed."""

    def __init__(self, size: step.Size):
        self.model, (self.ids, self.positions) = size.model(), size.batch()
        config = MapNetConfig.for_model(self.model.config)
        self.mapnet, self.rng = MapNet(config), numpy.random.default_rng(1)
        self.optimizer, self.own = AdamW(self.model), AdamW(self.mapnet)
        self.pool = PoolProposal(size.masked_tokens, MapNetScore(MapNet(config)), CANDIDATES, UNIFORM_MIX)
        self.single = SingleProposal(MapNetScore(MapNet(config)), UNIFORM_MIX)
        self.df = backend.to_device(numpy.ones(self.ids.shape, config.dtype) / self.ids.size)
        self.norms = numpy.random.default_rng(2).lognormal(size=len(self.ids))

    def training_step(self):
        gradients(self.model, self.ids, self.positions, out=self.optimizer.gradient)
        self.optimizer.update(RATE)

    def training_step_with_norms(self):
        gradients_and_norms(self.model, self.ids, self.positions, out=self.optimizer.gradient)
        self.optimizer.update(RATE)

    def mapnet_alone(self):
        _, cache = self.mapnet.forward(self.ids)
        self.mapnet.backward(self.df, cache, self.own.gradient)
        self.own.update(RATE)

    def draw_single(self):
        self.single_batch = self.single.draw(self.model, self.ids, self.rng)

    def learn_single(self):
        self.single.learn(self.single_batch, self.norms)

    def draw_pool(self):
        self.pool_batch = self.pool.draw(self.model, self.ids, self.rng)

    def learn_pool(self):
        self.pool.learn(self.pool_batch, self.norms)


STEP, POOL = "training step", f"pool of {CANDIDATES}"
PARTS = {
    STEP: Contest.training_step,
    "training step with norms": Contest.training_step_with_norms,
    "MAPNet: forward, backward, AdamW": Contest.mapnet_alone,
    "single masks: draw": Contest.draw_single,
    "single masks: learn": Contest.learn_single,
    f"{POOL}: draw": Contest.draw_pool,
    f"{POOL}: learn": Contest.learn_pool,
}


def measure(name: str, rounds: int) -> list[list[str]]:
    """Return the table's rows for one size."""
    contest, taken = Contest(step.SIZES[name]), {piece: [] for piece in PARTS}
    for turn in range(-2, rounds):
        for piece, work in PARTS.items():
            start = time.perf_counter()
            work(contest)
            backends.synchronize()
            if turn >= 0:
                taken[piece].append((time.perf_counter() - start) * 1e3)
    whole = statistics.median(taken[STEP])
    rows = [[name, piece, timing.spread(t), f"{statistics.median(t) / whole:.3f}"] for piece, t in taken.items()]
    for kind in ("single masks", POOL):
        draw, learn, norms = (
            statistics.median(taken[what]) for what in (f"{kind}: draw", f"{kind}: learn", "training step with norms")
        )
        for often, words in ((1, "each step"), (LEARN_EVERY, f"one step of {LEARN_EVERY}, as minimapnet train does")):
            added = draw + (learn + norms - whole) / often
            rows.append([name, f"{kind}: all that it adds, learning from {words}", f"{added:.1f}", f"{added / whole:.3f}"])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=step.SIZES, default=["small"])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--backend", choices=backends.NAMES, default="numpy")
    arguments = parser.parse_args()
    backends.use(arguments.backend)
    rows = [row for name in arguments.sizes for row in measure(name, arguments.rounds)]
    print(timing.table(["size", "what", "ms (quartiles)", "of a step"], rows))


if __name__ == "__main__":
    main()
