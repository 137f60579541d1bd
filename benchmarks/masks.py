"""What drawing masks costs beside a training step, how it grows with the sentence, and what a decomposition costs.

    python benchmarks/masks.py                      about a quarter of an hour
    python benchmarks/masks.py --rounds 5           about 6 minutes

The step is forward and backward of the small size of `step.py`, on all threads; masks are drawn on one. Each contender runs
in its own process, in turns. "4,096 masks" makes the distribution from its weights, draws, and computes every mask's exact
log-probability where there is one. The decomposition stands beside its gradient passes, the very batches that it needs, one
sentence with R masks each: once as plain gradients, once with the norm of every mask, which it cannot do without.
"""

import argparse
import statistics

import numpy
import timing

from minimapnet import Bert, BertConfig, backend, decompose_variance, gradients, gradients_and_norms
from minimapnet.kernels import pool
from minimapnet.masks import (
    ConditionalBernoulli,
    FullyExploredMasks,
    SpanMasks,
    SystematicMasks,
    UniformMasks,
    WholeWordMasks,
)

DRAWS, N, K = 4096, 128, 19
STEP = "training step"
MAKE = {
    "ConditionalBernoulli": lambda weights, k: ConditionalBernoulli(weights, k),
    "UniformMasks": lambda weights, k: UniformMasks(len(weights), k),
    "FullyExploredMasks": lambda weights, k: FullyExploredMasks(len(weights), k),
    "SystematicMasks": lambda weights, k: SystematicMasks(numpy.full(len(weights), k / len(weights))),
    "WholeWordMasks": lambda weights, k: WholeWordMasks(numpy.arange(len(weights)) // 2, k),
    "SpanMasks": lambda weights, k: SpanMasks(len(weights), k),
}
WITHOUT_LOG_PROB = ("SystematicMasks", "WholeWordMasks", "SpanMasks")
SAMPLES = [(4, 2), (24, 2), (4, 16), (4, 32)]  # of the decomposition: sentences and masks of each
GROWTH = [(64, 19), (128, 19), (256, 19), (512, 19), (512, 38), (512, 77)]


def small_model() -> Bert:
    """Make the small size: V 8192, T 128, C 256, 4 layers, 4 heads."""
    config = BertConfig(
        vocab_size=8192,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=N,
        mask_token_id=1,
    )
    return Bert(config, seed=0)


class Step:
    """A training step of the small size, B 32, K 19."""

    def __init__(self):
        self.model, rng = small_model(), backend.generator(0, "benchmark")
        self.ids = rng.integers(2, self.model.config.vocab_size, (32, N))
        self.positions = UniformMasks(numpy.ones((32, N), bool), K).sample(rng, 1)[0]

    def step(self) -> float:
        return gradients(self.model, self.ids, self.positions)[0]


class Draw:
    """Make a distribution, draw masks of k out of n, and sum their log-probabilities where there are any."""

    def __init__(self, name: str, n: int, k: int):
        self.name, self.k, self.rng = name, k, backend.generator(0, "benchmark")
        self.weights = self.rng.normal(size=n)

    def step(self) -> float:
        distribution = MAKE[self.name](self.weights, self.k)
        positions = distribution.sample(self.rng, DRAWS)
        return 0.0 if self.name in WITHOUT_LOG_PROB else float(distribution.log_prob(positions).sum())


class Tables:
    """Make a conditional Bernoulli and its inclusion probabilities: the part that takes O(nk)."""

    def __init__(self, n: int, k: int):
        self.weights, self.k = backend.generator(0, "benchmark").normal(size=n), k

    def step(self) -> float:
        return float(ConditionalBernoulli(self.weights, self.k).inclusion_probabilities().sum())


class Passes:
    """The gradients that a decomposition needs, and nothing else: for each sentence one batch of R masks."""

    def __init__(self, sentences: int, masks: int):
        self.model, self.masks, rng = small_model(), masks, backend.generator(0, "benchmark")
        self.ids = rng.integers(2, self.model.config.vocab_size, (sentences, N))
        self.drawn = UniformMasks(N, K).sample(rng, sentences * masks).reshape(sentences, masks, K)

    def step(self) -> float:
        for row, positions in zip(self.ids, self.drawn, strict=True):
            gradients(self.model, row[None].repeat(self.masks, axis=0), positions)
        return 0.0


class PassesWithNorms(Passes):
    """The same, and from the same passes the norm of each mask's gradient."""

    def step(self) -> float:
        for row, positions in zip(self.ids, self.drawn, strict=True):
            gradients_and_norms(self.model, row[None].repeat(self.masks, axis=0), positions)
        return 0.0


class Decomposition(Passes):
    """Data variance, mask variance, headroom, all by group, with their standard errors and intervals."""

    def step(self) -> float:
        return decompose_variance(self.model, self.ids, K, self.masks).mask.value


def measured(contenders: dict, rounds: int) -> dict[str, list[float]]:
    """Time contenders, given as (class, arguments ...) by name, in turns -> milliseconds by name."""
    processes = {name: timing.Process(*contender) for name, contender in contenders.items()}
    try:
        return timing.interleaved(processes, rounds)
    finally:
        for process in processes.values():
            process.stop()


def against_the_step(rounds: int) -> str:
    """Write the table of all distributions at 4,096 masks of 19 from 128."""
    taken = measured({STEP: (Step,)} | {name: (Draw, name, N, K) for name in MAKE}, rounds)
    step = statistics.median(taken[STEP])
    rows = []
    for name, times in taken.items():
        exact = "-" if name == STEP else "none" if name in WITHOUT_LOG_PROB else "exact"
        rows.append([name, exact, timing.spread(times), f"{statistics.median(times) / step:.3f}"])
    return timing.table([f"{DRAWS:,} masks of {K} from {N}", "log_prob", "ms (quartiles)", "of a step"], rows)


def growth(rounds: int) -> str:
    """Write how the conditional Bernoulli's times grow with n and k."""
    contenders = {f"draw {n} {k}": (Draw, "ConditionalBernoulli", n, k) for n, k in GROWTH}
    contenders |= {f"tables {n} {k}": (Tables, n, k) for n, k in GROWTH}
    taken = measured(contenders, rounds)
    rows = []
    for n, k in GROWTH:
        draw, tables = taken[f"draw {n} {k}"], taken[f"tables {n} {k}"]
        per_draw, per_table = (statistics.median(times) * 1e6 / (n * k) for times in (draw, tables))
        rows.append(
            [str(n), str(k), timing.spread(draw), f"{per_draw / DRAWS:.2f}", timing.spread(tables), f"{per_table:.0f}"]
        )
    header = ["n", "k", f"{DRAWS:,} masks, ms", "ns / (n k), a mask", "tables and inclusion, ms", "ns / (n k)"]
    return timing.table(header, rows)


def decomposition(rounds: int) -> str:
    """Write what the decomposition costs beside its gradient passes, by the number of masks of each sentence."""
    kinds = {"plain": Passes, "norms": PassesWithNorms, "whole": Decomposition}
    contenders = {
        f"{name} {sentences} {masks}": (kind, sentences, masks)
        for sentences, masks in SAMPLES
        for name, kind in kinds.items()
    }
    taken = measured(contenders, rounds)
    rows = []
    for sentences, masks in SAMPLES:
        plain, norms, whole = (taken[f"{name} {sentences} {masks}"] for name in kinds)
        ratios = [statistics.median(a / b for a, b in zip(whole, before, strict=True)) for before in (plain, norms)]
        times = [timing.spread(times) for times in (plain, norms, whole)]
        rows.append([str(sentences), str(masks), *times, *(f"{ratio:.3f}" for ratio in ratios)])
    header = [
        "sentences",
        "masks of each",
        "gradients, ms",
        "with norms, ms",
        "decomposition, ms",
        "ratio",
        "ratio to those with norms",
    ]
    return timing.table(header, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(f"{pool.threads()} threads for the step, one for the masks, NumPy {numpy.__version__}\n")
    print(against_the_step(arguments.rounds))
    print("\nConditionalBernoulli by n and k\n")
    print(growth(arguments.rounds))
    print("\nThe decomposition of the variance beside its gradient passes, small size\n")
    print(decomposition(arguments.rounds))


if __name__ == "__main__":
    main()
