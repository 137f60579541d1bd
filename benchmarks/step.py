"""Forward and backward of one training step against PyTorch's, in time and memory.

    python benchmarks/step.py                       all three sizes on the CPU (about 5 minutes)
    python benchmarks/step.py --sizes tiny --rounds 5
    python benchmarks/step.py --backend cupy --sizes tiny small large base      on a GPU, and the peers with it

Needs `pip install -e .[oracle]`. Each contender runs in its own process on the same number of threads, starts from the same
weights, and must give the same loss and gradient norm before anything is timed. GFLOP/s counts the matrix products of the
mathematics, two operations a multiplication, backward twice the forward, logits at masked places alone: the same count for
every contender, whatever it executes (ours and (a+) execute fewer, since they spare the last layer's unmasked places; (b)
executes more, since it makes all logits).
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version

import backends
import numpy
import timing

PEAK_WIDTH = 2048  # of the square matrices whose product gives the machine's peak
MASK = 1  # the token id of [MASK]


@dataclass(frozen=True)
class Size:
    """A model and a batch: V, T, C, layers, heads, B sentences, K masked positions; feed-forward is 4C."""

    vocabulary: int
    tokens: int
    width: int
    layers: int
    heads: int
    sentences: int
    masked_tokens: int

    def model(self):
        """Make our model, the same in every process."""
        from minimapnet import Bert, BertConfig

        config = BertConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.width,
            max_position_embeddings=self.tokens,
            mask_token_id=MASK,
        )
        return Bert(config, seed=0)

    def batch(self):
        """Draw ids (B, T) and positions (B, K), the same in every process."""
        rng = numpy.random.default_rng(0)
        ids = rng.integers(MASK + 1, self.vocabulary, (self.sentences, self.tokens))
        positions = numpy.stack([rng.permutation(self.tokens)[: self.masked_tokens] for _ in ids])
        return ids, positions

    def masked(self, ids, positions):
        """Return ids with [MASK] at the positions."""
        inputs = ids.copy()
        numpy.put_along_axis(inputs, positions, MASK, axis=1)
        return inputs

    def operations(self) -> int:
        """Count the operations of all matrix products of a step, forward and backward."""
        rows, masked, C = self.sentences * self.tokens, self.sentences * self.masked_tokens, self.width
        a_layer = rows * (3 * C * C + C * C + 2 * 4 * C * C) + 2 * rows * self.tokens * C
        head = masked * (C * C + C * self.vocabulary)
        return 3 * 2 * (self.layers * a_layer + head)


SIZES = {
    "tiny": Size(56, 64, 128, 2, 4, 32, 10),
    "small": Size(8192, 128, 256, 4, 4, 32, 19),
    "large": Size(30522, 128, 256, 4, 4, 16, 19),
    "base": Size(30522, 128, 768, 12, 12, 32, 19),  # BERT-base: for a GPU
}
ON_CPU = ("tiny", "small", "large")
OURS, EAGER = "minimapnet", "(a) PyTorch eager"


def all_sizes(names: list[str], library: str, rounds: int) -> list[list[str]]:
    """Return the table's rows of all sizes.

    On a GPU, which has room for all of them, every contender of every size is made before the first is measured, side by
    side: most of that time compilers take on the host. Elsewhere a size is done with before the next begins.
    """
    groups = [names] if library == "cupy" else [[name] for name in names]
    rows = []
    for group in groups:
        with tempfile.TemporaryDirectory() as folder:
            contenders = {name: start(SIZES[name], library, f"{folder}/{name}") for name in group}
            if library == "cupy":
                timing.made_side_by_side({(n, who): one for n, theirs in contenders.items() for who, one in theirs.items()})
            for name, theirs in contenders.items():
                rows += measure(name, SIZES[name], theirs, rounds)
    return rows


def measure(name: str, size: Size, contenders: dict, rounds: int) -> list[list[str]]:
    """Return the table's rows for one size, checked, timed and weighed."""
    peaks = {who: contender.ask("peak") for who, contender in contenders.items() if not who.endswith("product")}
    check({who: contenders[who].ask("check") for who in peaks})
    taken = timing.interleaved(contenders, rounds)
    for contender in contenders.values():
        contender.stop()
    medians = {who: statistics.median(times) for who, times in taken.items()}
    reference = medians.get(EAGER)
    rows = []
    for who, median in medians.items():
        product = who.endswith("product")
        work = 2 * PEAK_WIDTH**3 if product else size.operations()
        ratio = f"{median / reference:.2f}" if reference and not product else "-"
        peak = "-" if product else f"{peaks[who]:.0f}"
        rows.append([name, who, timing.spread(taken[who]), ratio, f"{work / median / 1e6:.0f}", peak])
    return rows


def start(size: Size, library: str, folder: str) -> dict:
    """Start all contenders that this machine can run; the peers read our weights from `folder`, and nothing else of ours."""
    import our_step  # these three here, so that no contender's process imports another's libraries
    import torch_peers

    from minimapnet.kernels import pool

    contenders = {OURS: timing.Process(our_step.OurStep, size, library)}
    device = backends.device(library)
    model = size.model()
    model.save_pretrained(folder)  # which makes the folder
    numpy.savez(f"{folder}/params.npz", **model.params)
    peers = {
        EAGER: (torch_peers.EagerStep,),
        "(a+) as (a), last layer at masked places": (torch_peers.EagerRowsStep,),
        "(b) BertForMaskedLM": (torch_peers.HuggingFaceStep,),
    }
    if device == "cuda":
        peers |= {
            "(c) torch.compile of (a+)": (torch_peers.CompiledStep,),
            "(a+) in TF32": (torch_peers.EagerRowsStep, True),
            "(c) in TF32": (torch_peers.CompiledStep, True),
        }
    for who, (peer, *options) in peers.items():
        contenders[who] = timing.Process(peer, size, folder, pool.threads(), device, *options)
    if library == "numpy":
        contenders["NumPy matrix product"] = timing.Process(our_step.NumpyProduct, PEAK_WIDTH)
        contenders["PyTorch matrix product"] = timing.Process(torch_peers.TorchProduct, PEAK_WIDTH, pool.threads())
    return contenders


def check(results: dict) -> None:
    """Stop unless all contenders give the same loss and gradient norm to 1e-4."""
    loss, norm = results[OURS]
    for who, (other_loss, other_norm) in results.items():
        near = 1e-2 if who.endswith("TF32") else 1e-4  # ten bits of fraction
        if abs(other_loss - loss) > near * abs(loss) or abs(other_norm - norm) > near * norm:
            sys.exit(f"{who} does not compute the same: loss {other_loss} and {loss}, norm {other_norm} and {norm}")
    print(f"same loss {loss:.5f} and gradient norm {norm:.5f} for {len(results)} contenders", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(ON_CPU))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--backend", choices=backends.NAMES, default="numpy")
    arguments = parser.parse_args()
    rows = all_sizes(arguments.sizes, arguments.backend, arguments.rounds)
    print(", ".join(f"{library} {version(library)}" for library in ("numpy", "torch", "transformers")) + "\n")
    print(timing.table(["size", "contender", "ms (quartiles)", "of (a)", "GFLOP/s", "peak MiB"], rows))


if __name__ == "__main__":
    main()
