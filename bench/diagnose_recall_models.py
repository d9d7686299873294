"""How well `lastbit diagnose` names mistakes in models of several layers and in hybrid layers, printed as a table.

    python bench/diagnose_recall_models.py [--networks 200] [--hybrid 200] [--right 60] [--only PART] [--seed 0]

A mistake is made in all layers of a random network that can have it, or in one of them, in some runtime's arithmetic,
and the model's output alone is diagnosed. "named": the first answer is this mistake; "the same function": it is another
that prints the same for fresh inputs. Left out is what prints the right output of some runtime. Hybrid layers are
written by hand in float32 (`hybrid_by_hand.py`, `hybrid_windows_by_hand.py`), summed up in a random order, with one
mistake or two.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import hybrid_by_hand as by_hand  # noqa: E402
import hybrid_windows_by_hand as windows_by_hand  # noqa: E402
from user_layers import _DENSE_OPTIONS, _chained  # noqa: E402

import lastbit  # noqa: E402
from lab.cases.operators import Case, Operand  # noqa: E402
from lastbit.layers.mistakes import applicable  # noqa: E402
from lastbit.model.graph import Model  # noqa: E402
from lastbit.model.tflite import write  # noqa: E402
from lastbit.model.tflite.synthesize import dense_subgraph, quant  # noqa: E402
from lastbit.runtimes import RUNTIMES  # noqa: E402
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


@dataclass(frozen=True)
class ByHand:
    """A hybrid layer that is written by hand: its model, an input, and what can be wrong in it."""

    model: Model
    numbers: by_hand.Numbers
    x: np.ndarray
    shape: windows_by_hand.Shape | None = None

    @property
    def places(self) -> dict[str, str]:
        """Mistake -> its place in the calculation."""
        known = by_hand if self.shape is None else windows_by_hand
        return {name: known.PLACES[name] for name in known.MISTAKES}

    def output(self, wrong: tuple[str, ...], rng: np.random.Generator, both_ends: bool | None = None) -> np.ndarray:
        """What it prints with these mistakes, summed up in some order."""
        numbers = self.numbers if both_ends is None else replace(self.numbers, both_ends=both_ends)
        if self.shape is None:
            return by_hand.layer(self.x, numbers, wrong, rng)
        return windows_by_hand.layer(self.x, self.shape, numbers, wrong, rng)


def dense_by_hand(seed: int) -> ByHand:
    """A hybrid dense layer and rows of two sizes."""
    rng = np.random.default_rng([79, seed])
    model = hybrid(seed)
    numbers = numbers_of(model, bool(rng.integers(2)))
    x = rng.normal(size=(24, numbers.weights.shape[1])) * rng.choice([0.5, 4.0], (24, 1))
    return ByHand(model, numbers, x.astype(np.float32))


def convolution_by_hand(seed: int) -> ByHand:
    """A hybrid convolution and images of two sizes; kernels, strides, dilations, paddings and kinds at random."""
    rng = np.random.default_rng([80, seed])
    depthwise = bool(rng.integers(3) == 0)
    kernel = ((3, 3), (1, 1), (5, 5), (2, 3), (1, 7), (3, 3))[int(rng.integers(6))]
    stride, dilation = ((1, 1), (2, 1), (1, 2), (3, 1))[int(rng.integers(4))]
    channels = int(rng.choice([2, 3, 4, 8]))
    units = channels * int(rng.choice([1, 2, 3])) if depthwise else int(rng.choice([4, 5, 8, 12]))
    same, sizes = bool(rng.integers(4)), [int(n) for n in rng.integers(9, 14, 2)]
    by_pixel = kernel == (1, 1) and stride == 1 and not depthwise and bool(rng.integers(2))
    shape = windows_by_hand.Shape(kernel, units, stride, dilation, same, depthwise, by_pixel)
    stored = (1, *kernel, units) if depthwise else (units, *kernel, channels)
    scales = rng.uniform(0.004, 0.02, units if depthwise or rng.integers(2) else 1).astype(np.float32)
    weights, bias = rng.integers(-127, 128, stored), rng.normal(size=units).astype(np.float32)
    relu, biased = bool(rng.integers(3) == 0), bool(rng.integers(5))
    options = {
        "padding": "SAME" if same else "VALID", "stride_h": stride, "stride_w": stride, "dilation_h_factor": dilation,
        "dilation_w_factor": dilation, "fused_activation_function": "RELU" if relu else "NONE",
    }  # fmt: skip
    if depthwise:
        options["depth_multiplier"] = units // channels
    printed = [windows_by_hand.outputs(n, k, shape) for n, k in zip(sizes, kernel, strict=True)]
    operands = [
        Operand((1, *sizes, channels), "float32"),
        Operand(stored, "int8", scales, 0, weights, 3 if depthwise else 0),
        Operand((units,), "float32", data=bias) if biased else None,
    ]
    output = [Operand((1, *printed, units), "float32")]
    case = Case("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", operands, output, [], options, 5)
    numbers = by_hand.Numbers(weights, 8, scales, bias if biased else None, relu, bool(rng.integers(2)))
    x = rng.normal(size=(3, *sizes, channels)) * np.array([0.5, 4.0, 1.0]).reshape(3, 1, 1, 1)
    return ByHand(lastbit.load(case.content()), numbers, x.astype(np.float32), shape)


def hybrid_network(seed: int) -> tuple[Model, list[by_hand.Numbers]]:
    """Two to four hybrid dense layers with a ReLU between them; per-tensor and per-channel in turn."""
    rng = np.random.default_rng([81, seed])
    sizes = [int(n) for n in rng.choice([10, 16, 24, 40], int(rng.integers(3, 6)))]
    both_ends = bool(rng.integers(2))
    operands, operators, numbers = [Operand((1, sizes[0]), "float32")], [], []
    for layer, (depth, units) in enumerate(itertools.pairwise(sizes)):
        relu, first = layer < len(sizes) - 2, len(operands)
        scales = rng.uniform(0.004, 0.02, units if seed % 2 else 1).astype(np.float32)
        weights, bias = rng.integers(-127, 128, (units, depth)), rng.normal(size=units).astype(np.float32)
        operands += [
            Operand((units, depth), "int8", scales, 0, weights),
            Operand((units,), "float32", data=bias),
            Operand((1, units), "float32"),
        ]
        options = _DENSE_OPTIONS | {"fused_activation_function": "RELU" if relu else "NONE"}
        operators.append(("FULLY_CONNECTED", (first - 1, first, first + 1), first + 2, options))
        numbers.append(by_hand.Numbers(weights, 8, scales, bias, relu, both_ends))
    return lastbit.load(write(_chained(operands, operators))), numbers


def in_hybrid_network(seed: int, right: bool = False) -> tuple[str, float, str]:
    """One mistake in all layers of a hybrid network, or in one of them; or none."""
    rng = np.random.default_rng([12, seed])
    model, numbers = hybrid_network(seed)
    known = [one for one in by_hand.MISTAKES if one != "output_column_major"]  # looked for in one layer alone
    name = known[seed % len(known)]
    where = range(len(numbers)) if seed % 3 else [int(rng.integers(len(numbers)))]
    x = (rng.normal(size=(40, numbers[0].weights.shape[1])) * rng.choice([0.5, 4.0], (40, 1))).astype(np.float32)

    def output(wrong: str, given: np.ndarray) -> np.ndarray:
        for index, one in enumerate(numbers):
            given = by_hand.layer(given, one, (wrong,) if wrong and index in where else (), rng)
        return given

    printed = runtimes_outputs(model, x)
    if not any(_nearly(output("", x), other) for other in printed):
        return NOTHING, 0.0, "no runtime quantizes rows so"
    mine = output("" if right else name, x)
    if not right and any(_nearly(mine, other) for other in printed):
        return NOTHING, 0.0, name
    start = time.process_time()
    report = lastbit.diagnose(model, x, mine)
    seconds, said = time.process_time() - start, f"{name} in {list(where)}: {report.in_short()[0]}"
    if right:
        return ("named" if report.verdict in ("right", "form") else "false alarm"), seconds, said
    if not report.explanations:
        return "missed", seconds, said
    best = report.explanations[0].mistakes
    if best == (name,):
        return "named", seconds, said
    fresh = rng.normal(size=x.shape).astype(np.float32)
    if best and best[0] in by_hand.MISTAKES and _nearly(output(best[0], fresh), output(name, fresh)):
        return "the same function", seconds, said
    told = any(one.mistakes == (name,) for one in report.explanations)
    return "a tie, told" if told else "another that fits", seconds, said


def _nearly(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two outputs are the same for most elements: a tie in a layer's input may go either way."""
    return bool(np.isclose(one, other, 1e-4, 1e-4 * float(np.abs(other).max())).mean() > 0.8)


