"""One layer in two runtimes: its tables compared with each other, and an input that shows where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...engines.reference import Trace
from ...layers.float_inputs import normal_rows
from ...layers.running import accumulators, random_rows, rows_in_rule
from ...layers.separating_inputs import boundary_inputs
from ...layers.solving import Reach, UnitSolver
from ...layers.step_tables import (
    LayerTables,
    TablePair,
    has_table,
    layer_of,
    layer_rows,
    overflowing_units,
    same_sums,
    why_no_tables,
)
from ...model.graph import Operator
from ...model.types import IntArray
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import PreparedLayer
from ...ops.prepare import PreparedModel
from ...rules.base import Pairs
from ...rules.sums.words import pairs_words
from .float_rows import compare_rows, has_float_output, same_operations, separating_row
from .layer_result import LayerCertificate, Occurrence, UnitDifference, Witness

__all__ = ["LayerPair"]

# Elements that are looked up at one time.
_AT_A_TIME = 1 << 22
# Products of a layer with a float output that are calculated for the count on random rows.
_FLOAT_PRODUCTS = 1 << 26
# Outputs of a layer without a table that are compared.
_OUTPUTS = 1_000_000
# Accumulators for which an input is sought before the search is given up.
_TARGETS = 400
_UNITS_TRIED = 40
_MOST_TOTALS = 4


class LayerPair:
    """One dense layer or convolution in two runtimes."""

    def __init__(
        self, sides: tuple[PreparedModel, PreparedModel], op: Operator, samples: int, rng: np.random.Generator
    ) -> None:
        self.sides, self.op, self.samples, self.rng = sides, op, samples, rng
        self.result = LayerCertificate(op.index, op.name)

    def certify(self, traces: Sequence[Trace]) -> LayerCertificate:
        """Compare the tables, and where they differ, find out how often and with which input."""
        result = self.result
        sides: list[PreparedLayer] = []
        for side, reasons in zip(self.sides, (result.first, result.second), strict=True):
            prepared = layer_of(side, self.op)
            if has_table(prepared) or has_float_output(prepared) or overflowing_units(prepared):
                assert isinstance(prepared, PreparedLayer)
                sides.append(prepared)
                reasons.rule, reasons.kernel = prepared.rule, prepared.kernel
                reasons.requantization = prepared.rule
            else:
                reasons.refusal = why_no_tables(side, self.op)
        if len(sides) < 2:
            result.status = "not covered"
            return result
        first, second = sides
        result.units, result.rows = first.layer.units, layer_rows(first.layer)
        if isinstance(first, PreparedDense) and isinstance(second, PreparedDense):
            self._certify_integers(LayerTables(first), LayerTables(second), traces)
        else:
            self._certify_floats(first, second, traces)
        return result

    def _certify_integers(self, first: LayerTables, second: LayerTables, traces: Sequence[Trace]) -> None:
        result, tables = self.result, (first, second)
        result.first.requantization, result.second.requantization = (
            t.rule_name if t.prepared.pairs is None else t.prepared.rule for t in tables
        )
        result.tables = first.tables_count
        result.distribution = f"each value drawn evenly from all of {first.layer.input.dtype.name}"
        if not same_sums(*tables):
            self._compare_sums(tables)
            return
        self._compare_tables(tables)
        if result.status == "differs":
            self._count(tables, traces)

    def _certify_floats(self, first: PreparedLayer, second: PreparedLayer, traces: Sequence[Trace]) -> None:
        """No table: the same operations are a proof, and else inputs are tried."""
        result = self.result
        if same_operations(first, second):
            result.status, result.why = "same", "the same rule with the same constants"
            return
        result.distribution = "standard normal values"
        result.witness = separating_row(first, second, self.rng)
        if self.samples:
            result.random = Occurrence()
            count = max(min(self.samples, _FLOAT_PRODUCTS // (first.layer.depth * first.layer.units)), 1)
            compare_rows(first, second, normal_rows(first.layer.depth, count, self.rng), result.random)
        for trace in traces:
            values = trace.tensors.get(first.layer.input.index)
            if values is not None:
                result.data = result.data or Occurrence()
                compare_rows(first, second, first.layer.rows(values), result.data)
        seen = [found for found in (result.random, result.data) if found is not None and found.differing]
        tried = "no difference found" if result.random is not None else "not decided"
        result.status = "differs" if result.witness is not None or seen else tried
        result.why = "other operations on float values: there is no table, so inputs were tried"

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
        """The accumulators are no sums of products, or different ones: no table tells, so random rows are tried."""
        result = self.result
        why = "the accumulators are different sums"
        added = {t.prepared.products for t in tables if overflowing_units(t.prepared)}
        told = [pairs_words(pairs) for pairs in added if isinstance(pairs, Pairs)]
        if told:
            pairs = " and ".join(sorted(f"{words.products} can {words.overflow}" for words in told))
            why = f"{pairs} in 16 bits, and there is no table of such sums"
        result.status, result.why = "no difference found", f"{why}, so inputs were tried"
        layer = tables[0].layer
        count = min(self.samples, _OUTPUTS // layer.units, _FLOAT_PRODUCTS // (layer.depth * layer.units))
        rows = np.concatenate([boundary_inputs(layer, self.rng), random_rows(layer, max(count, 100), self.rng)])
        (accs, first), (_, second) = (rows_in_rule(t.prepared, rows) for t in tables)
        bad = first != second
        result.random = Occurrence()
        result.random.add(bad)
        if bad.any():
            row, unit = (int(i) for i in np.argwhere(bad)[0])
            outputs = int(first[row, unit]), int(second[row, unit])
            result.status, result.why = "differs", why
            result.witness = Witness(rows[row], unit, int(accs[row, unit]), *outputs)

    def _why_same(self, tables: tuple[LayerTables, LayerTables]) -> str:
        if self.result.undecided_units:
            return (
                "an accumulator leaves its register, and the runtimes' registers differ in width or wrap so often that "
                "there is no table"
            )
        if self.result.never_reached:
            return "the accumulators at which the tables differ are not in step with the weights' common divisor"
        if tables[0].rule_name == tables[1].rule_name:
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
