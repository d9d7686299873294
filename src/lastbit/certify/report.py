"""What compare found, as data and as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..differences import Difference
from ..growth import Growth
from ..model import Model, Operator
from ..report import Block, Code, Heading, Report, Table, Text
from ..runtimes import Runtime
from ..texts import merged, numbers
from .layer import LayerCertificate, Witness

__all__ = ["Certificate", "DataResult"]

_RANGES_SHOWN = 12
_VALUES_SHOWN = 48


@dataclass
class DataResult:
    """Two runtimes on the same data.

    Attributes:
        what: which data.
        runs: runs of the whole model.
        operators: operator label -> (elements, those that differ) given the same operator input.
        outputs: elements of the model's outputs that were compared, end to end.
        mismatches: those that differ.
        largest: the largest difference of an output.
        uncovered: operators that are not covered on one side or both.
        growth: every operator's outputs where each runtime goes its own way.
    """

    what: str
    runs: int
    operators: dict[str, tuple[int, int]] = field(default_factory=dict)
    outputs: int = 0
    mismatches: int = 0
    largest: float = 0.0
    uncovered: list[str] = field(default_factory=list)
    growth: Growth = field(default_factory=Growth)

    def add_operator(self, op: Operator, difference: Difference) -> None:
        """Count one operator's output."""
        elements, bad = self.operators.get(op.label, (0, 0))
        self.operators[op.label] = elements + difference.elements, bad + difference.mismatched

    def add_output(self, difference: Difference) -> None:
        """Count one output of the model."""
        self.outputs += difference.elements
        self.mismatches += difference.mismatched
        self.largest = max(self.largest, difference.largest)

    @property
    def differs(self) -> bool:
        """Whether anything differed."""
        return bool(self.mismatches or any(bad for _, bad in self.operators.values()))

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        operators = [{"operator": k, "elements": n, "mismatches": bad} for k, (n, bad) in self.operators.items()]
        return {**vars(self), "operators": operators, "growth": self.growth.as_dict()}


