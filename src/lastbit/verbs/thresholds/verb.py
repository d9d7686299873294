"""thresholds: the whole requantization of a layer as tables of integers, exact for every accumulator it can reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...layers.step_tables import LayerTables, graph_of, has_table, layer_of, layer_operators, layer_rows, why_no_tables
from ...model.errors import InputError
from ...model.graph import Model
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import DenseLayer
from ...ops.prepare import prepare
from ...report.blocks import Block, Heading, Report, Table, Text
from ...report.one_screen import one_screen
from ...report.phrases import layers_text, merged
from ...report.pictures import Picture, Steps
from ...rules.requantize.step_tables import MAX_RUNS, StepTable
from ...runtimes import DEFAULT_RUNTIME, Runtime
from ..run.verb import load

__all__ = ["LayerThresholds", "Thresholds", "thresholds"]

# Rows of a long table that are shown.
_ROWS = 40
# Tables of wider outputs are printed and written for one channel at a time.
_NARROW = 256


@dataclass(frozen=True, eq=False)
class LayerThresholds:
    """The tables of one dense layer or convolution.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        prepared: the layer in the runtime's arithmetic, or None where it has no thresholds.
        refusal: why it has none, else empty.
        channel: the unit that was asked for, or None for all.
    """

    index: int
    name: str
    prepared: PreparedDense | None
    refusal: str = ""
    channel: int | None = None
    _made: list[LayerTables] = field(default_factory=list, repr=False)

    @property
    def tables(self) -> LayerTables:
        """The layer's tables, made on first use.

        Raises:
            InputError: the layer has none; the message says why.
        """
        if self.prepared is None:
            raise InputError(f"operator {self.index} {self.name}: {self.refusal}")
        if not self._made:
            self._made.append(LayerTables(self.prepared))
        return self._made[0]

    def table(self, unit: int = 0) -> StepTable | None:
        """The table of a unit over the accumulators it can reach; None where overflow makes it too long.

        Raises:
            InputError: there is no such unit, or the layer has no tables.
        """
        tables = self.tables
        if not 0 <= unit < tables.layer.units:
            raise InputError(
                f"operator {self.index} {self.name}: there is no unit {unit}; wanted 0 to {tables.layer.units - 1}"
            )
        return tables.table(unit)

    def shown(self) -> Iterator[tuple[int | None, StepTable | None]]:
        """The tables asked for, each with its unit; None stands for all units of a per-tensor layer."""
        tables = self.tables
        if self.channel is not None:
            yield self.channel, self.table(self.channel)
        elif tables.tables_count == 1:
            yield None, tables.table(0)
        else:
            yield from enumerate(tables)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The layer as plain data. Wide outputs have their thresholds only where one channel was asked for."""
        tables = self.tables
        full = tables.width <= _NARROW or self.channel is not None
        return {
            "operator": self.index,
            "name": self.name,
            "rule": tables.prepared.rule,
            "requantization": tables.rule_name,
            "kernel": tables.prepared.kernel,
            "granularity": tables.layer.granularity,
            "units": tables.layer.units,
            "rows": layer_rows(tables.layer),
            "accumulator_bits": tables.bits,
            "output": tables.params.dtype.name,
            "tables": [_table_dict(unit, table, full) for unit, table in self.shown()],
        }

    @cached_property
    def row(self) -> tuple[Any, ...]:
        """What is said of its tables in one line."""
        found = [table for _, table in self.shown()]
        good = [table for table in found if table is not None]
        counts = [len(table) - 1 for table in good]
        low = min((t.low for t in good), default=0)
        high = max((t.high for t in good), default=0)
        falls = sum(not table.monotone for table in good)
        notes = [f"{falls} not monotone: overflow wraps"] * bool(falls)
        notes += [f"{len(found) - len(good)} with more than {MAX_RUNS} steps"] * (len(good) < len(found))
        thresholds = " to ".join(map(str, dict.fromkeys((min(counts), max(counts))))) if counts else "-"
        layer = self.tables.layer
        shape = f"{layer.units} x {layer.depth}"
        return self.index, shape, self.tables.rule_name, len(found), thresholds, f"{low} .. {high}", "; ".join(notes)