def in_hybrid(made: Callable[[int], ByHand], count: int, seed: int) -> tuple[str, float, str]:
    """One mistake or two in a hybrid layer that is written by hand; each mistake in turn is the first."""
    rng = np.random.default_rng([9, seed])
    layer = made(seed)
    places = layer.places
    first = list(places)[seed % len(places)]
    others = [name for name in places if places[name] != places[first]]
    wanted = (first, *(str(name) for name in rng.choice(others, count - 1, replace=False)))
    right = runtimes_outputs(layer.model, layer.x)
    if not any(np.allclose(layer.output((), rng), output, 1e-5, 1e-6) for output in right):
        return NOTHING, 0.0, "no runtime quantizes rows so"
    wrong = layer.output(wanted, rng)
    parts = [part for size in range(count) for part in itertools.combinations(wanted, size)]
    smaller = [layer.output(part, rng, way) for way in (False, True) for part in parts]
    if any(np.allclose(wrong, output, 1e-5, 1e-6) for output in (*right, *smaller)):
        return NOTHING, 0.0, ", ".join(wanted)
    start = time.process_time()
    report = lastbit.diagnose(layer.model, layer.x, wrong)
    seconds = time.process_time() - start
    said = f"{', '.join(wanted)}: {report.in_short()[0]}"
    if not report.explanations:
        return "missed", seconds, said
    if {m.name for m in report.mistakes} == set(wanted):
        return "named", seconds, said
    answer = report.explanations[0].mistakes
    fresh = replace(layer, x=rng.normal(size=layer.x.shape).astype(np.float32))
    if set(answer) <= set(places) and np.allclose(fresh.output(answer, rng), fresh.output(wanted, rng), 1e-5, 1e-6):
        return "the same function", seconds, said
    told = any(set(one.mistakes) == set(wanted) for one in report.explanations)
    return "a tie, told" if told else "another that fits", seconds, said


