"""What one training step asks of the device: kernels, copies, waits, and how long the device itself was at work.

    python benchmarks/gpu_launches.py --sizes tiny small

Counted by CUDA's own profiling interface through torch.profiler, which sees all of a process, CuPy's kernels too. A step is
the gradient from host arrays, with AdamW; with sequence norms; and the draw and the learning of a MAPNet pool. TFLOP/s are
the operations of `step.py` over the step's time. Bandwidth is that of a copy on the device, bytes read and written.
"""

import argparse
import statistics
import time

import backends
import mapnet
import step
import timing

from minimapnet import backend

PARTS = {
    "step": mapnet.Contest.training_step,
    "step with norms": mapnet.Contest.training_step_with_norms,
    "pool: draw": mapnet.Contest.draw_pool,
    "pool: learn": mapnet.Contest.learn_pool,
}


def count(work) -> list[str]:
    """Return kernels, copies, waits and the device's busy milliseconds of one call, as cells."""
    if backend.name != "cupy":
        work()
        return ["-"] * 4
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        work()
        backends.synchronize()
    on_device = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    copies = [event for event in on_device if event.name.startswith(("Memcpy", "Memset"))]
    waits = [event for event in seen.events() if "Synchronize" in event.name]
    busy = sum(event.time_range.elapsed_us() for event in on_device) / 1e3
    return [str(len(on_device) - len(copies)), str(len(copies)), str(len(waits) - 1), f"{busy:.2f}"]


def milliseconds(work) -> float:
    """Return the median of nine calls, after two."""
    times = []
    for turn in range(-2, 9):
        start = time.perf_counter()
        work()
        backends.synchronize()
        if turn >= 0:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure(name: str) -> list[list[str]]:
    """Return the table's rows for one size."""
    contest, rows = mapnet.Contest(step.SIZES[name]), []
    for what, method in PARTS.items():
        work = lambda method=method: method(contest)  # noqa: E731
        took = milliseconds(work)
        rate = f"{step.SIZES[name].operations() / took / 1e9:.2f}" if what.startswith("step") else "-"
        rows.append([name, what, f"{took:.2f}", rate, *count(work)])
    return rows


def bandwidth() -> str:
    """Return what a copy of 1 GiB on the device moves, in GB/s."""
    if backend.name != "cupy":
        return "-"
    xp = backend.xp
    a, b = xp.empty(1 << 28, "float32"), xp.empty(1 << 28, "float32")
    return f"{2 * a.nbytes / milliseconds(lambda: xp.copyto(b, a)) / 1e6:.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=step.SIZES, default=["small"])
    parser.add_argument("--backend", choices=backends.NAMES, default="cupy")
    arguments = parser.parse_args()
    backends.use(arguments.backend)
    rows = [row for name in arguments.sizes for row in measure(name)]
    print(timing.table(["size", "what", "ms", "TFLOP/s", "kernels", "copies", "waits", "device busy, ms"], rows))
    print(f"\nA copy on the device moves {bandwidth()} GB/s.")


if __name__ == "__main__":
    main()
