"""Inputs that separate rules which random inputs do not: ties, boundaries, and whole requantization functions.

With ordinary scales, rival rules agree on almost every random accumulator. They part at accumulators whose scaled
value lies at a rounding tie, so those are sought: first as numbers (`critical_accumulators`), then as a layer whose
bias is those numbers (`probe_subgraph`), and as inputs of the real layer whose dot product lands on them
(`tie_seeking_inputs`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..arith.fixedpoint import INT32_MAX, INT32_MIN
from ..model.errors import UnsupportedError
from ..model.graph import Subgraph
from ..model.tflite.synthesize import dense_subgraph, quant
from ..model.types import DType, Int64Array, IntArray, integer_type
from ..ops.dense.layer import DenseLayer
from ..rules.base import IntegerRule
from ..rules.requantize.fold import RequantParams
from ..rules.requantize.table import COMMON
from ..rules.requantize.vector import requantize

__all__ = [
    "all_rules",
    "boundary_inputs",
    "critical_accumulators",
    "float_inputs",
    "one_channel",
    "outputs_of_rules",
    "probe_subgraph",
    "rivals_differing",
    "solve_sum",
    "tie_seeking_inputs",
]

Number = TypeVar("Number", bound=np.generic)

# Output steps whose edges are sought; a 16-bit output has more, of which this many are drawn.
EDGES = 1024

INT32_ENDS = np.asarray(
    [INT32_MIN, INT32_MIN + 1, -(2**24) - 1, -1, 0, 1, 2**24 + 1, INT32_MAX - 1, INT32_MAX], np.int64
)


def all_rules(layer: DenseLayer, rules: Mapping[str, IntegerRule] = COMMON) -> dict[str, RequantParams]:
    """This layer's constants folded for every requantization rule there is, or for those that are given.

    A layer given by multiplier and shift has none for rules that need the real scales.
    """
    found = {}
    for name, rule in rules.items():
        with contextlib.suppress(UnsupportedError):
            found[name] = layer.requantization(rule)
    return found


def one_channel(params: RequantParams, channel: int) -> RequantParams:
    """The same constants for one channel only, `[1]` (a per-tensor layer has just one set)."""
    at = slice(channel, channel + 1) if params.effective_scale.size > 1 else slice(0, 1)
    return replace(
        params,
        effective_scale=params.effective_scale[at],
        multiplier=params.multiplier[at],
        shift=params.shift[at],
    )


def outputs_of_rules(params: Mapping[str, RequantParams], accs: Int64Array, channel: int) -> Int64Array:
    """What every rule makes of some accumulators of one channel: `[rules, accumulators]`."""
    column = accs[:, None]
    return np.stack(
        [requantize(column, one_channel(p, channel))["output"][:, 0].astype(np.int64) for p in params.values()]
    )


def critical_accumulators(
    params: Mapping[str, RequantParams],
    channel: int,
    limit: int,
    rng: np.random.Generator,
    ends: tuple[int, int] = (INT32_MIN, INT32_MAX),
) -> Int64Array:
    """Accumulators of one channel at which at least two rules give different outputs, then the steps' edges.

    Args:
        params: the layer's constants, rule by rule (`all_rules`).
        channel: the output unit.
        limit: how many to return at most; where there are more, some of each kind are kept at random.
        rng: chooses which are kept.
        ends: the smallest and largest accumulator to return: int32's, or those of the bias's type.

    Returns:
        int64 `[n]`, sorted, within `ends`.
    """
    some = next(iter(params.values()))
    at = min(channel, some.effective_scale.size - 1)
    factor = float(some.effective_scale[at])
    zy = some.output_zero_point
    lowest, highest = ends
    special = np.unique([*INT32_ENDS, lowest, lowest + 1, highest - 1, highest])
    if factor >= 1:
        # Where the scaled accumulator leaves int32: kernels saturate, wrap or say INT32_MIN.
        beyond = np.rint([-(2.0**31) / factor, 2.0**31 / factor]).astype(np.int64)
        special = np.concatenate([special, *(beyond + step for step in (-1, 0, 1))])
    special = special[(special >= lowest) & (special <= highest)]
    if factor == 0:
        return special
    # Every output step's edge, in accumulators: the scaled value is half-way between two integers. The clamp's
    # own edges are a step further out.
    halves = np.arange(some.dtype.qmin - 1 - zy, some.dtype.qmax + 2 - zy, dtype=np.float64) + 0.5
    edges = _drawn(halves, EDGES, rng) / factor
    edges = edges[(edges > float(lowest) + 8) & (edges < float(highest) - 8)]
    around = np.floor(edges)[:, None].astype(np.int64) + np.arange(-2, 4)
    # float32 products are off by up to 2**-24 of their value: for large accumulators the edge is that much wider.
    wide = (np.abs(edges) * 2.0**-24)[:, None] * np.linspace(-1, 1, 9)
    candidates = np.concatenate([around.ravel(), np.rint(edges[:, None] + wide).astype(np.int64).ravel(), special])
    candidates = np.unique(candidates[(candidates >= lowest) & (candidates <= highest)])
    outputs = outputs_of_rules(params, candidates, channel)
    disputed = (outputs != outputs[0]).any(axis=0)
    chosen = _drawn(candidates[disputed], limit * 3 // 4, rng)
    rest = _drawn(candidates[~disputed], limit - chosen.size, rng)
    return np.sort(np.concatenate([chosen, rest]))


def rivals_differing(
    params: Mapping[str, RequantParams], accs: Int64Array, channel: int, observed: Int64Array
) -> dict[str, int]:
    """For each rule, at how many of these accumulators it gives something other than what was observed."""
    outputs = outputs_of_rules(params, accs, channel)
    return {name: int((row != observed).sum()) for name, row in zip(params, outputs, strict=True)}


def probe_subgraph(layer: DenseLayer, accs: Sequence[Int64Array], channels: Sequence[int]) -> Subgraph:
    """A layer that prints the requantization function: zero weights, one unit for each accumulator, bias = acc.

    Args:
        layer: the layer whose scales, zero points and activation it takes.
        accs: for each channel, the accumulators to print, int64 within int32.
        channels: the layer's units whose scales are probed.

    Returns:
        The graph; its output is `[1, total]`, the channels' accumulators one after another.
    """
    bias = np.concatenate(list(accs))
    scales = layer.weights_scale
    if scales.size > 1:
        scales = np.concatenate([np.full(len(a), scales[c]) for a, c in zip(accs, channels, strict=True)])
    zw = layer.weights_zero_point
    stated = str(layer.operator.options.get("quantized_bias_type", "float32"))
    wide = "int64" if layer.input.dtype.name == "int16" else "int32"
    bias_dtype = layer.bias.dtype.name if layer.bias is not None else stated if stated != "float32" else wide
    # Kernels may depend on whether the depth is odd (int4), and on whether it is 8 or more (matrix times vector).
    depth = min(layer.depth, 8 + layer.depth % 2)
    return dense_subgraph(
        np.full((bias.size, depth), zw),  # w - zw is 0
        input_quant=quant(layer.input_scale, layer.input_zero_point),
        weights_quant=quant(scales, zw),
        output_quant=quant(layer.output_scale, layer.output_zero_point),
        bias=bias,
        activation=layer.activation,
        input_dtype=layer.input.dtype.name,
        weights_dtype=layer.weights.dtype.name,
        output_dtype=layer.output.dtype.name,
        bias_dtype=bias_dtype,
        quantized_bias_type=stated,
    )


def boundary_inputs(layer: DenseLayer, rng: np.random.Generator, units: int = 4) -> IntArray:
    """Inputs at the ends of what a layer can see: `[n, depth]` of the input's type.

    All lowest, all highest, all zero point, alternating ends, and for some units the inputs that give the largest
    and the smallest accumulator there is.
    """
    low, high = _range(layer.input.dtype)
    depth = layer.depth
    rows = [np.full(depth, v) for v in (low, high, layer.input_zero_point, 0, -1 if low < 0 else 1)]
    rows.append(np.where(np.arange(depth) % 2, low, high))
    weights = layer.weights_values.astype(np.int64) - layer.weights_zero_point
    for unit in rng.permutation(layer.units)[:units]:
        rows.append(np.where(weights[unit] > 0, high, low))
        rows.append(np.where(weights[unit] > 0, low, high))
    return np.stack(rows).astype(layer.input.dtype.numpy)


def float_inputs(layer: DenseLayer, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Inputs of a layer that takes real values: float32 `[count, depth]`.

    Zeros, a constant row, one value alone, values of one sign, then normal values of magnitudes from 2^-20 to 2^10.
    """
    depth = layer.depth
    alone = np.zeros(depth)
    alone[int(rng.integers(depth))] = -3.25
    positive = np.abs(rng.normal(size=depth))
    rows = [np.zeros(depth), np.full(depth, 0.75), alone, positive, -positive[::-1]]
    while len(rows) < count:
        rows.append(rng.normal(size=depth) * 2.0 ** int(rng.choice([-20, -3, 0, 0, 0, 2, 10])))
    return np.stack(rows[:count]).astype(np.float32)


