"""A prepared dense layer as exact tables, on the accumulators that its weights and its input's range can reach.

What compare, prove and vectors conclude from: where two runtimes' tables are equal on the reachable range, they print
the same output for every input; where they are not, these are all accumulators at which they differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..arith.exact import low_bits
from ..model.errors import InputError
from ..model.graph import Model, Operator, Subgraph
from ..model.types import Array, Int64Array, IntegerType, integer_type
from ..ops.base import PreparedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.dense.gemv_or_gemm import for_rows
from ..ops.dense.layer import DenseLayer
from ..ops.prepare import PreparedModel
from ..ops.products.as_dense import as_dense
from ..ops.products.convolution import PreparedConvolution
from ..ops.products.window_layer import SEVERAL_RULES
from ..rules.base import Pairs
from ..rules.requantize.fold import RequantParams
from ..rules.requantize.step_tables import StepTable, channel_count, step_tables, take_channels
from ..rules.sums.words import pairs_words

__all__ = [
    "LAYERS",
    "Differing",
    "LayerTables",
    "TablePair",
    "graph_of",
    "has_table",
    "layer_of",
    "layer_operators",
    "layer_rows",
    "no_table_reason",
    "overflowing_units",
    "same_sums",
    "why_no_tables",
]

LAYERS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
"""Operators whose outputs are sums of products that are requantized, a convolution's over its windows."""