def _table_dict(unit: int | None, table: StepTable | None, full: bool) -> dict[str, Any]:
    which: dict[str, Any] = {"unit": unit}  # null: holds for every unit
    if table is None:
        return {**which, "note": f"overflow makes more than {MAX_RUNS} steps; no table"}
    entry = {
        **which,
        "low": table.low,
        "high": table.high,
        "monotone": table.monotone,
        "monotone_ranges": [list(ends) for ends in table.monotone_ranges],
        "thresholds_count": len(table) - 1,
    }
    if full:
        entry["thresholds"] = table.thresholds.tolist()
        entry["outputs"] = table.values.tolist()
    else:
        entry["note"] = "ask for one channel to get the thresholds of this wide output"
    return entry


class Thresholds(Report):
    """The result of `thresholds`.

    Attributes:
        model: the model.
        runtime: whose arithmetic.
        layers: the dense layers and convolutions, those without thresholds too.
    """

    def __init__(self, model: Model, runtime: Runtime, layers: list[LayerThresholds]) -> None:
        self.model = model
        self.runtime = runtime
        self.layers = tuple(layers)

    @property
    def covered(self) -> list[LayerThresholds]:
        """The layers that have thresholds."""
        return [layer for layer in self.layers if layer.prepared is not None]

    def calculate(self, progress: Callable[[int, int, str], None], *, plain: bool = False) -> None:
        """Calculate what is printed, which takes its time in large models; else it is calculated when it is asked for.

        Args:
            progress: called with (layers done, layers in all, the next one).
            plain: whether it is printed as plain data.
        """
        for number, layer in enumerate(self.covered):
            progress(number, len(self.covered), f"operator {layer.index} {layer.name}")
            _ = layer.plain if plain else layer.row

    @property
    def exit_code(self) -> int:
        """0, or 3 where no layer has thresholds."""
        return 0 if self.covered else 3

    def __getitem__(self, op: int) -> LayerThresholds:
        """The layer that is operator `op`."""
        for layer in self.layers:
            if layer.index == op:
                return layer
        found = ", ".join(str(layer.index) for layer in self.layers) or "none"
        raise InputError(f"{self.model.source}: operator {op} is not among the layers asked for ({found})")

    def in_short(self) -> list[str]:
        """How many layers have tables."""
        verdict = (
            f"{len(self.covered)} of {len(self.layers)} {layers_text(layer.name for layer in self.layers)} have tables"
        )
        return [verdict, f"{self.runtime.name}, {self.model.source}"]

    def as_dict(self) -> dict[str, Any]:
        """The tables as plain data, schema lastbit.thresholds/1."""
        return {
            "schema": "lastbit.thresholds/1",
            "model": self.model.source,
            "runtime": self.runtime.name,
            "layers": [layer.plain for layer in self.covered],
            "not_covered": [
                {"operator": layer.index, "name": layer.name, "reason": layer.refusal}
                for layer in self.layers
                if layer.prepared is None
            ],
        }

    def pictures(self) -> list[Picture]:
        """The first table of each layer as steps."""
        found: list[Picture] = []
        for layer in self.covered:
            unit, table = next(iter(layer.shown()))
            if table is None:
                continue
            which = "every unit" if unit is None else f"unit {unit}"
            title = f"operator {layer.index} {layer.name}, {which}: output by accumulator"
            lines = {self.runtime.name: (table.starts, table.values)}
            found.append(Steps(title, lines, table.high, "accumulator", "output"))
        return found

    def records(self) -> list[dict[str, Any]]:
        """A row for each run of equal outputs of each table; unit None stands for every unit."""
        return [
            {
                "operator": layer.index,
                "unit": unit,
                "first_acc": int(first),
                "last_acc": int(last),
                "output": int(value),
            }
            for layer in self.covered
            for unit, table in layer.shown()
            if table is not None
            for first, last, value in zip(table.starts, table.ends, table.values, strict=True)
        ]

    def first_screen(self) -> list[Block]:
        """All of it, with as many rows as a screen has room for."""
        return one_screen(self.blocks())

    def blocks(self) -> list[Block]:
        """A row for each layer; where there is one layer, a row for each unit; where there is one table, all of it."""
        blocks: list[Block] = [Heading(f"thresholds on {self.runtime.name} of {self.model.source}")]
        rows = [layer.row for layer in self.covered]
        if rows:
            headers = ("op", "units x depth", "rule", "tables", "thresholds", "reachable acc", "")
            blocks.append(Table(headers, rows, right=("op", "tables")))
        if len(self.covered) == 1:
            blocks += _layer_blocks(self.covered[0])
        bad = [(layer.index, layer.name, layer.refusal) for layer in self.layers if layer.prepared is None]
        if bad:
            blocks.append(Table(("op", "operator", "why"), merged(bad), title="Without thresholds"))
        if not self.layers:
            blocks.append(Text("This model has no dense layer and no convolution.", "warning"))
        return blocks