def numbers_of(model: Model, both_ends: bool) -> by_hand.Numbers:
    """The numbers of a model of one hybrid layer."""
    op = model.operators[0]
    weights, bias = model.operand(op, 1), model.operand(op, 2)
    assert weights is not None
    assert weights.data is not None
    assert weights.quant is not None
    bits, relu = (4 if weights.dtype.name == "int4" else 8), op.options["fused_activation_function"] == "RELU"
    given = None if bias is None else bias.data
    return by_hand.Numbers(weights.data.astype(np.int64), bits, weights.quant.scale, given, relu, both_ends)


def runtimes_outputs(model: Model, x: np.ndarray) -> list[np.ndarray]:
    """What every runtime that takes the model prints."""
    found = []
    for name in RUNTIMES:
        try:
            found.append(lastbit.run(model, x, runtime=name).output)
        except lastbit.UnsupportedError:
            continue
    return found


def right_hybrid(made: Callable[[int], ByHand], seed: int) -> tuple[str, float, str]:
    """A runtime's own output, and one written by hand in another order of summation."""
    rng = np.random.default_rng([10, seed])
    layer = made(seed)
    outputs = runtimes_outputs(layer.model, layer.x)
    if not outputs:
        return NOTHING, 0.0, "no runtime takes the layer"
    output = outputs[int(rng.integers(len(outputs)))]
    if seed % 4:
        output = layer.output((), rng)
        if not any(np.allclose(output, other, 1e-5, 1e-6) for other in outputs):
            return NOTHING, 0.0, "no runtime quantizes rows so"
    report = lastbit.diagnose(layer.model, layer.x, output)
    return ("named" if report.verdict in ("right", "form") else "false alarm"), 0.0, f"{seed}: {report.in_short()[0]}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--hybrid", type=int, default=200)
    parser.add_argument("--right", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--only", default="", help="rows of the table that have this in their name")
    parser.add_argument("--failures", action="store_true", help="print what was not found")
    args = parser.parse_args()
    parts: tuple[tuple[str, Callable[[int], tuple[str, float, str]], int], ...] = (
        ("right networks", right_network, args.right),
        ("networks, one mistake", in_network, args.networks),
        ("right hybrid layers", partial(right_hybrid, dense_by_hand), args.right),
        ("hybrid, one mistake", partial(in_hybrid, dense_by_hand, 1), args.hybrid),
        ("hybrid, two mistakes", partial(in_hybrid, dense_by_hand, 2), args.hybrid // 2),
        ("right hybrid networks", partial(in_hybrid_network, right=True), args.right),
        ("hybrid networks, one mistake", in_hybrid_network, args.networks),
        ("right hybrid convolutions", partial(right_hybrid, convolution_by_hand), args.right),
        ("hybrid convolutions, one mistake", partial(in_hybrid, convolution_by_hand, 1), args.hybrid),
        ("hybrid convolutions, two mistakes", partial(in_hybrid, convolution_by_hand, 2), args.hybrid // 2),
    )
    heads = ("injected", "tried", "found", "named", "the same function", "a tie, told", "fits, other", "missed")
    print("| " + " | ".join((*heads, "false alarms", "largest time")) + " |\n|---" + "|---:" * 9 + "|")
    for what, tried, count in parts:
        if args.only not in what:
            continue
        outcomes: Counter[str] = Counter()
        longest = 0.0
        for seed in range(args.seed, args.seed + count):
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
