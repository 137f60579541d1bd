"""Exact gradient norms: what they cost beside a plain step, and beside PyTorch's ways to the same numbers.

    python benchmarks/norms.py                 all parts (about a quarter of an hour on 2 cores)
    python benchmarks/norms.py tokens --rounds 5
    python benchmarks/norms.py growth --plot benchmarks/norms.png

    sequences   a training step that gives per-sequence norms too, beside the plain step; Opacus' ghost mode beside its own
                plain step (untied, where Opacus is installed)
    tokens      per-token norms beside torch.func (vmap of grad, and vmap of the pullback), and a loop of autograd calls;
                the peers' chunk is the fastest of several; all must give the same sum of norms
    growth      per-token norms as K, T, layers and width grow, beside the operations that are predicted

Needs `pip install -e .[oracle]`. Contenders run in processes of their own, in turns; medians, with quartiles.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version

import backends
import numpy
import timing
from step import ON_CPU, SIZES, Size

TOKEN_SIZES = {"tiny": Size(56, 64, 128, 2, 4, 8, 10), "small": Size(8192, 128, 256, 4, 4, 4, 19)}
BASE = Size(2048, 64, 128, 3, 4, 4, 8)
GROWTH = {
    "K, masked tokens": [replace(BASE, masked_tokens=k) for k in (1, 2, 4, 8, 16, 32)],
    "T, tokens": [replace(BASE, tokens=t) for t in (16, 32, 64, 128, 256)],
    "layers": [replace(BASE, layers=n) for n in (1, 2, 3, 4, 6, 8)],
    "C, width": [replace(BASE, width=c) for c in (32, 64, 128, 256, 384)],
}


def sequences(rounds, library):
    """A step with per-sequence norms beside the plain step."""
    import norm_peers  # here and below, so that no contender's process imports another's libraries
    import our_step

    rows = []
    for name, size in SIZES.items():
        if name not in ON_CPU and library != "cupy":
            continue
        functions = ("gradients", "gradients_and_norms")
        pairs = {"minimapnet": [timing.Process(our_step.OurNorms, size, function, library) for function in functions]}
        if library == "numpy" and importlib.util.find_spec("opacus"):
            ghost, plain = (timing.Process(norm_peers.UntiedStep, size, threads(), ghost) for ghost in (True, False))
            pairs["Opacus ghost mode, untied"] = [plain, ghost]
        contenders = {(who, i): process for who, pair in pairs.items() for i, process in enumerate(pair)}
        peaks, _, taken = run(contenders, rounds)
        for who in pairs:
            plain, norms = taken[who, 0], taken[who, 1]
            ratio = statistics.median(norms) / statistics.median(plain)
            extra = peaks[who, 1] - peaks[who, 0]
            rows.append([name, who, timing.spread(plain), timing.spread(norms), f"{ratio:.2f}", f"{extra:.0f}"])
    print(timing.table(["size", "who", "plain step, ms", "with norms, ms", "ratio", "extra MiB"], rows))


def tokens(rounds, library):
    """Per-token norms beside PyTorch's."""
    import norm_peers
    import our_step

    peers = {
        "(a) vmap of grad": norm_peers.VmapOfGrad,
        "(a+) as (a), last layer at masked places": norm_peers.VmapOfGradRows,
        "(b) as (a+), vmap of the pullback": norm_peers.VmapOfPullback,
        "(c) loop of autograd": norm_peers.AutogradLoop,
    }
    rows = []
    for name, size in TOKEN_SIZES.items():
        contenders = {"minimapnet": timing.Process(our_step.OurNorms, size, "token_gradient_norms", library)}
        with tempfile.TemporaryDirectory() as folder:
            numpy.savez(f"{folder}/params.npz", **size.model().params)
            place = threads(), backends.device(library)
            contenders |= {who: timing.Process(peer, size, folder, *place) for who, peer in peers.items()}
            for process in contenders.values():
                process.ask("check")  # which makes them, and lets the peers find their chunks
        peaks, sums, taken = run(contenders, rounds)
        if max(sums.values()) - min(sums.values()) > 1e-4 * sums["minimapnet"]:
            sys.exit(f"the norms differ: {sums}")
        ours = statistics.median(taken["minimapnet"])
        for who, times in taken.items():
            ratio = f"{statistics.median(times) / ours:.2f}"
            rows.append([name, who, timing.spread(times), ratio, f"{peaks[who]:.0f}"])
    print(timing.table(["size", "who", "ms (quartiles)", "times ours", "peak MiB"], rows))