class Certificate(Report):
    """The result of `compare`.

    Attributes:
        model: the model.
        runtimes: the two runtimes.
        layers: the dense layers.
        data: operators and the whole model on data, or None where one operator was asked for.
        samples: random rows for each layer.
        seed: of all randomness.
    """

    def __init__(
        self,
        model: Model,
        runtimes: tuple[Runtime, Runtime],
        layers: Sequence[LayerCertificate],
        data: DataResult | None,
        samples: int,
        seed: int,
    ) -> None:
        self.model = model
        self.runtimes = runtimes
        self.layers = tuple(layers)
        self.data = data
        self.samples = samples
        self.seed = seed

    def count(self, status: str) -> int:
        """How many layers have this status."""
        return sum(layer.status == status for layer in self.layers)

    @property
    def exit_code(self) -> int:
        """0: all is the same. 1: something differs. 3: a layer is not covered or not decided, and nothing differs."""
        if self.count("differs") or (self.data is not None and self.data.differs):
            return 1
        return 0 if self.layers and self.count("same") == len(self.layers) else 3

    def as_dict(self) -> dict[str, Any]:
        """The certificate as plain data, schema lastbit.compare/1."""
        return {
            "schema": "lastbit.compare/1",
            "model": self.model.source,
            "runtimes": [r.name for r in self.runtimes],
            "samples": self.samples,
            "seed": self.seed,
            "layers": [layer.as_dict() for layer in self.layers],
            "data": None if self.data is None else self.data.as_dict(),
        }

    def in_short(self) -> list[str]:
        """The verdict, and which two runtimes it is about."""
        return [self._verdict().text, " and ".join(r.name for r in self.runtimes), self.model.source]

    def blocks(self) -> list[Block]:
        """The rules, a row for each layer, the differences, the data, and the verdict."""
        a, b = (r.name for r in self.runtimes)
        compared = [layer for layer in self.layers if layer.status != "not covered"]
        blocks: list[Block] = [Heading(f"compare {self.model.source}: {a} with {b}")]
        rules = [f"{a} {x.first.requantization}; {b} {x.second.requantization}" for x in compared]
        blocks += _grouped(compared, rules, len(compared))
        if compared:
            headers = ["op", "units", "accumulators that differ", "random outputs that differ", "on the data", ""]
            rows = [list(_row(layer)) for layer in compared]
            if not any(layer.data for layer in compared):
                headers, rows = [*headers[:4], ""], [[*row[:4], row[5]] for row in rows]
            blocks.append(Table(headers, rows, right=("op", "units")))
        drawn = [layer for layer in compared if layer.random is not None]
        rows_of = [f"{x.random.rows if x.random else 0} random rows, {x.distribution}" for x in drawn]
        blocks += _grouped(drawn, rows_of, len(drawn), "dim")
        told = [layer for layer in compared if layer.why and layer.status != "differs"]
        blocks += _grouped(told, [f"{_STATUS.get(x.status, x.status)}: {x.why}" for x in told], len(compared))
        differing = [layer for layer in self.layers if layer.status == "differs"]
        blocks += self._difference_blocks(differing[0]) if len(differing) == 1 else self._many_blocks(differing)
        bad = [
            (layer.index, layer.name, name, side.refusal)
            for layer in self.layers
            for name, side in zip((a, b), (layer.first, layer.second), strict=True)
            if side.refusal
        ]
        if bad:
            blocks.append(Table(("op", "operator", "runtime", "why"), merged(bad), title="Not covered"))
        if self.data is not None:
            blocks += _data_blocks(self.data)
        return [*blocks, self._verdict()]

    def _many_blocks(self, layers: Sequence[LayerCertificate]) -> list[Block]:
        """One input for each of several layers that differ."""
        a, b = (r.name for r in self.runtimes)
        rows = [
            (
                layer.index,
                layer.witness.unit,
                "-" if layer.witness.acc is None else layer.witness.acc,
                _number(layer.witness.first),
                _number(layer.witness.second),
                self._confirmed_text(layer.witness),
            )
            for layer in layers
            if layer.witness is not None
        ]
        if not rows:
            return []
        headers = ("op", "unit", "acc", a, b, "real interpreters")
        return [
            Table(headers, rows, title="An input of each layer that shows it", right=headers[:5]),
            Text("--op N prints a layer's accumulators and that input; --json has all of everything", "dim"),
        ]

    def _confirmed_text(self, witness: Witness) -> str:
        """In a few words what the real interpreters made of an input."""
        wanted = dict(zip((r.name for r in self.runtimes), (witness.first, witness.second), strict=True))
        agree = [name for name, found in witness.confirmed.items() if _agrees(found, wanted[name])]
        wrong = [f"{name}: {_number(v)}" for name, v in witness.confirmed.items() if name not in agree and v != str(v)]
        if wrong:
            return f"NOT CONFIRMED: {', '.join(wrong)}"
        if len(agree) == len(wanted):
            return "both confirm"
        return f"{agree[0]} confirms" if agree else "not asked"

    def _difference_blocks(self, layer: LayerCertificate) -> list[Block]:
        a, b = (r.name for r in self.runtimes)
        if not layer.differences:
            return [Text(f"operator {layer.index}: {layer.why}"), *self._witness_blocks(layer)]
        widest = max(layer.differences, key=lambda d: d.count)
        every = widest.rows()
        rows = every[:_RANGES_SHOWN]
        left = len(every) - len(rows)
        headers = ("first acc", "last acc", a, b)
        blocks: list[Block] = [
            Text(
                f"operator {layer.index}: {len(layer.differences)} of {layer.units} units differ somewhere; unit "
                f"{widest.unit} does at {widest.count} accumulators:"
            ),
            Table(headers, rows, right=headers),
        ]
        if left:
            blocks.append(Text(f"{left} more ranges of this unit; --json has the complete list of every unit", "dim"))
        return [*blocks, *self._witness_blocks(layer)]

    def _witness_blocks(self, layer: LayerCertificate) -> list[Block]:
        a, b = (r.name for r in self.runtimes)
        witness = layer.witness
        if witness is None:
            return []
        where = f"unit {witness.unit}" if witness.acc is None else f"acc {witness.acc} at unit {witness.unit}"
        blocks: list[Block] = [
            Text(
                f"An input that shows it ({where}): {a} gives {_number(witness.first)}, {b} gives "
                f"{_number(witness.second)}. x ="
            ),
            Code(_wrapped([_number(v) for v in witness.x.reshape(-1)[:_VALUES_SHOWN].tolist()])),
        ]
        if witness.x.size > _VALUES_SHOWN:
            blocks.append(Text(f"and {witness.x.size - _VALUES_SHOWN} more values; --json has all of them", "dim"))
        for name, found in witness.confirmed.items():
            expected = witness.first if name == a else witness.second
            if isinstance(found, str):
                blocks.append(Text(f"The real interpreter of {name}: {found}.", "warning"))
                continue
            agreed = _agrees(found, expected)
            verb = "confirms it" if agreed else f"prints something else than LastBit's {_number(expected)}"
            text = f"The real interpreter of {name} prints {_number(found)}: {verb}."
            blocks.append(Text(text, "good" if agreed else "bad"))
        return blocks

    def _verdict(self) -> Text:
        a, b = (r.name for r in self.runtimes)
        same, total = self.count("same"), len(self.layers)
        if not total and self.exit_code == 3:
            return Text("This model has no dense layer, so there is nothing to certify.", "warning")
        if self.exit_code == 1:
            text = f"DIFFERS: {a} and {b} differ in {self.count('differs')} of {total} dense layers"
            if self.data is not None and self.data.differs and not self.count("differs"):
                text = f"DIFFERS on data: the {total} dense layers do not, other operators do"
            return Text(f"{text}; {same} of {total} are the same for every input (proved).", "bad")
        if self.exit_code == 3:
            return Text(
                f"NOT CERTIFIED: {same} of {total} dense layers are the same for every input (proved), "
                f"{total - same} are not covered or not decided.",
                "warning",
            )
        return Text(f"THE SAME: {a} and {b} agree on {total} of {total} dense layers for every input (proved).", "good")


