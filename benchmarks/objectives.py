"""How well MAPNet predicts, by objective: a small model trained along with MAPNet, judged on sentences held out.

    OMP_NUM_THREADS=1 python benchmarks/objectives.py          about 8 minutes; so small a model is fastest in one thread
    OMP_NUM_THREADS=1 python benchmarks/objectives.py --text kjv --seeds 1

A model of two layers and 64 channels learns single masks that MAPNet draws (`mapnet-single`), for 2,000 steps of 32
sentences with a learning rate that goes down to 0. Then all single masks of 400 held-out sentences are computed: correlation
and line of log-norms, divergence of MAPNet's proposal from the optimal one, and the share of the headroom of k = 1 that it
wins.
"""

import argparse
import statistics
from pathlib import Path

import numpy
import timing
from tqdm import tqdm

from minimapnet import Bert, BertConfig
from minimapnet.mapnet.learner import OBJECTIVES
from minimapnet.mapnet.quality import quality
from minimapnet.proposals.scores import exact_norm
from minimapnet.text.load import load_corpus
from minimapnet.training import proposal_registry
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer, run_to_end

JUDGED = 400  # sentences
NAMES = ("correlation", "slope", "error", "divergence", "divergence_of_uniform", "headroom", "won")


def trained(text, objective: str, uniform: float, seed: int, steps: int):
    """Train a model along with a MAPNet."""
    config = BertConfig(
        vocab_size=text.vocab_size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=256,
        max_position_embeddings=24,
        mask_token_id=text.mask_token_id,
        pad_token_id=text.pad_token_id,
    )
    model = Bert(config, seed)
    proposal = proposal_registry.make("mapnet-single", model, seed, uniform_mix=uniform, objective=objective, learn_every=1)
    run_to_end(Trainer(model, text, proposal, TrainSettings(steps=steps, batch_size=32, log_every=steps, seed=seed)))
    return model, proposal.score.network


def judged(text, model, mapnet, uniform: float) -> dict[str, float]:
    """Hold MAPNet against the exact norms of all single masks of held-out sentences."""
    batch = text.test.batch(numpy.arange(0, len(text.test), max(1, len(text.test) // JUDGED))[:JUDGED])
    norms = exact_norm.score_each_position(model, batch.ids, batch.attention_mask, batch.maskable)
    found = quality(norms, mapnet.log_norms(batch.ids, batch.attention_mask), batch.maskable, uniform)
    return {name: getattr(found, name) for name in NAMES}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="grammar", help="as of minimapnet train (default: grammar)")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--uniform", type=float, nargs="+", default=[0.1, 0.3], help="shares of uniform masks")
    arguments = parser.parse_args()
    text = load_corpus(arguments.text, Path("runs/cache"), max_length=24, layout="sentences")
    rows = []
    tried = [(objective, uniform) for objective in OBJECTIVES for uniform in arguments.uniform]
    for objective, uniform in tqdm(tried, unit="setting", disable=None):
        found = [
            judged(text, *trained(text, objective, uniform, seed, arguments.steps), uniform)
            for seed in range(arguments.seeds)
        ]
        means = [f"{statistics.mean(one[name] for one in found):.3f}" for name in NAMES]
        rows.append([objective, f"{uniform:g}", *means, " ".join(f"{one['won']:.2f}" for one in found)])
    print(timing.table(["objective", "uniform", *(name.replace("_", " ") for name in NAMES), "won by seed"], rows))


if __name__ == "__main__":
    main()
