"""Two checkouts of LastBit beside each other: calls of the engines by turns, in pairs, each case with its interval.

    python bench/pairs.py BEFORE_CHECKOUT [AFTER_CHECKOUT] [--pairs 11] [--only 640x128 ...] [-o figures.json]

Each checkout runs in a process of its own, from its `src`, with the same Python. A figure is BEFORE's processor time
over AFTER's: above 1, AFTER is faster. A pair is one turn of each; who is first changes. The exit code is 1 where the
geometric mean is below 0.99, or the whole 95 % interval of a case below 0.95. It takes about six minutes. Processor
time counts, so other work on the machine disturbs only as far as it takes caches and clock.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import engine
import numpy as np

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")
BATCHES = (1, 256)
TURN_SECONDS = 0.03
LEAST_MEAN, LEAST_CASE = 0.99, 0.95

# Runs in either checkout, and knows public names only: "model runtime engine batch" -> seconds of one call, in a turn.
WORKER = """
import sys, time, numpy as np, lastbit
calls = {}
def prepare(path, runtime, engine, batch):
    model = lastbit.load(path)
    build = lastbit.build(model, runtime, engine=engine)
    tensor = model.inputs[0]
    shape, rng = (batch, *tensor.shape[1:]), np.random.default_rng(0)
    kind = np.dtype(tensor.dtype.numpy)
    real = kind.kind == "f"
    x = rng.normal(size=shape) if real else rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape)
    x = x.astype(kind)
    build(x)
    begun = time.perf_counter()
    build(x)
    once = time.perf_counter() - begun
    return build, x, max(int(float(sys.argv[1]) / max(once, 1e-7)), 1)
for line in sys.stdin:
    path, runtime, engine, batch = line.rstrip("\\n").split("\\t")
    try:
        if line not in calls:
            calls.clear()
            calls[line] = prepare(path, runtime, engine, int(batch))
        call, x, count = calls[line]
    except lastbit.UnsupportedError:
        print("refused", flush=True)
        continue
    begun = time.thread_time()
    for _ in range(count):
        call(x)
    print((time.thread_time() - begun) / count, flush=True)
"""


@dataclass(frozen=True)
class Case:
    """What is called: a model, in a runtime's arithmetic, in an engine, with a batch."""

    name: str
    path: str
    runtime: str
    engine: str
    batch: int

    @property
    def line(self) -> str:
        """What a worker reads."""
        return f"{self.path}\t{self.runtime}\t{self.engine}\t{self.batch}\n"


@dataclass(frozen=True)
class Ratio:
    """A case's pairs: the geometric mean of BEFORE over AFTER and its 95 % interval."""

    mean: float
    low: float
    high: float


class Worker:
    """A checkout's process."""

    def __init__(self, checkout: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
        environment |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER, str(TURN_SECONDS)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self, case: Case) -> float | None:
        """Processor seconds of one call; None where the runtime refuses the model."""
        to, of = _pipes(self._process)
        to.write(case.line)
        to.flush()
        answer = of.readline().strip()
        if not answer:
            raise SystemExit(f"a worker died at {case}")
        return None if answer == "refused" else float(answer)


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def import_seconds(checkout: Path) -> float:
    """Processor seconds that a process takes to import LastBit."""
    code = "import resource, lastbit; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    return float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)


def ratio_of(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """The geometric mean of pairs, with Student's interval of their logarithms."""
    logs = [math.log(a / b) for a, b in zip(before, after, strict=True)]
    free = len(logs) - 1
    z = statistics.NormalDist().inv_cdf(0.975)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    mean, half = statistics.fmean(logs), t * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(*(math.exp(v) for v in (mean, mean - half, mean + half)))


def cases(folder: Path, only: list[str]) -> list[Case]:
    """The models of bench/engine.py, written to a folder."""
    found = []
    for name, model, batches in engine.cases(only):
        path = folder / f"{name.replace(' ', '_')}.tflite"
        path.write_bytes(model.content)
        for batch in BATCHES:
            if batch in batches:
                found += [Case(name, str(path), runtime, "jit", batch) for runtime in RUNTIMES]
        found.append(Case(name, str(path), "litert-reference", "numpy", 16))
    return found


def main() -> int:
    """Print a line for each case, and whether all hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    checkouts = arguments.before.resolve(), arguments.after.resolve()
    print("| case | batch | runtime | engine | before | after | before / after | 95 % interval |")
    print("|---|---:|---|---|---:|---:|---:|---|", flush=True)
    results: dict[str, Ratio] = {}
    with tempfile.TemporaryDirectory() as folder:
        workers = [Worker(checkout) for checkout in checkouts]
        for case in cases(Path(folder), arguments.only):
            times: tuple[list[float], list[float]] = ([], [])
            if any(worker.turn(case) is None for worker in workers):
                continue
            for number in range(arguments.pairs):
                for at in (0, 1) if number % 2 else (1, 0):
                    seconds = workers[at].turn(case)
                    assert seconds is not None
                    times[at].append(seconds)
            label = f"| {case.name} | {case.batch} | {case.runtime} | {case.engine} |"
            results[label] = show(label, times)
    mean = math.exp(statistics.fmean(math.log(ratio.mean) for ratio in results.values()))
    imports = [[import_seconds(checkout) for checkout in checkouts] for _ in range(arguments.pairs)]
    label = "| import lastbit | | | |"
    results[label] = show(label, ([a for a, _ in imports], [b for _, b in imports]))
    slower = [label for label, ratio in results.items() if ratio.high < LEAST_CASE]
    print(f"\n{len(results)} cases, {arguments.pairs} pairs each; geometric mean of engines {mean:.3f}")
    print(f"slower: {', '.join(slower) or 'none'}")
    if arguments.output:
        arguments.output.write_text(json.dumps({label: vars(ratio) for label, ratio in results.items()}, indent=1))
    return int(mean < LEAST_MEAN or bool(slower))


def show(label: str, times: tuple[list[float], list[float]]) -> Ratio:
    """Print a case's line."""
    ratio, medians = ratio_of(*times), [np.median(part) for part in times]
    milliseconds = " | ".join(f"{1000 * median:.3f} ms" for median in medians)
    print(f"{label} {milliseconds} | {ratio.mean:.3f} | {ratio.low:.3f} .. {ratio.high:.3f} |", flush=True)
    return ratio


if __name__ == "__main__":
    sys.exit(main())