Interval = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Differing:
    """Accumulators at which two tables give different outputs, as ranges with one pair of outputs each, ascending.

    Wide outputs have tens of thousands of them, so they are arrays; units of one table share them (`within` copies
    only the two ends).

    Attributes:
        low: int64 `[n]`: each range's first accumulator.
        high: int64 `[n]`: its last, included.
        first: int64 `[n]`: the first table's output.
        second: int64 `[n]`: the second's.
        bounds: no range counts beyond these accumulators, both included.
        divisor: of each range only every so many accumulators count, from its first on.
    """

    low: Int64Array
    high: Int64Array
    first: Int64Array
    second: Int64Array
    bounds: Interval
    divisor: int = 1

    def within(self, low: int, high: int) -> Differing:
        """The part between two accumulators."""
        start = int(np.searchsorted(self.high, low, "left"))
        stop = max(int(np.searchsorted(self.low, high, "right")), start)
        at, bounds = slice(start, stop), (max(low, self.bounds[0]), min(high, self.bounds[1]))
        return Differing(self.low[at], self.high[at], self.first[at], self.second[at], bounds, self.divisor)

    def in_step(self, origin: int, divisor: int) -> Differing:
        """The part whose accumulators are `origin` plus a multiple of `divisor`, each range cut to such ends."""
        low, high = self.ends
        low = low + (origin - low) % divisor
        high = high - (high - origin) % divisor
        kept = low <= high
        return Differing(low[kept], high[kept], self.first[kept], self.second[kept], self.bounds, divisor)

    @property
    def ends(self) -> tuple[Int64Array, Int64Array]:
        """First and last accumulator of each range, within the bounds."""
        return np.maximum(self.low, self.bounds[0]), np.minimum(self.high, self.bounds[1])

    @property
    def count(self) -> int:
        """How many accumulators these are."""
        if not len(self):
            return 0
        low, high = self.ends
        return int(((high - low) // self.divisor + 1).sum())

    def rows(self) -> list[tuple[int, int, int, int]]:
        """For each range (first accumulator, last, first table's output, second's)."""
        low, high = self.ends
        return list(zip(low.tolist(), high.tolist(), self.first.tolist(), self.second.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.low)


def has_table(prepared: PreparedOperator | None) -> bool:
    """Whether an operator, as `layer_of` gives it, has an integer output that is a function of a sum of products."""
    if not isinstance(prepared, PreparedDense) or not isinstance(prepared.layer.output.dtype, IntegerType):
        return False
    return not overflowing_units(prepared)


def overflowing_units(prepared: PreparedOperator | None) -> int:
    """In how many units of a dense layer products that are added in 16 bits can leave them."""
    if not isinstance(prepared, PreparedDense) or prepared.pairs is None:
        return 0
    return int(prepared.pairs.units.sum())


def no_table_reason(prepared: PreparedOperator) -> str:
    """Why a prepared operator has no thresholds."""
    seen: object = getattr(prepared, "layer", None) or getattr(prepared, "convolution", None)
    output = getattr(seen, "output", None)
    if output is not None and not isinstance(output.dtype, IntegerType):
        return f"no thresholds: the output is {output.dtype.name}, not an integer with a finite number of steps"
    if isinstance(prepared, PreparedDense) and isinstance(prepared.products, Pairs):
        words = pairs_words(prepared.products)
        return (
            f"no thresholds: in {overflowing_units(prepared)} of {prepared.layer.units} units {words.products} can "
            f"{words.overflow} in 16 bits, so that which accumulators an input reaches does not follow from sums of "
            "products"
        )
    if isinstance(prepared, PreparedConvolution) and len(prepared.parts) > 1:
        return f"no thresholds: {SEVERAL_RULES}"
    return "no thresholds: it has no integer accumulator that is requantized"


def why_no_tables(prepared: PreparedModel, op: Operator) -> str:
    """Why an operator of a prepared model has no thresholds: it is refused, or its output is no such function."""
    if op.index in prepared.refusals:
        return prepared.refusals[op.index]
    return no_table_reason(prepared.operators[op.index])


def layer_rows(layer: DenseLayer) -> int:
    """How many rows the layer's input has in its model: some kernels round one row in another way than several."""
    return max(math.prod(layer.output_shape(layer.input.shape)) // layer.units, 1)


def layer_operators(model: Model, op: int | None) -> tuple[Operator, ...]:
    """The dense layer or convolution that is operator `op`, or all of them.

    Raises:
        InputError: there is no such operator, or it is neither.
    """
    every = tuple(operator for operator in model.operators if operator.name in LAYERS)
    if op is None:
        return every
    operator = model.operator(op)
    if operator.name not in LAYERS:
        found = ", ".join(str(o.index) for o in every) or "none"
        raise InputError(
            f"{model.source}: {operator.label} is neither a dense layer nor a convolution; those are "
            f"operators: {found}."
        )
    return (operator,)


def layer_of(prepared: PreparedModel, op: Operator) -> PreparedOperator | None:
    """A prepared operator, a convolution as the dense layer over its windows; None where it is refused."""
    return as_dense(prepared.operators.get(op.index))


class LayerTables:
    """The tables of one dense layer in one runtime's arithmetic, made when they are asked for.

    Args:
        prepared: the layer.
        rows: for how many input rows; as in its model by default. A few kernels treat one row in another way.

    Attributes:
        prepared: the layer as that many rows see it.
        bits: width of the accumulator.
        total_low: int64 `[out]`: the smallest sum over all inputs, before any wrap.
        total_high: in the same way the largest.
    """

    def __init__(self, prepared: PreparedDense, rows: int | None = None) -> None:
        self.prepared = for_rows(prepared, layer_rows(prepared.layer) if rows is None else rows)
        self.bits = self.prepared.acc_bits
        self.total_low, self.total_high = prepared.layer.reachable_acc()
        self._block: tuple[int, list[StepTable | None]] | None = None

    @property
    def layer(self) -> DenseLayer:
        """What the file says of the layer."""
        return self.prepared.layer

    @property
    def params(self) -> RequantParams:
        """The requantization's constants; of the first units' rule where units follow two."""
        return self.prepared.requant

    @property
    def rule_name(self) -> str:
        """The name of the requantization's rule; of the choice where units follow two."""
        return self.params.rule.name if len(self.prepared.parts) == 1 else self.prepared.rule

    def params_of(self, unit: int) -> RequantParams:
        """The same in the rule that a unit follows."""
        return self.prepared.for_unit(unit).requant

    @property
    def tables_count(self) -> int:
        """How many different tables there are: one per unit, or one for all where there is one scale."""
        return channel_count(self.params)

    @property
    def width(self) -> int:
        """How many different outputs the type has."""
        dtype = integer_type(self.params.dtype)
        return dtype.qmax - dtype.qmin + 1

    def intervals(self, unit: int) -> list[Interval]:
        """The accumulators of a unit between the smallest and the largest sum there is; two ranges where that wraps."""
        low, high = int(self.total_low[unit]), int(self.total_high[unit])
        half = 1 << (self.bits - 1)
        if high - low >= 2 * half - 1:
            return [(-half, half - 1)]
        first, last = low_bits(low, self.bits), low_bits(high, self.bits)
        return [(first, last)] if first <= last else [(-half, last), (first, half - 1)]

    def wraps(self, unit: int) -> bool:
        """Whether some input makes this unit's sum leave its register."""
        half = 1 << (self.bits - 1)
        return int(self.total_low[unit]) < -half or int(self.total_high[unit]) >= half

    @cached_property
    def ranges(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The range of each table, both ends included: all that its units reach."""
        ends = [(spans[0][0], spans[-1][1]) for spans in map(self.intervals, range(self.layer.units))]
        low = np.asarray([e[0] for e in ends], np.int64)
        high = np.asarray([e[1] for e in ends], np.int64)
        if self.tables_count == 1:
            return low.min(keepdims=True), high.max(keepdims=True)
        return low, high

    def table(self, unit: int) -> StepTable | None:
        """The table that holds for a unit; None where overflow makes it too long to write down.

        Tables of wide outputs are kept a few at a time: ask for units in order.
        """
        index = unit if self.tables_count > 1 else 0
        per_block = max((1 << 20) // self.width, 1)
        number = index // per_block
        if self._block is None or self._block[0] != number:
            at = np.arange(number * per_block, min((number + 1) * per_block, self.tables_count))
            self._block = number, self._made(at)
        return self._block[1][index % per_block]

    def _made(self, at: Int64Array) -> list[StepTable | None]:
        """The tables at these places."""
        low, high = self.ranges
        found: list[StepTable | None] = []
        for units, part in self.prepared.parts:
            some = at[np.isin(at, np.arange(self.tables_count)[units])]
            found += step_tables(take_channels(part.requant, some), low[some], high[some]) if some.size else []
        return found

    def __iter__(self) -> Iterator[StepTable | None]:
        """Every different table: one for each unit, or a single one."""
        return (self.table(index) for index in range(self.tables_count))


def same_sums(first: LayerTables, second: LayerTables) -> bool:
    """Whether both sum up the same numbers: a kernel may ignore a zero point, or lose some of the sum on the way."""
    a, b = first.layer, second.layer
    return (
        first.prepared.pairs is second.prepared.pairs is None
        and (a.input_zero_point, a.weights_zero_point) == (b.input_zero_point, b.weights_zero_point)
        and np.array_equal(a.weights_values, b.weights_values)
        and np.array_equal(a.bias_values, b.bias_values)
    )


class TablePair:
    """One layer in two runtimes' arithmetic.

    Args:
        first: the layer in one runtime's arithmetic.
        second: the same layer in another's.

    Attributes:
        shared: where one table holds for all units: what differs over the range of all of them, once it was asked for.
    """

    def __init__(self, first: LayerTables, second: LayerTables) -> None:
        self.first, self.second = first, second
        self._comparable = same_sums(first, second)
        self.shared: Differing | None = None

    def differing(self, unit: int) -> list[Differing] | None:
        """Every accumulator of a unit's reachable range at which the two print different outputs.

        Returns:
            For each of the unit's reachable ranges (one, or two where the sum wraps) what differs in it. None where
            that is not decided: a table is too long, the accumulators have different widths and the sum may leave the
            narrower one, or they are different sums (`same_sums`).
        """
        first, second = self.first, self.second
        if not self._comparable:
            return None
        if first.bits != second.bits and (first.wraps(unit) or second.wraps(unit)):
            return None
        if first.tables_count == second.tables_count > 1:
            if _same_constants(first.params_of(unit), second.params_of(unit), unit):
                return []
        elif self.shared is not None:
            return [self.shared.within(*interval) for interval in first.intervals(unit)]
        a, b = first.table(unit), second.table(unit)
        if a is None or b is None:
            return None
        merged = _merge(a, b)
        if first.tables_count == second.tables_count == 1:
            self.shared = merged
        return [merged.within(*interval) for interval in first.intervals(unit)]


def _merge(a: StepTable, b: StepTable) -> Differing:
    """Two tables compared with each other on the range that both cover."""
    low, high = max(a.low, b.low), min(a.high, b.high)
    starts = np.union1d(a.starts, b.starts)
    starts = np.append([low], starts[(starts > low) & (starts <= high)])
    ours, theirs = a.at(starts), b.at(starts)
    ends = np.append(starts[1:] - 1, high)
    bad = ours != theirs
    return Differing(starts[bad], ends[bad], ours[bad], theirs[bad], (low, high))


def _same_constants(a: RequantParams, b: RequantParams, unit: int) -> bool:
    """Whether two layers requantize a unit by the same rule and the same numbers, so that no table is needed."""
    return a.rule == b.rule and all(
        _of_unit(getattr(a, name), unit) == _of_unit(getattr(b, name), unit)
        for name in ("effective_scale", "multiplier", "shift", "bias", "float_bias")
    ) and (a.output_zero_point, a.activation_min, a.activation_max) == (
        b.output_zero_point,
        b.activation_min,
        b.activation_max,
    )  # fmt: skip


def _of_unit(values: Array | None, unit: int) -> float | int | None:
    """A unit's own value, or the one that all have."""
    return None if values is None else values[unit if values.size > 1 else 0].item()


def graph_of(layer: DenseLayer) -> Model:
    """A layer as a model of its own, for questions that need a model: nothing of it is written to a file."""
    used: Sequence[int] = list(dict.fromkeys(i for i in (*layer.operator.inputs, *layer.operator.outputs) if i >= 0))
    known = {t.index: t for t in (layer.input, layer.stored_weights, layer.bias, layer.output) if t is not None}
    position = {index: new for new, index in enumerate(used)}
    tensors = tuple(replace(known[index], index=position[index]) for index in used)
    op = replace(
        layer.operator,
        index=0,
        inputs=tuple(position.get(i, -1) for i in layer.operator.inputs),
        outputs=tuple(position[i] for i in layer.operator.outputs),
    )
    graph = Subgraph("layer", tensors, (op,), (op.inputs[0],), op.outputs)
    return Model((graph,), "", 3, b"", f"<layer {layer.operator.index}>")
