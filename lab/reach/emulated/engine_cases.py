"""What check_engine.py compares: layers, forms, chains and images with inputs that are hard for kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lab.cases import dense as dense_families
from lab.cases import dense_8bit, dense_hybrid, dense_int16, dense_libraries
from lab.cases.convolutions import convolutions, far_convolutions
from lab.cases.copies import copies
from lab.cases.hard_numbers import RANGES, hard_accumulators, scale_triples, values
from lab.cases.operators import Operand
from lastbit.engines import reference
from lastbit.engines.executable import Executable
from lastbit.engines.jit import matmul as jit_matmul
from lastbit.engines.jit.slots import form_slots
from lastbit.engines.plan import MOVES
from lastbit.model.graph import Model, Operator, Subgraph
from lastbit.model.tflite import load, write
from lastbit.model.types import DTYPES
from lastbit.ops.prepare import prepare
from lastbit.rules.requantize.fold import RequantParams, prepare_requantize, with_float_bias
from lastbit.rules.requantize.table import EIGHT_BIT
from lastbit.rules.requantize.table import INT16 as INT16_RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.runtimes import RUNTIMES

__all__ = ["PARTS", "Comparison"]

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator
_TYPES = {dtype.name: dtype for dtype in DTYPES.values()}
# Edges of tiles, vectors and steps of the depth.
_EDGES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70)


@dataclass(frozen=True)
class Comparison:
    """What the kernels gave, and what the reference gives."""

    what: str
    found: Array
    wanted: Array

    @property
    def differing(self) -> int:
        """How many outputs differ in any bit; all where type or shape does."""
        if self.found.dtype != self.wanted.dtype or self.found.shape != self.wanted.shape:
            return max(self.wanted.size, 1)
        return int((self._bits(self.found) != self._bits(self.wanted)).sum())

    @staticmethod
    def _bits(values: Array) -> Array:
        return np.ascontiguousarray(values).reshape(-1).view(f"u{values.dtype.itemsize}")

    def example(self) -> str:
        """The first output that differs."""
        if self.found.dtype != self.wanted.dtype or self.found.shape != self.wanted.shape:
            return f"{self.found.dtype} {self.found.shape}, wanted {self.wanted.dtype} {self.wanted.shape}"
        at = int(np.flatnonzero(self._bits(self.found) != self._bits(self.wanted))[0])
        return f"at {at} of {self.found.shape}: {self.found.flat[at]}, wanted {self.wanted.flat[at]}"


def sums(rng: Rng, _round: int) -> Iterator[Comparison]:
    """Sums of products without requantization: all types, zero points and shapes; two in five of one row."""
    for number in range(300):
        limit = 301 if number % 30 == 0 else 71
        rows, depth, units = (
            int(rng.choice(_EDGES)) if rng.random() < 0.5 else int(rng.integers(1, limit)) for _ in range(3)
        )
        rows = 1 if number % 5 < 2 else rows
        input_type = ("int8", "uint8", "int16")[number % 3]
        weights_type = str(rng.choice(["int8", "uint8"]))
        bits, extreme = int(rng.choice([32, 32, 64])), bool(rng.random() < 0.4)
        zero_point = int(rng.choice([0, *RANGES[weights_type], rng.integers(-128, 256)]))
        x = values(rng, input_type, (rows, depth), extreme)
        w = values(rng, weights_type, (units, depth), extreme)
        if number % 4 == 0 and weights_type == "int8":
            w = (w >> 4).astype(np.int8)  # 4 bits
        bias = rng.integers(-(2**31), 2**31, units)
        packed = jit_matmul.pack(w, weights_zero_point=zero_point, bias=bias, input_type=input_type, acc_bits=bits)
        assert packed is not None
        wanted = x.astype(np.int64) @ (w.astype(np.int64) - zero_point).T + bias
        what = f"{input_type} x {weights_type} ({zero_point}) {rows}x{depth}x{units}, {bits} bits"
        yield Comparison(what, jit_matmul.dot(x, packed), wanted if bits == 64 else wanted.astype(np.int32))


def forms(rng: Rng, _round: int) -> Iterator[Comparison]:
    """Every requantization rule of every runtime: on chosen accumulators (zero weights), and behind products."""
    rules = [(rule, 32) for rule in EIGHT_BIT.values()]
    rules += [(rule, 64) for rule in INT16_RULES.values() if rule.sums.bits == 64]
    for rule, bits in rules:
        for number in range(12):
            wide = bits == 64 or (rule.name in ("q31-half_up-half_away/dd", "float64-half_away") and number % 5 == 4)
            dtype = _TYPES["int16"] if wide else _TYPES[("int8", "uint8")[number % 2]]
            depth, units = int(rng.integers(1, 71)), int(rng.choice([*_EDGES, 300]))
            s_x, s_w, s_y = scale_triples(rng, units, number)
            if number % 4 == 0:
                s_w = s_w[:1]
            if bits == 64 and (s_w * s_x / s_y >= 2**14).any():
                continue
            bias = rng.integers(-4000, 4000, units)
            params = prepare_requantize(
                rule,
                input_scale=s_x,
                weights_scale=s_w,
                output_scale=s_y,
                output_zero_point=0 if wide else int(rng.choice([dtype.qmin, dtype.qmax, 0, 3])),
                activation=str(rng.choice(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"])),
                dtype=dtype,
            )
            params = with_float_bias(params, bias, s_x, s_w)
            yield from _form(rng, params, (s_x, s_w), bias, depth, bits, number)


def _form(
    rng: Rng, params: RequantParams, scales: tuple[np.float32, Array], bias: Array, depth: int, bits: int, number: int
) -> Iterator[Comparison]:
    acc_bits = 28 if params.rule.name == "float32-half_even" and number % 2 else bits
    slots = form_slots(params, *scales)
    if slots is None:
        return
    units, factor = bias.size, np.broadcast_to(np.asarray(params.effective_scale, float), bias.size)
    acc = hard_accumulators(rng, factor, bits)
    start = acc - bias if params.bias is not None else acc
    kind = "int16" if params.dtype.name == "int16" else ("int8", "uint8")[number // 2 % 2]
    for products in (False, True):
        weights = rng.integers(-128, 128, (units, depth)) if products else np.zeros((units, depth))
        zero_point = int(rng.choice([0, -7])) if products else 0
        layer = jit_matmul.pack(
            weights.astype(np.int8),
            weights_zero_point=zero_point,
            bias=start,
            epilogue=jit_matmul.Epilogue(params, slots),
            acc_bits=acc_bits,
            input_type=kind,
        )
        assert layer is not None
        for rows in (1, int(rng.choice(_EDGES))):
            x = values(rng, kind, (rows, depth), bool(rng.random() < 0.3))
            total = acc + x.astype(np.int64) @ (weights.astype(np.int64) - zero_point).T
            if bits != 64:
                total = total.astype(np.int32).astype(np.int64)
            if acc_bits == 28:
                total = ((total << 4).astype(np.int32) >> 4).astype(np.int64)
            what = f"{params.rule.name}, {kind} {rows}x{depth}x{units}, {acc_bits} bits"
            yield Comparison(what, jit_matmul.dense(x, layer), requantize(total, params)["output"])


def _model(what: str, model: Model, inputs: list[Array], runtimes: tuple[str, ...] = ()) -> Iterator[Comparison]:
    """A model by the compiled engine and by the reference, in every runtime that takes it (or in those given)."""
    for runtime in runtimes or tuple(RUNTIMES):
        prepared = prepare(model, runtime)
        if prepared.refusals:
            continue
        executable = Executable(prepared, "jit")
        for x in inputs:
            wanted = reference.run(prepared, [x]).output
            yield Comparison(f"{runtime}, {what}", executable(x), wanted)


def _turns(rng: Rng, count: int) -> tuple[str, ...]:
    return tuple(rng.permutation(list(RUNTIMES))[:count].tolist())


def layers(rng: Rng, number: int) -> Iterator[Comparison]:
    """Layers of every kind, in every runtime: those that the evidence is made of, which separate the rules."""
    made: list[Iterator[Any]] = []
    for kind in (dense_families.PER_TENSOR, dense_families.PER_CHANNEL):
        made.append(dense_families.cases(rng, 1, kind, 200))
    made += [dense_8bit.cases(rng, 1, kind, 200) for kind in dense_8bit.KINDS]
    made += [dense_int16.cases(rng, 1, kind, 200) for kind in dense_int16.KINDS]
    made += [dense_libraries.kind_cases(rng, 1, kind, 200) for kind in dense_libraries.KINDS]
    for cases in made:
        for case in cases:
            if "refuse" in case.family:
                continue
            samples = case.samples
            few = list(samples[:2])
            if len(samples) > 2 and samples[0].ndim > 1 and samples[0].shape[0] == 1:
                few.append(np.concatenate(samples[: int(rng.integers(2, 71))]))
            yield from _model(case.family, load(write(case.graph)), few, _turns(rng, 5))


def hybrid(rng: Rng, _round: int) -> Iterator[Comparison]:
    """Hybrid layers: float rows that are hard to quantize, int8 and int4 weights."""
    for kind in dense_hybrid.KINDS:
        for case in dense_hybrid.cases(rng, 1, kind):
            if "refuse" in case.family or case.samples[0].size > 40_000:
                continue
            yield from _model(case.family, load(write(case.graph)), list(case.samples[:3]), _turns(rng, 6))


def chains(rng: Rng, _round: int) -> Iterator[Comparison]:
    """Several layers with functions between them and SOFTMAX behind: shapes of every remainder, one row and more."""
    for number in range(24):
        dtype = ("int8", "uint8")[number % 2]
        low, high = RANGES[dtype]
        widths = [int(rng.choice(_EDGES)) if rng.random() < 0.7 else int(rng.integers(1, 200)) for _ in range(4)]
        x = Operand((1, widths[0]), dtype, 0.02, int(rng.integers(low, high + 1)))
        operands, operators = [x], []
        for depth, units in pairwise(widths):
            last = len(operands) - 1
            given = operands[last]
            assert isinstance(given.scale, float)
            channels = units if dtype == "int8" and rng.random() < 0.5 else 1
            step = rng.uniform(0.002, 0.02, channels)
            zero_point = int(rng.integers(0, 256)) if dtype == "uint8" else 0
            w = Operand(
                (units, depth),
                "int4" if dtype == "int8" and number % 6 == 4 else dtype,
                step,
                zero_point,
                rng.integers(-7, 8, (units, depth)) if number % 6 == 4 else values(rng, dtype, (units, depth), False),
            )
            if w.dtype == "uint8" and number % 6 == 4:
                w = Operand(w.shape, w.dtype, step, zero_point, values(rng, dtype, (units, depth), False))
            bias = Operand((units,), "int32", given.scale * step, 0, rng.integers(-2000, 2000, units))
            reach = given.scale * float(step.mean()) * 128 * depth**0.5 * (8 if w.dtype == "int4" else 75)
            y = Operand((1, units), dtype, reach / 64, int(rng.integers(low, high + 1)))
            operands += [w, bias, y]
            options = {"fused_activation_function": str(rng.choice(["NONE", "RELU", "RELU6"]))}
            operators.append(("FULLY_CONNECTED", (last, last + 1, last + 2), last + 3, options))
            table = str(rng.choice(["", "RELU", "LOGISTIC", "TANH"]))
            if table:
                scales = {"RELU": (y.scale, y.zero_point), "LOGISTIC": (1 / 256, low), "TANH": (1 / 128, low + 128)}
                operands.append(Operand((1, units), dtype, *scales[table]))
                operators.append((table, (last + 3,), last + 4, {}))
        if number % 3 == 0:
            operands.append(Operand((1, widths[-1]), dtype, 1 / 256, low))
            operators.append(("SOFTMAX", (len(operands) - 2,), len(operands) - 1, {"beta": 1.0}))
        graph = Subgraph(
            "main",
            tuple(operand.tensor(i) for i, operand in enumerate(operands)),
            tuple(Operator(i, op, 4 if op == "FULLY_CONNECTED" else 2, ins, (out,), options)
                  for i, (op, ins, out, options) in enumerate(operators)),
            (0,),
            (len(operands) - 1,),
        )  # fmt: skip
        batches = [values(rng, dtype, (rows, widths[0]), False) for rows in (1, int(rng.integers(2, 71)))]
        what = f"chain {[op for op, *_ in operators]} {widths} {dtype}"
        yield from _model(what, load(write(graph)), batches)


def images(rng: Rng, _round: int) -> Iterator[Comparison]:
    """Convolutions, in groups and depthwise ones too, and what moves values."""
    for dtype in ("int8", "uint8", "int16"):
        cases = [*convolutions(rng, 6, dtype), *convolutions(rng, 3, dtype, grouped=True)]
        if dtype != "int16":
            cases += far_convolutions(rng, 2, dtype)
        for case in copies(rng, 4, dtype):
            if case.op in MOVES and len(case.values) == 1:
                yield from _model(case.op, case.model(), list(case.values), _turns(rng, 2))
        for case in cases:
            x = case.values[0]
            batch = values(rng, dtype, (2, *x.shape[1:]), False)
            runtimes = tuple(name for name in _turns(rng, 13) if not name.startswith(("cmsis", "torch", "onnx")))[:3]
            yield from _model(case.op, case.model(), [x, batch], runtimes)


PARTS: dict[str, Callable[[Rng, int], Iterator[Comparison]]] = {
    "sums": sums,
    "forms": forms,
    "chains": chains,
    "layers": layers,
    "images": images,
    "hybrid": hybrid,
}
