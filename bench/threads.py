"""What two threads gain: LastBit's compiled engine beside LiteRT, in one process.

    python bench/threads.py [--threads N] [--seconds S] [--only 1024x1024 autoencoder ...]

Each figure is the median time of a call with one thread, divided by that with several. Everybody makes a few calls one
after the other, of which the first ones do not count, then the next has its turn: a thread that slept takes time
to reach its full speed. Calls below a millisecond are left out. About two minutes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from engine import cases

from lastbit.model.graph import Model
from lastbit.oracles import on_this_machine
from lastbit.verbs.bench.peers import contenders
from lastbit.verbs.bench.verb import random_input

BATCHES = {
    "784x512": (4096,),
    "1024x1024": (256, 4096),
    "4096x4096": (24, 48, 64, 100, 256),
    "autoencoder": (4096,),
    "keyword spotter": (4096,),
    "hybrid autoencoder": (4096,),
}
CALLS, NOT_COUNTED = 24, 8


def medians(calls: dict[object, Callable[[], object]], seconds: float) -> dict[object, float]:
    """The median time of each, in turns of a few calls."""
    times: dict[object, list[float]] = {key: [] for key in calls}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not all(times.values()):
        for key, call in calls.items():
            for number in range(CALLS):
                began = time.perf_counter()
                call()
                if number >= NOT_COUNTED:
                    times[key].append(time.perf_counter() - began)
    return {key: statistics.median(found) for key, found in times.items()}


def row(name: str, model: Model, batch: int, threads: int, seconds: float) -> str:
    """A line of the table; empty where a call takes less than a millisecond."""
    x = random_input(model, batch, np.random.default_rng(0))
    default = on_this_machine("litert-xnnpack")
    ours = (default, "tflm") if not name.startswith("hybrid") else (default,)
    calls: dict[object, Callable[[], object]] = {}
    for count in (1, threads):
        for contender in contenders(model, ours, "jit", count):
            call = contender.make(batch) if contender.ours or contender.name == "LiteRT" else None
            if call is not None:
                calls[contender.name, count] = lambda call=call: call(x)  # type: ignore[misc]
    found = medians(calls, seconds)
    names = ["LiteRT", *(f"LastBit {runtime}" for runtime in ours)]
    one = found[names[1], 1]
    if one < 1e-3:
        return ""
    gains = [f"{found[key, 1] / found[key, threads]:.2f}" for key in names]
    faster = found["LiteRT", threads] / found[names[1], threads]
    return f"| {name} | {batch} | {1e3 * one:.2f} ms | {' | '.join([*gains, '-'][:3])} | {faster:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each line")
    parser.add_argument("--only", nargs="*", default=list(BATCHES))
    arguments = parser.parse_args()
    print("| case | batch | one thread | LiteRT gains | LiteRT rule gains | TFLM rule gains | x LiteRT's threads |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, model, _ in cases(arguments.only):
        for batch in BATCHES[name]:
            print(row(name, model, batch, arguments.threads, arguments.seconds) or f"{name}, {batch}: below 1 ms")


if __name__ == "__main__":
    main()