def tie_seeking_inputs(
    layer: DenseLayer, params: Mapping[str, RequantParams], count: int, rng: np.random.Generator
) -> tuple[IntArray, int]:
    """Inputs of the real layer whose accumulator at some unit is one that rules disagree on.

    Random inputs are changed, coordinate by coordinate, until the unit's accumulator is hit; weights of one unit
    whose common divisor does not divide the rest cannot hit every target, and such attempts are dropped.

    Args:
        layer: the layer.
        params: its constants, rule by rule.
        count: how many inputs to try for.
        rng: random source.

    Returns:
        `[n, depth]` of the input's type with n <= count, and how many of them hit an accumulator that rules
        disagree on.
    """
    low, high = layer.reachable_acc()
    weights = layer.weights_values.astype(np.int64) - layer.weights_zero_point
    zx = layer.input_zero_point
    limits = [end - zx for end in _range(layer.input.dtype)]
    rows: list[IntArray] = []
    hits = 0
    units = rng.integers(0, layer.units, count)
    for unit in np.unique(units):
        wanted = int((units == unit).sum())
        targets = critical_accumulators(params, int(unit), 1 << 20, rng)
        targets = targets[(targets >= low[unit]) & (targets <= high[unit])]
        if not targets.size:
            continue
        outputs = outputs_of_rules(params, targets, int(unit))
        disputed = targets[(outputs != outputs[0]).any(axis=0)]
        pool = disputed if disputed.size else targets
        for target in rng.choice(pool, wanted, replace=pool.size < wanted):
            row = solve_sum(weights[unit], int(target) - int(layer.bias_values[unit]), limits, rng)
            if row is not None:
                rows.append((row + zx).astype(layer.input.dtype.numpy))
                hits += disputed.size > 0
    if not rows:
        return np.zeros((0, layer.depth), layer.input.dtype.numpy), 0
    return np.stack(rows), hits


