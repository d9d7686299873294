"""LastBit's engines beside the real interpreters: layers of many shapes, two autoencoders and the keyword spotter.

    python bench/engine.py [--quick] [--cpu] [--threads N] [--only 640x128 autoencoder ...] [-o figures.json]

Every figure is a ratio of two medians from one process in which both were timed by turns. Whole run: about seven
minutes on a quiet machine; --quick takes the smaller half of it. --cpu counts processor time of the thread instead of
the clock's, for a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from lastbit.model.graph import Model
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.tflite.writer import write
from lastbit.verbs.bench.measure import by_turns
from lastbit.verbs.bench.peers import contenders
from lastbit.verbs.bench.report import BenchReport, time_text
from lastbit.verbs.bench.verb import BATCHES, bench, random_input
from lastbit.verbs.evaluate.verb import evaluate
from lastbit.verbs.run.verb import load

MODELS = Path(__file__).parents[2] / "shared" / "models"
SHAPES = ((640, 128), (128, 128), (784, 512), (1024, 1024), (4096, 4096))
WHOLE = {
    "autoencoder": "mlt_toycar_fullint_micro_v01",
    "keyword spotter": "arm_kws_dnn_s",
    "hybrid autoencoder": "mlt_toycar_quant_v01bench",
}
# What a call of the largest shape takes is left out where nothing new would be learnt from it.
MOST_PRODUCTS = 4096 * 4096 * 256


def dense(depth: int, units: int) -> Model:
    """A dense layer with a weights scale for each unit."""
    rng = np.random.default_rng(0)
    graph = dense_subgraph(
        rng.integers(-127, 128, (units, depth)).astype(np.int8),
        input_quant=quant(0.02, 3),
        weights_quant=quant(rng.uniform(0.002, 0.01, units)),
        output_quant=quant(0.004 * float(np.sqrt(depth)), -5),
        bias=rng.integers(-2000, 2000, units),
    )
    return load(write(graph))


def cases(only: list[str]) -> list[tuple[str, Model, list[int]]]:
    """Name, model and batches of what is asked for."""
    found = []
    for depth, units in SHAPES:
        batches = [batch for batch in BATCHES if depth * units * batch <= MOST_PRODUCTS]
        found.append((f"{depth}x{units}", dense(depth, units), batches))
    for name, file in WHOLE.items():
        path = MODELS / f"{file}.tflite"
        if path.exists():
            found.append((name, load(path), list(BATCHES)))
    return [case for case in found if not only or case[0] in only]


def table(reports: dict[str, BenchReport]) -> str:
    """Our speed in multiples of the real interpreters', as Markdown."""
    lines = [
        "| case | batch | time | GOPS | of peak | LiteRT rule | builtin rule | reference rule | TFLM rule | x TFLM |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, report in reports.items():
        for batch in dict.fromkeys(row.batch for row in report.rows):
            ours = {row.name.split("-")[-1].split()[-1]: row for row in report.rows if row.batch == batch and row.ours}
            first = next(iter(ours.values()))
            rate = report.rate(first)
            share = "-" if report.peak is None else f"{100 * rate / report.peak / report.threads:.0f} %"
            # A rule that has no such layers has no row.
            columns = (first, ours.get("x86"), ours.get("reference"), ours.get("tflm"))
            ratios = [f"{row.to_default:.2f}" if row and row.to_default else "-" for row in columns]
            micro = ours.get("tflm")
            times = f"{micro.to_real:.0f}" if micro is not None and micro.to_real else "-"
            lines.append(
                f"| {name} | {batch} | {time_text(first.seconds)} | {rate / 1e9:.0f} | {share} | "
                f"{' | '.join(ratios)} | {times} |"
            )
    return "\n".join(lines)


def evaluation(rows: int = 100_000) -> str:
    """How long a data set takes in TensorFlow Lite Micro's arithmetic, beside its own interpreter."""
    path = MODELS / f"{WHOLE['autoencoder']}.tflite"
    model = load(path)
    micro = next(c for c in contenders(model, ["tflm"], "jit", 1) if c.name == "TensorFlow Lite Micro").make(1)
    assert micro is not None
    few = random_input(model, 300, np.random.default_rng(0))
    each = by_turns([lambda: micro(few)], 1.0)[0] / len(few)
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "x.npy")
        np.save(data, random_input(model, rows, np.random.default_rng(1)))
        seconds = evaluate(path, data, runtimes=["tflm"], engine="jit").seconds
    return (
        f"lastbit evaluate, autoencoder, {rows:,} rows in TFLM's arithmetic: {seconds:.1f} s, so "
        f"{1e6 * seconds / rows:.0f} s for a million; TFLM's interpreter alone: {1e6 * each:.0f} s for a million"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    reports = {}
    for name, model, batches in cases(arguments.only):
        print(f"{name} ...", flush=True)
        reports[name] = bench(
            model,
            batches=batches,
            threads=arguments.threads,
            seconds=4.0 if arguments.quick else 9.0,
            clock=time.thread_time if arguments.cpu else time.perf_counter,
            memory=not arguments.quick and name in WHOLE,
        )
        wrong = [row.name for row in reports[name].rows if row.same is False]
        assert not wrong, f"{name}: {wrong} differ from the real interpreter"
    first = next(iter(reports.values()))
    print(f"\n{first.cpu}; peak {(first.peak or 0) / 1e9:.0f} GOPS on one core; threads: {first.threads}\n")
    print(table(reports))
    print("\nThe columns of rules: LastBit's speed in that arithmetic, in multiples of LiteRT's default (XNNPACK).")
    print("x TFLM: its speed in TensorFlow Lite Micro's arithmetic, in multiples of TensorFlow Lite Micro's.")
    for name, report in reports.items():
        for what, size in report.memory.items():
            print(f"peak memory, {name}, {what}: {size / 2**20:.0f} MiB")
    if not arguments.only and not arguments.cpu:
        print(evaluation(), flush=True)
    if arguments.output:
        content = {name: report.as_dict() for name, report in reports.items()}
        Path(arguments.output).write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