def _layer_blocks(layer: LayerThresholds) -> list[Block]:
    """The tables of one layer: all runs of a single table, or a row for each of several."""
    found = list(layer.shown())
    if len(found) > 1:
        rows = [
            (unit, len(table) - 1, f"{table.low} .. {table.high}", int(table.values[0]), int(table.values[-1]))
            for unit, table in found[:_ROWS]
            if table is not None
        ]
        headers = ("unit", "thresholds", "reachable accumulators", "first output", "last output")
        blocks: list[Block] = [Table(headers, rows, right=("unit", "thresholds", "first output", "last output"))]
        left = f"; {len(found) - _ROWS} more units" if len(found) > _ROWS else ""
        return [*blocks, Text(f"--channel N prints a unit's table, --json all of them{left}", "dim")]
    ((unit, table),) = found
    if table is None:
        return []
    who = "every unit" if unit is None else f"unit {unit}"
    runs = list(zip(table.starts.tolist(), table.ends.tolist(), table.values.tolist(), strict=True))
    few = runs if len(runs) <= _NARROW or layer.channel is not None else [*runs[: _ROWS // 2], *runs[-_ROWS // 2 :]]
    listing: list[Block] = [
        Table(("first acc", "last acc", "output"), few, title=f"{who}: output by accumulator", right=_RUN_HEADERS)
    ]
    if len(few) < len(runs):
        listing.append(Text(f"{len(runs) - len(few)} runs between are left out; --channel or --json has them", "dim"))
    if not table.monotone:
        ranges = "; ".join(f"{a} .. {b}" for a, b in table.monotone_ranges[:_ROWS])
        listing.append(Text(f"Not monotone: an overflow wraps. Monotone stretches: {ranges}", "warning"))
    return listing


_RUN_HEADERS = ("first acc", "last acc", "output")


def thresholds(
    layer_or_model: str | os.PathLike[str] | bytes | Model | DenseLayer,
    runtime: str | Runtime = DEFAULT_RUNTIME,
    op: int | None = None,
    *,
    channel: int | None = None,
) -> Thresholds:
    """The exact requantization tables of dense layers and convolutions: the accumulators at which the output changes.

    Each table holds for every accumulator that the unit's weights and the input type's range can reach (the range from
    the smallest to the largest; not every integer in it need be reached). At most 255 thresholds describe an 8-bit
    output; where an overflow wraps, the function is not monotone, and the table has the stretches on which it is.

    Args:
        layer_or_model: a model, a path, a file's bytes, or one layer.
        runtime: whose arithmetic.
        op: only this operator; default: every dense layer and convolution.
        channel: only this output unit.

    Returns:
        The Thresholds: `report[op].table(unit)` is a StepTable with `starts`, `values`, `thresholds` and `at(accs)`.
        Layers that are refused, and layers with a float output, are listed with the reason.

    Raises:
        ModelError: the model is malformed.
        RuntimeNameError: no such runtime.
        InputError: there is no such operator or unit, or the operator is neither a dense layer nor a convolution.
    """
    model = graph_of(layer_or_model) if isinstance(layer_or_model, DenseLayer) else load(layer_or_model)
    prepared = prepare(model, runtime)
    layers = []
    for operator in layer_operators(model, op):
        entry = layer_of(prepared, operator)
        if isinstance(entry, PreparedDense) and has_table(entry):
            layers.append(LayerThresholds(operator.index, operator.name, entry, channel=channel))
            if channel is not None:
                layers[-1].table(channel)
        else:
            refusal = why_no_tables(prepared, operator)
            layers.append(LayerThresholds(operator.index, operator.name, None, refusal))
    return Thresholds(model, prepared.runtime, layers)