def solve_sum(weights: Int64Array, target: int, limits: Sequence[int], rng: np.random.Generator) -> Int64Array | None:
    """Values x - zx within limits with sum (x - zx) * w == target, near random ones, or None if not found."""
    low, high = limits
    # A start whose sum is already near: random values scaled towards the side the target lies on.
    x = rng.integers(low, high + 1, weights.size)
    rest = target - int(x @ weights)
    used = np.flatnonzero(weights)
    # Large weights first, the smallest last: they make up the remainder exactly.
    order = used[np.argsort(-np.abs(weights[used]) + rng.random(used.size), kind="stable")]
    for _ in range(3):
        for k in order:
            if rest == 0:
                return x
            w = int(weights[k])
            step = round(rest / w)
            moved = min(max(int(x[k]) + step, low), high)
            rest -= w * (moved - int(x[k]))
            x[k] = moved
        # Two neighbours in the order differ by little: a random nudge lets the next pass end elsewhere.
        k = int(rng.choice(order)) if order.size else 0
        if not order.size:
            return x if rest == 0 else None
        moved = int(rng.integers(low, high + 1))
        rest -= int(weights[k]) * (moved - int(x[k]))
        x[k] = moved
    return x if rest == 0 else None


def _range(dtype: DType) -> tuple[int, int]:
    """The smallest and largest value of an integer type."""
    whole = integer_type(dtype)
    return whole.qmin, whole.qmax


def _drawn(values: npt.NDArray[Number], count: int, rng: np.random.Generator) -> npt.NDArray[Number]:
    """At most `count` of the values, chosen at random."""
    if values.size <= count:
        return values
    return rng.choice(values, max(count, 0), replace=False)
