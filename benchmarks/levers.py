"""What could turn a lower variance into faster training: each lever by itself, in branches from one warm start.

    python benchmarks/levers.py              the grammar, about 5 minutes
    python benchmarks/levers.py --text kjv

Every branch goes on from the same restarted model at a constant learning rate with 4 rows a step, as those of `minimapnet
compare --preset full` do, which explains them.
The levers are the number of masked tokens, the share u of uniform masks that are mixed in, the number of a pool's
candidates, a pool across the batch (4 rows kept of 16 sentences), a gate (a sentence's pool counts only where its tau, the
root of the mean square of the scores over their mean, is at least 1.1) and a learning rate three times as high. The optimal
pool, by exact norms, is what a perfect MAPNet would be. The baseline is the uniform branch that ends lowest.

Ratios of steps are those of the report: to the baseline's final loss, over all steps, and over the steps in which the
baseline itself first comes there. Intervals are over seeds. Costs are of one step, timed in turns in one thread.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import timing
from tqdm import tqdm

from minimapnet.experiments import curves, presets, processes, training_runs
from minimapnet.experiments import timing as step_timing
from minimapnet.experiments.candidates import POOL, UNIFORM_MIX
from minimapnet.experiments.presets import Run
from minimapnet.mapnet.learner import MapNetScore
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.proposals import PoolProposal
from minimapnet.proposals.base import Scores
from minimapnet.training import checkpoint, proposal_registry
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer, run_to_end

ROWS, READ = 4, 16  # of a step, and sentences from which a pool across the batch keeps as many
FASTER = 3  # times the learning rate
GATE = 1.1
TIMED = 60
WARM_SEED = 100  # not the report's: another start, and other sentences than the branches'
CACHE = Path("runs/cache")


class GatedScore(MapNetScore):
    """MAPNet's score of masks, equal for all masks of sentences whose scores hardly differ: unbiased as any other."""

    def of_masks(self, model, ids, masks, attention_mask=None):
        scored = super().of_masks(model, ids, masks, attention_mask)
        scores = scored.relative()  # (B, M)
        mixed = (1 - UNIFORM_MIX) * scores / scores.mean(axis=1, keepdims=True) + UNIFORM_MIX
        worth_it = numpy.sqrt((mixed * mixed).mean(axis=1)) >= GATE
        return Scores(numpy.where(worth_it[:, None], mixed, 1.0), cache=scored.cache)


@dataclass(frozen=True)
class Lever:
    """A branch: `make(model, seed, learning)` makes its proposal, `rate` multiplies the learning rate."""

    name: str
    make: Callable
    rate: int = 1
    read: int = ROWS  # sentences of a step


def _of_registry(kind, **parameters):
    return lambda model, seed, learning: proposal_registry.make(kind, model, seed, **parameters)


def _pool(k, uniform_mix=UNIFORM_MIX, candidates=POOL, kind="mapnet-pool", **parameters):
    parameters |= {"mask_rate": k, "candidates": candidates, "uniform_mix": uniform_mix, "learn_every": 1}
    return lambda model, seed, learning: proposal_registry.make(kind, model, seed, learning_rate=learning, **parameters)


def _gated_pool(k):
    def make(model, seed, learning):
        network = MapNet(MapNetConfig.for_model(model.config), seed)
        return PoolProposal(k, GatedScore(network, learning_rate=learning), POOL)

    return make


def _batch_pool(k):
    return _pool(k, candidates=4, kind="mapnet-batch-pool", rows=ROWS)


def _uniform(k):
    return _of_registry("uniform", mask_rate=k)


def _optimal(k):
    return _of_registry("optimal-pool", mask_rate=k, candidates=8)


LEVERS = [
    Lever("uniform, 2 masked", _uniform(2)),
    Lever("uniform, 4 masked", _uniform(4)),
    Lever("uniform, 40 %", _uniform(0.4)),
    Lever("uniform, 40 %", _uniform(0.4), FASTER),
    Lever("MAPNet pool, 2 masked", _pool(2)),
    Lever("MAPNet pool, 2 masked", _pool(2), FASTER),
    Lever("MAPNet pool, 2 masked, u 0.5", _pool(2, 0.5)),
    Lever("MAPNet pool, 2 masked, gated", _gated_pool(2)),
    Lever("MAPNet pool, 40 %", _pool(0.4)),
    Lever("MAPNet pool, 40 %", _pool(0.4), FASTER),
    Lever("MAPNet pool of 64, 40 %", _pool(0.4, candidates=64)),
    Lever("MAPNet batch pool, 2 masked", _batch_pool(2), read=READ),
    Lever("MAPNet batch pool, 40 %", _batch_pool(0.4), read=READ),
    Lever("MAPNet batch pool, 40 %", _batch_pool(0.4), FASTER, READ),
    Lever("optimal pool of 8, 40 %", _optimal(0.4)),
    Lever("optimal pool of 8, 40 %", _optimal(0.4), FASTER),
]