def run(contenders, rounds):
    """Return each contender's peak memory in MiB, its first answer, and its times in ms; then stop them."""
    peaks = {who: process.ask("peak") for who, process in contenders.items()}
    answers = {who: process.ask("check")[0] for who, process in contenders.items()}
    taken = timing.interleaved(contenders, rounds)
    for process in contenders.values():
        process.stop()
    return peaks, answers, taken


def threads() -> int:
    from minimapnet.kernels import pool

    return pool.threads()


def predicted(size: Size) -> float:
    """Count the operations of the matrix products of token_gradient_norms."""
    from minimapnet.gradient_norms.ghost_norm import BANDS

    B, T, C, K, L, V = size.sentences, size.tokens, size.width, size.masked_tokens, size.layers, size.vocabulary
    rows = (L - 1) * T + K  # of a sentence through what follows attention: in the last layer the masked places alone
    forward = B * (L * (3 * T * C * C + 2 * T * T * C) + rows * 9 * C * C + K * V * C)
    head = 2 * B * K * C * V
    top = B * K * (12 * C * C + 5 * size.heads * T * C)
    factor = T * C if T > C else T * T * (BANDS + 1) / (2 * BANDS)  # a triangle goes by bands, without most of its zeros
    dense = B * K * (L - 1) * (12 * T * C * C + 4 * T * T * C + 9 * factor * C)  # inputs, attention, norms
    terms = 2 * size.heads + 1  # the end of the topmost dense layer goes back as so many outer products, not as T rows
    spared = B * K * (4 * T * C * C - 4 * terms * C * C - 7 * terms * T * C) - B * 4 * T * C * C if L > 1 else 0
    return 2.0 * (forward + head + top + dense - spared)


def growth(rounds, library, plot):
    """How time grows with K, T, layers and width."""
    import our_step

    rows, curves = [], {}
    for name, sizes in GROWTH.items():
        contenders = {
            i: timing.Process(our_step.OurNorms, size, "token_gradient_norms", library) for i, size in enumerate(sizes)
        }
        _, _, taken = run(contenders, rounds)
        field = {"K": "masked_tokens", "T": "tokens", "l": "layers", "C": "width"}[name[0]]
        curves[name] = []
        for i, size in enumerate(sizes):
            value, ms, work = getattr(size, field), statistics.median(taken[i]), predicted(size)
            curves[name].append((value, ms, work))
            rows.append([name, str(value), timing.spread(taken[i]), f"{work / 1e9:.2f}", f"{work / ms / 1e6:.0f}"])
    print(timing.table(["growing", "value", "ms (quartiles)", "predicted GFLOP", "GFLOP/s"], rows))
    if plot:
        draw(curves, plot)


def draw(curves, path):
    """Draw measured times beside the predicted operations, at the machine's best rate of the series."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(13, 4), sharey=True, layout="constrained")
    best = max(work / ms for points in curves.values() for _, ms, work in points)  # operations a millisecond
    for axis, (name, points) in zip(axes, curves.items(), strict=True):
        values, times, work = (numpy.array(column, float) for column in zip(*points, strict=True))
        axis.loglog(values, times, "o-", color="#0072B2", label="measured")
        axis.loglog(values, work / best, "s--", color="#D55E00", label=f"predicted operations at {best / 1e6:.0f} GFLOP/s")
        axis.set_xticks(values, [f"{value:g}" for value in values], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("time, ms")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    base = f"K {BASE.masked_tokens}, T {BASE.tokens}, {BASE.layers} layers, C {BASE.width}"
    figure.suptitle(f"Exact token norms: the larger the model, the nearer to the predicted operations (others at {base})")
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["sequences", "tokens", "growth"], metavar="PART")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each contender (default 9)")
    parser.add_argument("--backend", choices=backends.NAMES, default="numpy")
    parser.add_argument("--plot", help="where to write the figure of the part `growth` (default: nowhere)")
    arguments = parser.parse_args()
    print(", ".join(f"{library} {version(library)}" for library in ("numpy", "torch")) + "\n")
    for part in arguments.parts:
        if part == "growth":
            growth(arguments.rounds, arguments.backend, arguments.plot)
        elif part in ("sequences", "tokens"):
            {"sequences": sequences, "tokens": tokens}[part](arguments.rounds, arguments.backend)
        else:
            parser.error(f"unknown part {part!r}: choose from sequences, tokens, growth")
        print()


if __name__ == "__main__":
    main()
