"""How well `lastbit diagnose` names mistakes in models of several layers and in hybrid layers, printed as a table.

    python bench/diagnose_recall_models.py [--networks 200] [--hybrid 200] [--right 60]

A mistake is made in all layers of a random network that can have it, or in one of them, in some runtime's arithmetic,
and the model's output alone is diagnosed. "named": the first answer is this mistake; "the same function": it is another
that prints the same for fresh inputs. Left out is what prints the right output of some runtime. Hybrid layers: one
mistake, or two, and the output is rounded to float32 with its last bits disturbed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from user_layers import _DENSE_OPTIONS, _chained  # noqa: E402

import lastbit  # noqa: E402
from lab.cases.operators import Operand  # noqa: E402
from lastbit.layers.mistakes import applicable  # noqa: E402
from lastbit.layers.mistakes.hybrid import calculate  # noqa: E402
from lastbit.model.graph import Model  # noqa: E402
from lastbit.model.tflite import write  # noqa: E402
from lastbit.model.tflite.synthesize import dense_subgraph, quant  # noqa: E402
from lastbit.verbs.diagnose import hybrid as hybrid_search  # noqa: E402
from lastbit.verbs.diagnose.layer import How  # noqa: E402
from lastbit.verbs.diagnose.whole_model import whole_models  # noqa: E402

NOTHING = "nothing to find"


def network(seed: int) -> Model:
    """Two to four dense layers with a ReLU between them; per-tensor and per-channel in turn."""
    rng = np.random.default_rng([77, seed])
    sizes = [int(n) for n in rng.choice([10, 16, 24, 40], int(rng.integers(3, 6)))]
    scale, zero = float(rng.uniform(0.01, 0.05)), int(rng.integers(-20, 20))
    operands = [Operand((1, sizes[0]), "int8", scale, zero)]
    operators = []
    for layer, (depth, units) in enumerate(itertools.pairwise(sizes)):
        last = layer == len(sizes) - 2
        channels = units if seed % 2 else 1
        scale_w = rng.uniform(0.004, 0.02, channels).astype(np.float32)
        scale_y = scale * float(np.median(scale_w)) * 74 * (74 if layer == 0 else 60) * depth**0.5 / 45
        zero_y = int(rng.integers(-60, 30)) if last else int(rng.choice([-128, -128, -100]))
        first = len(operands)
        operands += [
            Operand((units, depth), "int8", scale_w, 0, rng.integers(-127, 128, (units, depth))),
            Operand((units,), "int32", np.float32(scale) * scale_w, 0, rng.integers(-3000, 3000, units)),
            Operand((1, units), "int8", scale_y, zero_y),
        ]
        options = _DENSE_OPTIONS | {"fused_activation_function": "NONE" if last else "RELU"}
        operators.append(("FULLY_CONNECTED", (first - 1, first, first + 1), first + 2, options))
        scale, zero = scale_y, zero_y
    return lastbit.load(write(_chained(operands, operators)))


def samples(model: Model, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random inputs, half of them near the zero point."""
    x = rng.integers(-128, 128, (count, model.inputs[0].shape[1]))
    x[::2] = np.clip(x[::2] // 6, -128, 127)
    return x.astype(np.int8)


def in_network(seed: int) -> tuple[str, float, str]:
    """One mistake in all layers that can have it, or in one: outcome, seconds, what was said."""
    rng = np.random.default_rng([5, seed])
    model = network(seed)
    x, fresh = samples(model, 64, rng), samples(model, 200, rng)
    tensor, index = model.outputs[0].index, model.inputs[0].index
    every = [one.on({index: x}) for one in whole_models(model, None, tensor)]
    chosen = every[int(rng.integers(len(every)))]
    usable = {op: [m.name for m in applicable(layer)] for op, layer in chosen.layers.items()}
    name = str(rng.choice(sorted({n for names in usable.values() for n in names})))
    where = [op for op, names in usable.items() if name in names]
    where = where if seed % 3 else [int(rng.choice(where))]
    made = dict.fromkeys(where, (name,))
    with np.errstate(all="ignore"):
        wrong = chosen.output(made, tensor)
        if any(np.array_equal(one.tensors[tensor], wrong) for one in every):
            return NOTHING, 0.0, name
        start = time.process_time()
        report = lastbit.diagnose(model, x, wrong)
        seconds = time.process_time() - start
        said = f"{name} in {where}: " + (str(report.in_short()[0]))
        if not getattr(report, "sets", None):
            return "missed", seconds, said
        best = report.sets[0]
        if set(best.mistakes) == {name}:
            return "named", seconds, said
        again = chosen.on({index: fresh})
        if np.array_equal(again.output(made, tensor), again.output(best.made, tensor)):
            return "the same function", seconds, said
        told = any(set(one.mistakes) == {name} for one in report.sets)
    return "a tie, told" if told else "another that fits", seconds, said


def right_network(seed: int) -> tuple[str, float, str]:
    """A runtime's own output."""
    rng = np.random.default_rng([6, seed])
    model = network(seed)
    x = samples(model, 64, rng)
    every = whole_models(model, None, model.outputs[0].index)
    one = every[int(rng.integers(len(every)))].on({model.inputs[0].index: x})
    report = lastbit.diagnose(model, x, one.tensors[model.outputs[0].index])
    return ("named" if report.right else "false alarm"), 0.0, one.runtime


def hybrid(seed: int) -> Model:
    """A hybrid layer: int8 or int4 weights, with or without a bias and a ReLU."""
    rng = np.random.default_rng([78, seed])
    four = seed % 4 == 3
    units, depth = int(rng.choice([5, 9, 16])), int(rng.choice([16, 30, 32, 51]))
    weights = rng.integers(-8 if four else -127, 8 if four else 128, (units, depth))
    scale = rng.uniform(0.004, 0.02, units if seed % 2 else 1)
    bias = rng.normal(size=units).astype(np.float32) if seed % 5 else None
    return lastbit.load(
        write(
            dense_subgraph(
                weights, input_quant=None, weights_quant=quant(scale), output_quant=None, bias=bias,
                input_dtype="float32", weights_dtype="int4" if four else "int8", bias_dtype="float32",
                activation="RELU" if seed % 7 == 2 else "NONE",
            )
        )
    )  # fmt: skip


def in_hybrid(seed: int) -> tuple[str, float, str]:
    """One mistake, or two, in a hybrid layer."""
    rng = np.random.default_rng([9, seed])
    model = hybrid(seed)
    layers = hybrid_search.hybrid_layers(model, model.operators[0], How())
    layer = next(iter(layers.values())).layer
    x = (rng.normal(size=(24, layer.depth)) * rng.choice([0.5, 4.0], (24, 1))).astype(np.float32)
    search = hybrid_search._Search("", layers, next(iter(layers)), x, np.zeros((24, layer.units)), "", 3)
    bases = search._bases()
    base = bases[str(rng.choice(sorted(bases)))]
    usable = hybrid_search._telling(base)
    picked = [usable[int(k)] for k in rng.permutation(len(usable))[: 1 + (seed % 3 == 2)]]
    by_slot = {mistake.slot: mistake for mistake in picked}
    wanted = {mistake.name for mistake in by_slot.values()}
    y = calculate(base, by_slot).y
    assert y is not None
    wrong = (y * (1 + rng.uniform(-1, 1, y.shape) * 2.0**-23)).astype(np.float32)
    smaller = [{}] + ([{m.slot: m} for m in by_slot.values()] if len(by_slot) > 1 else [])
    if any(np.allclose(calculate(b, s).y, y, 1e-5, 1e-6) for s in smaller for b in bases.values()):
        return NOTHING, 0.0, ", ".join(wanted)
    start = time.process_time()
    report = lastbit.diagnose(model, x, wrong)
    seconds = time.process_time() - start
    said = f"{', '.join(sorted(wanted))}: {report.in_short()[0]}"
    if not report.explanations:
        return "missed", seconds, said
    if {m.name for m in report.mistakes} == wanted:
        return "named", seconds, said
    told = any(set(one.mistakes) == wanted for one in report.explanations)
    return "a tie, told" if told else "another that fits", seconds, said


def right_hybrid(seed: int) -> tuple[str, float, str]:
    """A runtime's own output, and NumPy's in another order of summation."""
    rng = np.random.default_rng([10, seed])
    model = hybrid(seed)
    layers = hybrid_search.hybrid_layers(model, model.operators[0], How())
    name = str(rng.choice(sorted(layers)))
    entry = layers[name]
    x = rng.normal(size=(16, entry.layer.depth)).astype(np.float32)
    output = entry.evaluate([x])["output"]
    if seed % 2:
        rows = entry.quantize(entry.rows, x)
        real = (rows.quantized - rows.zero_point[:, None]) * rows.scale[:, None]
        weights = entry.layer.weights_values * np.broadcast_to(entry.weights_scale, (entry.layer.units,))[:, None]
        output = np.zeros(output.shape, np.float32)
        for k in rng.permutation(x.shape[1]):
            output += (real[:, k : k + 1] * weights[:, k]).astype(np.float32)
        output = output + (0 if entry.bias is None else entry.bias)
        output = np.maximum(output, 0) if entry.layer.activation == "RELU" else output
    report = lastbit.diagnose(model, x, output.astype(np.float32))
    return ("named" if report.verdict in ("right", "form") else "false alarm"), 0.0, f"{name}: {report.in_short()[0]}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--hybrid", type=int, default=200)
    parser.add_argument("--right", type=int, default=60)
    parser.add_argument("--failures", action="store_true", help="print what was not found")
    args = parser.parse_args()
    parts: tuple[tuple[str, Callable[[int], tuple[str, float, str]], int], ...] = (
        ("right networks", right_network, args.right),
        ("networks, one mistake", in_network, args.networks),
        ("right hybrid layers", right_hybrid, args.right),
        ("hybrid, one or two mistakes", in_hybrid, args.hybrid),
    )
    heads = ("injected", "tried", "found", "named", "the same function", "a tie, told", "fits, other", "missed")
    print("| " + " | ".join((*heads, "false alarms", "largest time")) + " |\n|---" + "|---:" * 9 + "|")
    for what, tried, count in parts:
        outcomes: Counter[str] = Counter()
        longest = 0.0
        for seed in range(count):
            outcome, seconds, said = tried(seed)
            outcomes[outcome] += 1
            longest = max(longest, seconds)
            if args.failures and outcome not in ("named", "the same function", NOTHING):
                print(f"    {seed}: {outcome}: {said}", file=sys.stderr)
        total = outcomes.total() - outcomes[NOTHING]
        found = outcomes["named"] + outcomes["the same function"] + outcomes["a tie, told"]
        row = [what, total, f"{100 * found / max(total, 1):.1f} %", outcomes["named"], outcomes["the same function"]]
        row += [outcomes["a tie, told"], outcomes["another that fits"], outcomes["missed"], outcomes["false alarm"]]
        print("| " + " | ".join(str(cell) for cell in (*row, f"{longest:.1f} s")) + " |", flush=True)


if __name__ == "__main__":
    main()