def trainer(lever: Lever, settings, text, folder: Path, seed: int) -> Trainer:
    """Make the trainer of a branch, as `experiments.branch_trainer` does for the candidates of the report."""
    chosen, model = settings.branches, training_runs.warm_model(settings, text, folder)
    proposal = lever.make(model, seed, chosen.mapnet_learning_rate)
    if isinstance(proposal.score, MapNetScore):
        proposal.load_state(checkpoint.newest(folder / training_runs.WARM).states()["proposal"])
    training = TrainSettings(
        steps=chosen.steps,
        batch_size=lever.read,
        learning_rate=lever.rate * chosen.learning_rate,
        schedule="constant",
        eval_every=max(1, chosen.steps // chosen.evaluations),
        checkpoint_every=0,
        seed=seed,
    )
    evaluation = training_runs.one_masked(settings, text)
    return Trainer(model, text, proposal, training, evaluation=evaluation, bar=tqdm(disable=True))


def branch(number: int, seed: int, source: str, settings, folder: Path) -> list:
    """Return the curve of one lever and seed."""
    text = training_runs.read_text(source, CACHE, settings)
    records = run_to_end(trainer(LEVERS[number], settings, text, folder, seed))
    return [[record["step"], record["validation_loss"]] for record in records if "validation_loss" in record]


def curves_of_levers(source: str, settings, folder: Path) -> list[dict]:
    """Return {seed: curve} of every lever; as many branches go side by side as there are cores."""
    found = [{} for _ in LEVERS]
    with processes.executor() as workforce:
        waiting = {
            (number, seed): processes.submit(workforce, branch, number, seed, source, settings, folder)
            for number in range(len(LEVERS))
            for seed in range(settings.branches.seeds)
        }
        for (number, seed), one in tqdm(waiting.items(), unit="branch", disable=None):
            found[number][seed] = one.result()
    return found


def lines(found: list[dict], costs: dict) -> list[list[str]]:
    """Return the table's lines, each lever held against the best of the uniform ones."""
    ends = [curves.interval([curves.final_loss(curve) for curve in one.values()]) for one in found]
    uniform = [number for number, lever in enumerate(LEVERS) if lever.name.startswith("uniform")]
    best = min(uniform, key=lambda number: ends[number][0])
    table = []
    for number, lever in enumerate(LEVERS):
        cost = costs[number]["ms"] / costs[best]["ms"]
        line = [lever.name, str(lever.rate), f"{ends[number][0]:.3f}"]
        if number == best:
            table.append([*line, "baseline", "1", "1", f"{cost:.2f}", ""])
            continue
        held = curves.comparison(lever.name, found[number], LEVERS[best].name, found[best])
        difference, steps, own = held["difference"], held["steps_ratio"], held["own_ratio"]
        table.append(
            [
                *line,
                f"{difference['mean']:+.3f} {_ends(difference['interval'], '+.3f')}",
                f"{steps['mean']:.2f} {_ends(steps['interval'], '.2f')}",
                f"{own['mean']:.2f} {_ends(own['interval'], '.2f')}",
                f"{cost:.2f}",
                f"{held['verdict_loss']}, {held['verdict_steps']}".replace("no difference found", "-"),
            ]
        )
    return table


def _ends(interval, form: str) -> str:
    return "" if interval is None else f"[{interval[0]:{form}}, {interval[1]:{form}}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="grammar", help="as of minimapnet compare (default: grammar)")
    parser.add_argument("--seeds", type=int, default=4, help="(default: 4)")
    given = parser.parse_args()
    settings = presets.PRESETS["full"]
    chosen = replace(settings.branches, seeds=given.seeds, batch_size=ROWS)
    settings = replace(settings, branches=chosen, stages=replace(settings.stages, count=2))
    text = training_runs.read_text(given.text, CACHE, settings)
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        with tqdm(total=chosen.warm_steps + chosen.restart_steps, desc="warm start", disable=None) as bar:
            warm = training_runs.warm_start(Run("warm", "uniform", WARM_SEED), settings, text, folder, bar.update)
        for words, stage in (("the warm start", warm["stages"][-1]), ("its restart", warm["start"])):
            shares = ", ".join(f"{one['k']} masked {one['headroom_share'][0]:.0%}" for one in stage["masks"])
            print(f"{text.name}, after {words}: loss {stage['loss']:.3f}; headroom, of the mask variance: {shares}")
        found = curves_of_levers(given.text, settings, folder)
        trainers = {n: trainer(lever, settings, text, folder, 0) for n, lever in enumerate(LEVERS)}
        costs = step_timing.in_turns(trainers, TIMED, lambda: None)
    names = ["lever", "rate", "final", "difference", "steps", "of its own", "cost", "verdicts"]
    print(timing.table(names, lines(found, costs)))


if __name__ == "__main__":
    main()
