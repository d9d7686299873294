"""Families of dense layers whose neighbouring products leave 16 bits, for kernels that add them there with saturation.

x86-64 CPUs without VNNI have VPMADDUBSW: uint8 inputs times int8 weights, added in pairs. Which pairs is asked with
single pairs that overflow, with whole rows of them and with depths around multiples of four; what else it could be is
compared with it as rivals of the sum, beside all rivals of the requantization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lab.cases import dense_libraries as others
from lab.cases.dense import Case, Kind, Rng, dtype_range, make_layer
from lastbit.arith.fixedpoint import low_bits
from lastbit.model.graph import Model, Operator
from lastbit.model.tflite.synthesize import quant
from lastbit.model.types import Array, Int64Array
from lastbit.ops.base import Evaluate, PreparedOperator
from lastbit.ops.dense.eight_bit import PreparedDense
from lastbit.ops.dense.fully_connected import prepare_fully_connected
from lastbit.rules.base import NEIGHBOURS, Pairs, Sums
from lastbit.rules.requantize.table import RULES, line_of
from lastbit.rules.requantize.vector import requantize
from lastbit.rules.sums.pairs16 import INT16_MAX, INT16_MIN, kernel_shifts

RUNTIMES = ("onnxruntime-avx2", "torch-fbgemm-avx2")
UINT8_BY_INT8 = (
    Kind(input_dtype="uint8", per_channel=True),
    Kind(input_dtype="uint8", weights_zero_point=True),
)
KINDS = (*others.KINDS, *UINT8_BY_INT8)

DEPTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 66, 100, 127, 128, 255, 256)
DEEP = (511, 513, 1022, 1024, 1025, 2049)
ROWS = (1, 1, 2, 3, 5, 6, 12, 13, 48, 64)
MANY_ROWS = (257, 384, 512)
UNITS = (1, 2, 3, 5, 8, 15, 16, 17, 24, 32, 33)


def full_range(rng: Rng, kind: Kind, rows: Sequence[int] = ROWS) -> Case:
    """Weights and inputs drawn evenly from their whole types: pairs saturate here and there."""
    return _case("pairs that saturate, full range", rng, kind, rows, lambda w: w, lambda x: x)


def ends(rng: Rng, kind: Kind, rows: Sequence[int] = ROWS) -> Case:
    """Weights and inputs mostly at an end of their type: nearly every pair of one sign saturates."""

    def weights(w: Int64Array) -> Int64Array:
        low, high = dtype_range(kind.weights_dtype)
        chosen = np.where(rng.random((len(w), 1)) < 0.3, rng.integers(0, 2, (len(w), 1)), rng.integers(0, 2, w.shape))
        return np.where(rng.random(w.shape) < 0.8, np.where(chosen, high, low), w)

    def inputs(x: Int64Array) -> Int64Array:
        low, high = dtype_range(kind.input_dtype)
        return np.where(rng.random(x.shape) < 0.8, np.where(rng.random(x.shape) < 0.8, high, low), x)

    return _case("pairs that saturate, ends of the range", rng, kind, rows, weights, inputs)


def one_pair(rng: Rng, kind: Kind, rows: Sequence[int] = ROWS) -> Case:
    """Small weights, except two neighbours in each unit, at an even place or at an odd one."""
    low, high = dtype_range(kind.weights_dtype)
    middle = 128 if kind.weights_dtype == "uint8" else 0

    def weights(w: Int64Array) -> Int64Array:
        small = middle + (w - middle) // 16
        if w.shape[1] > 1:
            place = rng.integers(0, w.shape[1] - 1, len(w))
            off = rng.integers(0, 40, len(w))
            end = np.where(rng.random(len(w)) < 0.5, high - off, low + off)
            small[np.arange(len(w)), place] = small[np.arange(len(w)), place + 1] = end
        return small

    def inputs(x: Int64Array) -> Int64Array:
        return np.where(rng.random(x.shape) < 0.5, dtype_range(kind.input_dtype)[1] - np.abs(x) // 8, x)

    return _case("pairs that saturate, one in each unit", rng, kind, rows, weights, inputs)


def edge_of_saturation(rng: Rng, kind: Kind, rows: Sequence[int] = ROWS) -> Case:
    """Pairs whose sum is 32767 or -32768, one less and one more: whether 16 bits hold them is a matter of 1."""
    low, high = dtype_range(kind.weights_dtype)
    middle = 128 if kind.weights_dtype == "uint8" else 0

    def weights(w: Int64Array) -> Int64Array:
        # 255 * 128 + 127 = 32767 and 255 * 128 + 128 = 32768; with x = (255, 1), (254, 2), ...
        near = rng.choice([127, 126, 120, 65, 64, 1, 2, 3, -1, -2, -127, -128, -64, -65], w.shape) + middle
        return np.asarray(np.clip(near, low, high))

    def inputs(x: Int64Array) -> Int64Array:
        top = dtype_range(kind.input_dtype)[1]
        near = top - 255 + rng.choice([255, 254, 253, 252, 129, 128, 127, 126, 3, 2, 1, 0], x.shape)
        return np.asarray(near, np.int64)

    return _case("pairs at the edge of 16 bits", rng, kind, rows, weights, inputs)


FAMILIES = (full_range, ends, one_pair, edge_of_saturation)


def _case(
    family: str,
    rng: Rng,
    kind: Kind,
    counts: Sequence[int],
    weights: Callable[[Int64Array], Int64Array],
    inputs: Callable[[Int64Array], Int64Array],
) -> Case:
    """One layer and one call with several rows; the output scale fits the exact sums."""
    rows, depth, units = int(rng.choice(counts)), int(rng.choice(DEPTHS)), int(rng.choice(UNITS))
    if rng.random() < 0.05:
        rows, depth, units = min(rows, 6), int(rng.choice(DEEP)), min(units, 8)
    spread = int(6000 * np.sqrt(depth)) + 1
    bias = rng.integers(-spread, spread, units) if rng.random() < 0.7 else None
    graph = make_layer(rng, "plain", kind, units=units, depth=depth, bias=bias, input_shape=(rows, depth))
    tensors = list(graph.tensors)
    fed, held, output = tensors[0], tensors[1], tensors[-1]
    assert held.data is not None
    assert fed.quant is not None
    assert held.quant is not None
    assert output.quant is not None
    low, high = dtype_range(kind.weights_dtype)
    w = weights(held.data.astype(np.int64))
    tensors[1] = replace(held, data=np.clip(w, low, high).astype(held.data.dtype))
    low, high = dtype_range(kind.input_dtype)
    x = np.clip(inputs(rng.integers(low, high + 1, (rows, depth))), low, high)
    centred = (x - int(fed.quant.zero_point[0])) @ (w - int(held.quant.zero_point[0])).T
    scales = float(fed.quant.scale[0]) * held.quant.scale.astype(np.float64)
    real = float(np.abs(centred * scales).max(initial=0)) or 1.0
    tensors[-1] = replace(output, quant=quant(real / float(rng.uniform(40, 200)), int(output.quant.zero_point[0])))
    return Case(family, replace(graph, tensors=tuple(tensors)), (x.astype(fed.dtype.numpy),))


def all_cases(seed: int, rounds: int) -> Iterator[Case]:
    """Every kind, one after the other."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, number, 16])
        for _ in range(rounds):
            yield from (family(rng, kind) for family in FAMILIES)