_STATUS = {"same": "the same for every input (proved)"}


def _row(layer: LayerCertificate) -> tuple[object, ...]:
    tables = layer.first.requantization and layer.reachable
    return (
        layer.index,
        layer.units,
        f"{layer.differing} of {layer.reachable}" if tables else "-",
        layer.random.text() if layer.random else "-",
        layer.data.text(drawn=False) if layer.data else "-",
        "same (proved)" if layer.status == "same" else layer.status,
    )


def _grouped(layers: Sequence[LayerCertificate], texts: Sequence[str], total: int, style: str = "") -> list[Block]:
    """A line for each different text, with the operators that it is about where those are not all."""
    lines: dict[str, list[int]] = {}
    for layer, text in zip(layers, texts, strict=True):
        lines.setdefault(text, []).append(layer.index)
    if len(lines) == 1 and len(layers) == total:
        return [Text(line, style) for line in lines]
    return [Text(f"operator{'s' * (len(ops) > 1)} {numbers(ops, 12)}: {line}", style) for line, ops in lines.items()]


def _agrees(found: float | str, wanted: float) -> bool:
    """Whether a real interpreter printed what LastBit says; any NaN is equal to any NaN."""
    return found == wanted or (found != found and wanted != wanted)


def _number(value: float | str) -> str:
    """A number in the fewest digits that give the same float32 back."""
    return str(np.float32(value)) if isinstance(value, float) else str(value)


def _data_blocks(data: DataResult) -> list[Block]:
    rows = [(name, elements, bad) for name, (elements, bad) in data.operators.items() if bad]
    blocks: list[Block] = []
    if rows:
        title = f"Operators that differ on {data.what}, given the same operator input"
        blocks.append(Table(("operator", "outputs", "differ"), rows, title=title, right=("outputs", "differ")))
    blocks += data.growth.blocks()
    if data.outputs:
        share = 100 * data.mismatches / data.outputs
        blocks.append(
            Text(
                f"End to end on {data.what} ({data.runs} run(s)): {data.mismatches} of {data.outputs} outputs differ "
                f"({share:.3g} %), by at most {data.largest:g}."
            )
        )
    if data.uncovered:
        names = ", ".join(data.uncovered[:6]) + (f" and {len(data.uncovered) - 6} more" * (len(data.uncovered) > 6))
        blocks.append(Text(f"Not covered on one side or both, so not compared on data: {names}.", "warning"))
    return blocks


def _wrapped(values: Sequence[str], width: int = 76) -> str:
    lines = textwrap.wrap(", ".join(values), width)
    return "[" + "\n ".join(lines) + "]"
