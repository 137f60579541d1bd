"""Everything that is to be seen on a GPU, by one command: `make gpu`.

    python benchmarks/gpu.py --out DIR             on a GPU (about five minutes); nothing needs to be installed
    python benchmarks/gpu.py --pretend --out DIR   the same on the tests' stand-in for CuPy, to rehearse it on any machine

Each part runs in processes of its own and within its own time; one that fails or takes too long is reported, and the rest
goes on. Written are gpu.json, with all that was printed, and gpu.md for RESULTS.md. Exit code 1 where a part failed, 2 where
no GPU works.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import backends

from minimapnet import InputError

ROOT = Path(__file__).parents[1]
SIZES = ("tiny", "small", "large", "base")


@dataclass(frozen=True)
class Part:
    """A command, and the seconds that it may take."""

    name: str
    command: tuple[str, ...]
    seconds: int


@dataclass(frozen=True)
class Outcome:
    """What came of a part: its exit code, None where its time ran out, and what it printed."""

    part: Part
    code: int | None
    seconds: float
    output: str

    @property
    def verdict(self) -> str:
        return {None: "out of time", 0: "passed"}.get(self.code, "FAILED")


def parts(backend: str, rounds: int) -> list[Part]:
    """Return all parts, the most telling first."""

    def script(name, *arguments):
        return (f"benchmarks/{name}.py", "--backend", backend, *map(str, arguments))

    pretend = backend == "strict"
    sizes = SIZES[:1] if pretend else SIZES
    marker, jobs = ("-k", "strict") if pretend else ("-m", "cupy", "--no-skips"), () if pretend else ("-n", "12")
    folders = ("tests/kernels", "tests/model/test_layers.py") if pretend else ("tests", "--ignore", "tests/tutorials")
    pytest = ("-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *marker, *jobs, *folders)
    return [
        Part("tests", pytest, 150),
        Part("agreement with the CPU", script("gpu_agreement", *(("--proposals", "uniform") if pretend else ())), 120),
        Part("launches", script("gpu_launches", "--sizes", *sizes), 60),
        Part("step", script("step", "--sizes", *sizes, "--rounds", rounds), 150),
        Part("MAPNet", script("mapnet", "--sizes", *sizes, "--rounds", rounds), 60),
        *(() if pretend else (Part("norms of tokens", script("norms", "tokens", "--rounds", rounds), 75),)),
    ]


def run(part: Part) -> Outcome:
    """Run a part, and show what it prints when it is done."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *part.command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, code = process.communicate(timeout=part.seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # its contenders with it
        output, code = process.communicate()[0], None
    return Outcome(part, code, time.monotonic() - started, output)


def about(backend: str) -> dict:
    """Return the device and the versions; raises InputError where no GPU works."""
    backends.use(backend)
    if backend != "cupy":
        return {"device": "none: the tests' stand-in"}
    import cupy

    card = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "device": card["name"].decode(),
        "compute_capability": f"{card['major']}.{card['minor']}",
        "memory_gib": round(card["totalGlobalMem"] / 2**30, 1),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cuda": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "cublas": cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle()),
    }


def markdown(machine: dict, outcomes: list[Outcome]) -> str:
    """Write the tables of all parts, under a line on the machine."""
    lines = [time.strftime("%Y-%m-%d") + ", " + ", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    for outcome in outcomes:
        lines += [f"### {outcome.part.name}: {outcome.verdict} ({outcome.seconds:.0f} s)", ""]
        lines += [f"`python {' '.join(outcome.part.command)}`", ""]
        lines += [line for line in outcome.output.splitlines() if line.startswith("|")] + [""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--pretend", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="the parts whose names begin so")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    backend = "strict" if arguments.pretend else "cupy"
    try:
        machine = about(backend)
    except InputError as error:
        print(f"make gpu: {error}", file=sys.stderr)
        sys.exit(2)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(machine, flush=True)
    chosen = parts(backend, 2 if arguments.pretend else arguments.rounds)
    if arguments.only:
        chosen = [part for part in chosen if part.name.startswith(tuple(arguments.only))]
    outcomes = []
    for part in chosen:
        outcome = run(part)
        outcomes.append(outcome)
        print(f"== {part.name}: {outcome.verdict} in {outcome.seconds:.0f} s\n{outcome.output[-2500:]}", flush=True)
        (arguments.out / "gpu.md").write_text(markdown(machine, outcomes))  # after each, in case that this is stopped
        results = {"machine": machine, "parts": [asdict(done) for done in outcomes]}
        (arguments.out / "gpu.json").write_text(json.dumps(results, indent=1))
    print("\n".join(f"{outcome.verdict:12} {outcome.part.name} ({outcome.seconds:.0f} s)" for outcome in outcomes))
    sys.exit(any(outcome.code != 0 for outcome in outcomes))


if __name__ == "__main__":
    main()
