"""compare: a certificate that two runtimes print the same for every input of a dense layer, or where they do not.

Both runtimes' requantization tables are held against each other on every accumulator that the layer's weights and its
input's type can reach. Equal tables prove equal outputs for all inputs, of which no sample can tell. Where they differ,
every such accumulator is listed, and an input is solved for that shows it, and run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .api import load
from .certify_layer import LayerCertificate, Occurrence, UnitDifference, Witness
from .certify_report import Certificate, DataResult
from .differences import compare_arrays
from .engines import reference
from .engines.reference import Trace
from .errors import InputError
from .layer_tables import (
    LayerTables,
    TablePair,
    has_table,
    layer_rows,
    same_sums,
    why_no_tables,
)
from .model import Model, Operator
from .ops.dense_8bit import PreparedDense
from .oracles import OracleFailure, installed, open_oracle
from .prepare import PreparedModel, prepare
from .runtimes import Runtime, get_runtime
from .single_layer import accumulators, random_inputs, random_rows, rows_in_oracle, rows_in_rule
from .solving import Reach, UnitSolver
from .types import Array, IntArray

__all__ = ["DEFAULT_SAMPLES", "compare"]

DEFAULT_SAMPLES = 20_000
"""Random rows on which differences are counted, for each layer that has some."""

# Inputs of the whole model that are run where none are given.
_MODEL_SAMPLES = 16
# Elements that are looked up at one time.
_AT_A_TIME = 1 << 22
# Accumulators for which an input is sought before the search is given up.
_TARGETS = 400
_UNITS_TRIED = 40
_MOST_TOTALS = 4

Progress = Callable[[int, int, str], None]


def compare(
    model: str | os.PathLike[str] | bytes | Model,
    first: str | Runtime,
    second: str | Runtime,
    *,
    op: int | None = None,
    x: Any = None,
    samples: int = DEFAULT_SAMPLES,
    oracles: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Certificate:
    """Certify where two runtimes, or two versions of one, print the same, and list where they do not.

    For each dense layer: either both give the same output for every input (proved: their tables are equal on every
    accumulator of the reachable range, or those at which they are not are reached by no input); or every accumulator
    at which they differ, how often that happens, and an input that shows it. Then every covered operator on the same
    data, and the whole model end to end on data.

    Args:
        model: a Model, a path or a file's bytes.
        first: a runtime or its name.
        second: another one.
        op: only this operator; default: every dense layer, and the whole model on data.
        x: inputs of the model, as `lastbit.run` takes them; default: random ones.
        samples: random rows on which differences of a layer are counted; 0 counts none.
        oracles: confirm each input found on the real interpreters too, where they are installed.
        seed: of all random inputs.
        progress: called with (steps done, steps in total, what is done next).

    Returns:
        The Certificate; `exit_code` is 0 where all is the same, 1 where something differs, 3 where a layer is not
        covered or not decided and nothing differs.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: both runtimes are one, an input does not fit, or there is no such dense operator.
    """
    loaded = load(model)
    pair = get_runtime(first), get_runtime(second)
    if pair[0].name == pair[1].name:
        raise InputError(f"both runtimes are {pair[0].name}; name two different ones. `lastbit runtimes` lists them.")
    if samples < 0:
        raise InputError(f"samples is {samples}; wanted 0 or more")
    sides = prepare(loaded, pair[0]), prepare(loaded, pair[1])
    operators = _chosen(loaded, op)
    steps = len(operators) + (op is None)
    traces = list(_runs(sides[0], x, seed)) if x is not None or op is None else []
    layers = []
    for done, operator in enumerate(operators):
        if progress is not None:
            progress(done, steps, operator.label)
        rng = np.random.default_rng([seed, operator.index])
        layers.append(_Layer(sides, operator, samples, rng).certify(traces if x is not None else []))
    if oracles:
        for side in sides:
            _confirm(side, [layer for layer in layers if layer.witness is not None])
    data = None
    if op is None:
        if progress is not None:
            progress(len(operators), steps, "the whole model on data")
        data = _on_data(sides, traces, x is None)
    return Certificate(loaded, pair, layers, data, samples, seed)


def _chosen(model: Model, op: int | None) -> tuple[Operator, ...]:
    if op is None:
        return model.dense_operators
    operator = model.operator(op)
    if operator.name != "FULLY_CONNECTED":
        dense = ", ".join(str(o.index) for o in model.dense_operators) or "none"
        raise InputError(f"{model.source}: {operator.label} is no dense layer; dense layers are: {dense}.")
    return (operator,)


class _Layer:
    """One dense layer in two runtimes."""

    def __init__(
        self, sides: tuple[PreparedModel, PreparedModel], op: Operator, samples: int, rng: np.random.Generator
    ) -> None:
        self.sides, self.op, self.samples, self.rng = sides, op, samples, rng
        self.result = LayerCertificate(op.index, op.name)

    def certify(self, traces: Sequence[Trace]) -> LayerCertificate:
        """Compare the tables, and where they differ, find out how often and with which input."""
        result = self.result
        both = []
        for side, reasons in zip(self.sides, (result.first, result.second), strict=True):
            prepared = side.operators.get(self.op.index)
            if isinstance(prepared, PreparedDense) and has_table(prepared):
                both.append(LayerTables(prepared))
                reasons.rule, reasons.kernel = prepared.rule, prepared.kernel
                reasons.requantization = both[-1].params.rule.name
            else:
                reasons.refusal = why_no_tables(side, self.op)
        if len(both) < 2:
            result.status = "not covered"
            return result
        tables = both[0], both[1]
        result.units, result.tables = tables[0].layer.units, tables[0].tables_count
        result.rows = layer_rows(tables[0].layer)
        if not same_sums(*tables):
            self._compare_sums(tables)
            return result
        self._compare_tables(tables)
        if result.status == "differs":
            self._count(tables, traces)
        return result

    def _compare_tables(self, tables: tuple[LayerTables, LayerTables]) -> None:
        """All accumulators at which the outputs differ, unit by unit."""
        result = self.result
        solvers = [UnitSolver(tables[0].layer, unit) for unit in range(result.units)]
        pair = TablePair(*tables)
        for unit, solver in enumerate(solvers):
            spans = tables[0].intervals(unit)
            result.reachable += sum(high - low + 1 for low, high in spans)
            found = pair.differing(unit)
            if found is None:
                result.undecided_units.append(unit)
                continue
            reach = solver.reach
            stepped = found
            if reach.divisor != 1 and not tables[0].wraps(unit):
                stepped = [part.in_step(reach.low, max(reach.divisor, 1)) for part in found]
            difference = UnitDifference(unit, spans[0][0], spans[-1][1], [part for part in stepped if len(part)])
            result.never_reached += sum(part.count for part in found) - difference.count
            if difference.count:
                result.differences.append(difference)
        result.shared = pair.shared
        if not result.differences:
            result.status = "not decided" if result.undecided_units else "same"
            result.why = self._why_same(tables)
            return
        result.witness, all_tried = self._witness(tables, solvers)
        if result.witness is not None:
            result.status = "differs"
        elif all_tried and not result.undecided_units:
            # Every accumulator in question was decided: none is the sum of any input.
            result.never_reached += sum(d.count for d in result.differences)
            result.differences.clear()
            result.status, result.why = "same", "the accumulators at which the tables differ are reached by no input"
        else:
            result.status = "not decided"
            result.why = "the tables differ, but no input was found that reaches an accumulator at which they do"

    def _compare_sums(self, tables: tuple[LayerTables, LayerTables]) -> None:
        """The accumulators themselves are different sums: no table tells, so random rows are tried."""
        result = self.result
        result.status, result.why = "not decided", "the accumulators are different sums, and no random row differs"
        rows = random_rows(tables[0].layer, min(max(self.samples, 100), 1000), self.rng)
        (accs, first), (_, second) = (rows_in_rule(t.prepared, rows) for t in tables)
        bad = first != second
        result.random = Occurrence()
        result.random.add(bad)
        if bad.any():
            row, unit = (int(i) for i in np.argwhere(bad)[0])
            outputs = int(first[row, unit]), int(second[row, unit])
            result.status, result.why = "differs", "the accumulators are different sums"
            result.witness = Witness(rows[row], unit, int(accs[row, unit]), *outputs)

    def _why_same(self, tables: tuple[LayerTables, LayerTables]) -> str:
        if self.result.undecided_units:
            return (
                "an accumulator leaves its register, and the runtimes' registers differ in width or wrap so often that "
                "there is no table"
            )
        if self.result.never_reached:
            return "the accumulators at which the tables differ are not in step with the weights' common divisor"
        if tables[0].params.rule == tables[1].params.rule:
            return "the same rule with the same constants"
        return "the tables are equal on the reachable range"

    def _witness(
        self, tables: tuple[LayerTables, LayerTables], solvers: Sequence[UnitSolver]
    ) -> tuple[Witness | None, bool]:
        """An input that shows a difference; and if none was found, whether it is certain that there is none."""
        certain = sum(d.count for d in self.result.differences) <= _TARGETS
        for unit, acc in self._targets(solvers, certain):
            totals = _totals(acc, tables[0].bits, solvers[unit].reach)
            certain &= len(totals) < _MOST_TOTALS
            for total in totals:
                x = solvers[unit].solve(total, self.rng)
                if x is not None:
                    outputs = [int(rows_in_rule(t.prepared, x[None])[1][0, unit]) for t in tables]
                    found = int(accumulators(tables[0].prepared, x[None])[0, unit])
                    assert found == acc, "a solved input has another accumulator"
                    assert outputs[0] != outputs[1], "a solved input shows no difference"
                    return Witness(x, unit, acc, outputs[0], outputs[1]), True
                certain &= solvers[unit].is_reachable(total) is False
        return None, certain

    def _targets(self, solvers: Sequence[UnitSolver], every: bool) -> Iterator[tuple[int, int]]:
        """Units and accumulators to find an input for: all there are, or those nearest to the middle of some units."""
        differences = sorted(self.result.differences, key=lambda d: not solvers[d.unit].reach.gapless)
        for difference in differences if every else differences[:_UNITS_TRIED]:
            reach = solvers[difference.unit].reach
            low = np.concatenate([part.ends[0] for part in difference.parts])
            high = np.concatenate([part.ends[1] for part in difference.parts])
            step = difference.parts[0].divisor
            order = np.argsort(np.abs(low - (reach.low + reach.high) // 2), kind="stable")
            for i in order if every else order[: _TARGETS // _UNITS_TRIED]:
                last = int(high[i]) if every else int(low[i])
                yield from ((difference.unit, acc) for acc in range(int(low[i]), last + 1, step))

    def _count(self, tables: tuple[LayerTables, LayerTables], traces: Sequence[Trace]) -> None:
        """How often differences occur on random rows and on the data given."""
        result = self.result
        layer = tables[0].layer
        table = _Lookup(result.differences)
        if self.samples:
            result.random = Occurrence()
            step = max(_AT_A_TIME // layer.units, 1)
            for start in range(0, self.samples, step):
                rows = random_rows(layer, min(step, self.samples - start), self.rng)
                result.random.add(table.differing(accumulators(tables[0].prepared, rows)))
        for trace in traces:
            values = trace.tensors.get(layer.input.index)
            if values is not None:
                result.data = result.data or Occurrence()
                result.data.add(table.differing(accumulators(tables[0].prepared, layer.rows(values))))


def _confirm(side: PreparedModel, layers: Sequence[LayerCertificate]) -> None:
    """Run the inputs that were found on a real interpreter, where it is installed."""
    name = side.runtime.name
    if installed(name) is None:
        for layer in layers:
            assert layer.witness is not None
            layer.witness.confirmed[name] = "not installed"
        return
    if not layers:
        return
    with open_oracle(name) as oracle:
        for layer in layers:
            prepared, witness = side.operators[layer.index], layer.witness
            assert isinstance(prepared, PreparedDense)
            assert witness is not None
            rows = np.repeat(witness.x[None], min(layer.rows, 16), axis=0)
            try:
                outputs = rows_in_oracle(oracle, side.model, prepared.layer, rows, layer.rows)
                witness.confirmed[name] = int(outputs[0, witness.unit])
            except OracleFailure as failure:
                witness.confirmed[name] = f"did not run it: {failure.reason}"


class _Lookup:
    """Which accumulators of a layer differ, for whole matrices of them."""

    def __init__(self, differences: Sequence[UnitDifference]) -> None:
        self.differences = differences

    def differing(self, accs: IntArray) -> IntArray:
        """1 where the outputs of `[n, out]` accumulators differ."""
        result = np.zeros(accs.shape, np.int8)
        for difference in self.differences:
            column = accs[:, difference.unit]
            for part in difference.parts:
                low, high = part.ends
                at = np.searchsorted(low, column, "right") - 1
                result[:, difference.unit] |= (at >= 0) & (column <= high[np.maximum(at, 0)])
        return result


def _totals(acc: int, bits: int, reach: Reach) -> list[int]:
    """The sums within reach that a register of this width holds as `acc`."""
    period = 1 << bits
    first = acc + -(-(reach.low - acc) // period) * period
    return [t for t in range(first, reach.high + 1, period) if reach.allows(np.asarray(t))][:_MOST_TOTALS]


def _runs(side: PreparedModel, x: Any, seed: int) -> Iterator[Trace]:
    """The model in one runtime's arithmetic, on the data given or on random data."""
    if x is not None:
        several = isinstance(x, Mapping) or (isinstance(x, Sequence) and len(side.model.inputs) > 1)
        yield reference.run(side, x if several else [x], partial=True)
        return
    rng = np.random.default_rng([seed, 2**20])
    for _ in range(_MODEL_SAMPLES):
        yield reference.run(side, random_inputs(side.model, rng), partial=True)


def _on_data(sides: tuple[PreparedModel, PreparedModel], traces: Sequence[Trace], drawn: bool) -> DataResult:
    """Every operator on the same inputs, and the whole model end to end."""
    result = DataResult("random inputs over the whole range" if drawn else "the inputs given", len(traces))
    model = sides[0].model
    for trace in traces:
        for index, entry in trace.operators.items():
            other = sides[1].operators.get(index)
            if other is None:
                continue
            steps = other.evaluate([trace.tensors[i] for i in other.inputs])
            result.add_operator(model.operators[index], compare_arrays(entry.output, steps["output"]))
        other_trace = reference.run(sides[1], {t.index: trace.tensors[t.index] for t in model.inputs}, partial=True)
        for tensor in model.outputs:
            if tensor.index in trace.tensors and tensor.index in other_trace.tensors:
                result.add_output(compare_arrays(_value(trace, tensor.index), _value(other_trace, tensor.index)))
    uncovered = {i for side in sides for i in side.refusals}
    result.uncovered = [model.operators[i].label for i in sorted(uncovered)]
    return result


def _value(trace: Trace, index: int) -> Array:
    return trace.tensors[index]