def many_cases(seed: int, rounds: int) -> Iterator[Case]:
    """The same with hundreds of rows in each call: most of the outputs for little time."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([seed, number, 17])
        for _ in range(rounds):
            yield from (family(rng, kind, MANY_ROWS) for family in FAMILIES)


def no_rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """For `many_cases`: rivals are refuted by `all_cases`."""
    return {}


def layer_cases(seed: int, rounds: int) -> Iterator[Case]:
    """The families that all of these runtimes have: requantization, ranks, overflow, solved ties."""
    for number, kind in enumerate(KINDS):
        yield from others.kind_cases(np.random.default_rng([seed, number, 18]), rounds, kind, 6000)


def spread_cases(seed: int, rounds: int) -> Iterator[Case]:
    """uint8 x int8 in the same families with an unused input beside each, so that nothing saturates."""
    for number, kind in enumerate(UINT8_BY_INT8):
        rng = np.random.default_rng([seed, number, 19])
        yield from (others.spread(case) for case in others.kind_cases(rng, rounds, kind, 6000))


def golden_cases() -> Iterator[tuple[str, Case]]:
    """A small set, each case with its kind: it separates every rival of the sum."""
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([16, number])
        for family in FAMILIES:
            yield from ((kind.group, family(rng, kind)) for _ in range(9))


# Sums of a kernel: its uint8 inputs `[n, 1, depth]`, its int8 weights `[1, out, depth]`.
Sum = Callable[[Int64Array, Int64Array], Int64Array]


def _clip(sums: Int64Array) -> Int64Array:
    return np.clip(sums, INT16_MIN, INT16_MAX)


def _grouped(products: Int64Array, first: int, width: int) -> Int64Array:
    """Sums of `width` neighbouring products each; the first group is one of `first` where that is not 0."""
    depth = products.shape[-1]
    starts = np.unique([0, *range(first, depth, width)])
    return np.asarray(np.add.reduceat(products, starts, axis=-1))


def _one_after_the_other(sums: Int64Array) -> Int64Array:
    total = np.zeros(sums.shape[:-1], np.int64)
    for column in range(sums.shape[-1]):
        total = _clip(total + sums[..., column])
    return total


def _every_second(products: Int64Array) -> Int64Array:
    """Of each four, the first with the third and the second with the fourth."""
    fill = -products.shape[-1] % 4
    fours = np.pad(products, [(0, 0), (0, 0), (0, fill)]).reshape(*products.shape[:-1], -1, 2, 2)
    return np.asarray(_clip(fours.sum(axis=-2)).sum(axis=(-1, -2)))


RIVALS: Mapping[str, Sum] = {
    "sum: pairs begin at odd places": lambda x, w: _clip(_grouped(x * w, 1, 2)).sum(axis=-1),
    "sum: first with third, second with fourth": lambda x, w: _every_second(x * w),
    "sum: four products saturate together": lambda x, w: _clip(_grouped(x * w, 0, 4)).sum(axis=-1),
    "sum: four products, pairs saturate and their sum again": lambda x, w: _clip(
        _grouped(_clip(_grouped(x * w, 0, 2)), 0, 2)
    ).sum(axis=-1),
    "sum: pairs wrap in 16 bits": lambda x, w: _grouped(x * w, 0, 2).astype(np.int16).sum(axis=-1, dtype=np.int64),
    "sum: pair sums are added in 16 bits, saturating": lambda x, w: _one_after_the_other(_clip(_grouped(x * w, 0, 2))),
    "sum: each product saturates": lambda x, w: _clip(2 * x * w).sum(axis=-1) // 2,
}


def rules(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """All rules of requantization on the exact sum, and those of these runtimes on the sum of saturating pairs."""
    names = [name for name, rule in RULES.items() if isinstance(rule.sums.products, Pairs)]
    return {**others.rivals(model, op), **{name: prepare_fully_connected(model, op, name) for name in names}}


def rivals(model: Model, op: Operator) -> dict[str, PreparedOperator]:
    """The same, and the right requantization on sums in other pairs."""
    found = rules(model, op)
    own = "float32-clip-half_even"
    # Each runtime's own requantization: which one it is follows from the layer, since fbgemm's depend on granularity.
    divided = "per_channel" if model.tensors[op.inputs[1]].quant.per_channel else "per_tensor"  # type: ignore[union-attr]
    fused = {"per_channel": "float32-bias_by_division-half_even", "per_tensor": "float32-bias_fused-half_even"}[divided]
    for base, whose in ((own, "clip"), (fused, "fbgemm")):
        paired = replace(RULES[base], sums=Sums(32, NEIGHBOURS))
        prepared = prepare_fully_connected(model, op, line_of(paired))
        assert isinstance(prepared, PreparedDense)
        for name, function in RIVALS.items():
            found[f"{name} ({whose})"] = _rival(prepared, f"{name} ({whose})", function)
        found[f"sum: pairs of centred products ({whose})"] = _centred(prepared, f"sum: pairs of centred ({whose})")
    return found


def _finished(prepared: PreparedDense, name: str, total: Callable[[Int64Array], Int64Array]) -> PreparedOperator:
    def evaluate(values: Sequence[Array]) -> dict[str, Array]:
        rows = prepared.layer.rows(values[0]).astype(np.int64)
        acc = low_bits(total(rows) + prepared.layer.bias_values, 32)
        output = requantize(acc, prepared.requant)["output"]
        return {"output": output.reshape(prepared.layer.output_shape(values[0].shape))}

    made: Evaluate = evaluate
    return replace(prepared, rule=name, evaluate=made)


def _rival(prepared: PreparedDense, name: str, function: Sum) -> PreparedOperator:
    layer = prepared.layer
    up, down = kernel_shifts(layer.input.dtype.name, layer.weights.dtype.name)
    w = layer.weights_values.astype(np.int64) + down
    zx, zw = layer.input_zero_point + up, layer.weights_zero_point + down

    def total(rows: Int64Array) -> Int64Array:
        x = rows + up
        rest = layer.depth * zx * zw - zx * w.sum(axis=1) - zw * x.sum(axis=1, keepdims=True)
        return np.asarray(function(x[:, None, :], w[None]) + rest)

    return _finished(prepared, name, total)


def _centred(prepared: PreparedDense, name: str) -> PreparedOperator:
    layer = prepared.layer
    w = layer.weights_values.astype(np.int64) - layer.weights_zero_point

    def total(rows: Int64Array) -> Int64Array:
        x = rows - layer.input_zero_point
        return np.asarray(_clip(_grouped(x[:, None, :] * w[None], 0, 2)).sum(axis=-1))

    return _finished(prepared, name, total)
