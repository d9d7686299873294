"""What compare found, as data and as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...layers.along_network import Growth
from ...layers.differences import Difference
from ...model.graph import Model, Operator
from ...report.blocks import Block, Code, Heading, Report, Table, Text
from ...report.coverage import Coverage, kinds_text
from ...report.junit import Check, Outcome
from ...report.phrases import folded, merged, numbers, plural
from ...report.pictures import Picture
from ...runtimes import Runtime
from .channel_pictures import channel_pictures
from .layer_result import LayerCertificate, Witness, rate_seen
from .operator_result import OperatorComparison
from .operator_text import agrees, confirmed_text, number, operator_blocks
from .screen import screen_blocks

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
        growth: every operator's outputs where each runtime goes its own way.
    """

    what: str
    runs: int
    operators: dict[str, tuple[int, int]] = field(default_factory=dict)
    outputs: int = 0
    mismatches: int = 0
    largest: float = 0.0
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


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Report):
    """The result of `compare`.

    Attributes:
        model: the model.
        runtimes: the two runtimes.
        layers: the dense layers, and the convolutions that both runtimes have tables of.
        operators: all other operators.
        asked: every operator that was asked about.
        data: the whole model on data, or None where one operator was asked for.
        samples: random rows for each layer.
        seed: of all randomness.
        allow_gaps: whether operators that were not compared still give exit code 0.
    """

    model: Model
    runtimes: tuple[Runtime, Runtime]
    layers: tuple[LayerCertificate, ...]
    operators: tuple[OperatorComparison, ...]
    asked: tuple[Operator, ...]
    data: DataResult | None
    samples: int
    seed: int
    allow_gaps: bool = False

    def count(self, status: str) -> int:
        """How many operators have this status."""
        return len(self._with(status))

    def _with(self, *statuses: str) -> list[LayerCertificate | OperatorComparison]:
        """The operators that have one of these statuses, in order."""
        every: list[LayerCertificate | OperatorComparison] = [*self.layers, *self.operators]
        every.sort(key=lambda entry: entry.index)
        return [entry for entry in every if entry.status in statuses]

    @property
    def coverage(self) -> Coverage:
        """The operators that were not compared: not covered by both, or whose tables differ and nothing decides it."""
        gaps = {entry.index: self._why_not(entry) for entry in self._with("not covered", "not decided")}
        return Coverage(self.asked, gaps)

    def _why_not(self, entry: LayerCertificate | OperatorComparison) -> str:
        return "; ".join(f"{name}: {reason}" for name, reason in self._refusals(entry)) or entry.why

    def _refusals(self, entry: LayerCertificate | OperatorComparison) -> list[tuple[str, str]]:
        """Each runtime that does not run an operator, and why."""
        return [(r.name, reason) for r, reason in zip(self.runtimes, entry.refusals, strict=True) if reason]

    @property
    def differs(self) -> bool:
        """Whether anything differs."""
        return bool(self.count("differs") or (self.data is not None and self.data.differs))

    @property
    def exit_code(self) -> int:
        """0: every operator was compared and none differs. 1: something differs. 3: an operator was not compared."""
        return self.coverage.exit_code(differs=self.differs, allow_gaps=self.allow_gaps)

    def as_dict(self) -> dict[str, Any]:
        """The certificate as plain data, schema lastbit.compare/1."""
        return {
            "schema": "lastbit.compare/1",
            "model": self.model.source,
            "runtimes": [r.name for r in self.runtimes],
            "samples": self.samples,
            "seed": self.seed,
            "exit_code": self.exit_code,
            "allow_gaps": self.allow_gaps,
            "coverage": self.coverage.as_dict(),
            "layers": [layer.as_dict() for layer in self.layers],
            "operators": [operator.as_dict() for operator in self.operators],
            "data": None if self.data is None else self.data.as_dict(),
        }

    def checks(self) -> list[Check]:
        """Each operator that was asked about, and the whole model on data."""
        group = " and ".join(runtime.name for runtime in self.runtimes)
        found, gaps = [], self.coverage.gaps
        differing = {entry.index for entry in self._with("differs")}
        for op in self.asked:
            if op.index in differing:
                found.append(Check(group, op.label, Outcome.DIFFERS, "the two runtimes print different outputs"))
            elif op.index in gaps:
                found.append(Check(group, op.label, Outcome.NOT_COMPARED, gaps[op.index]))
            else:
                found.append(Check(group, op.label, Outcome.EQUAL))
        if self.data is not None and self.data.outputs:
            data, why = self.data, f"{self.data.mismatches} of {self.data.outputs} outputs differ on {self.data.what}"
            outcome = Outcome.DIFFERS if data.mismatches else Outcome.EQUAL
            found.append(Check(group, "whole model", outcome, why if data.mismatches else ""))
        return found

    def pictures(self) -> list[Picture]:
        """Differences along the network, and the channel that differs most, as a whole and where it differs."""
        a, b = self.runtimes
        found: list[Picture] = []
        if self.data is not None and self.data.growth.differing:
            found.append(self.data.growth.picture(f"Outputs that differ along the network, {a.name} and {b.name}"))
        differing = [layer for layer in self.layers if layer.differences]
        return found + (channel_pictures(self.model, differing[0], a, b) if differing else [])

    def records(self) -> list[dict[str, Any]]:
        """A row for each operator that was asked about: its status, and what differs on the data."""
        status = {layer.index: layer.status for layer in self.layers}
        status |= {operator.index: operator.status for operator in self.operators}
        along = {} if self.data is None else self.data.growth.operators
        return [
            {
                "operator": op.index,
                "name": op.name,
                "status": status.get(op.index, ""),
                "outputs_on_data": along[op.index].elements if op.index in along else None,
                "differing_on_data": along[op.index].mismatches if op.index in along else None,
            }
            for op in self.asked
        ]

    def in_short(self) -> list[str]:
        """The verdict, and which two runtimes it is about."""
        return [
            " ".join(text.text for text in self._verdict()),
            " and ".join(r.name for r in self.runtimes),
            self.model.source,
        ]

    def first_screen(self) -> list[Block]:
        """The verdict, a line for each operator, and where two runtimes differ first."""
        a, b = (r.name for r in self.runtimes)
        every = self._with("differs", "not decided", "not covered", "no difference found", "same")
        blocks = [*self._verdict(), *screen_blocks(every, (a, b))]
        if self.data is not None and self.data.outputs:
            data = self.data
            text = f"whole model on {data.what}: {data.mismatches} of {data.outputs} outputs differ"
            blocks.append(Text(text + (f", by at most {data.largest:g}" if data.mismatches else "")))
        return folded([*blocks, Text("Rules, inputs that show it, growth along the network: -v", "dim")])

    def blocks(self) -> list[Block]:
        """The rules, a row for each layer, the differences, the data, and the verdict."""
        a, b = (r.name for r in self.runtimes)
        compared = [layer for layer in self.layers if layer.status != "not covered"]
        blocks: list[Block] = [Heading(f"compare {self.model.source}: {a} with {b}")]
        rules = [f"{a} {x.first.requantization}; {b} {x.second.requantization}" for x in compared]
        blocks += _grouped(compared, rules, len(self.asked))
        if compared:
            headers = ["op", "units", "accumulators that differ", "random outputs that differ", "on the data", ""]
            rows = [list(_row(layer)) for layer in compared]
            if not any(layer.data for layer in compared):
                headers, rows = [*headers[:4], ""], [[*row[:4], row[5]] for row in rows]
            marked = [number for number, layer in enumerate(compared) if layer.status == "differs"]
            blocks.append(Table(headers, rows, right=("op", "units"), marked=marked))
        drawn = [layer for layer in compared if layer.random is not None]
        rows_of = [f"{x.random.rows if x.random else 0} random rows, {x.distribution}" for x in drawn]
        blocks += _grouped(drawn, rows_of, len(self.asked), "dim")
        told = [layer for layer in compared if layer.why and layer.status != "differs"]
        blocks += _grouped(told, [f"{_STATUS.get(x.status, x.status)}: {x.why}" for x in told], len(self.asked))
        differing = [layer for layer in self.layers if layer.status == "differs"]
        blocks += self._difference_blocks(differing[0]) if len(differing) == 1 else self._many_blocks(differing)
        a, b = (r.name for r in self.runtimes)
        blocks += operator_blocks(self.operators, (a, b))
        bad = [
            (entry.index, entry.name, name, reason)
            for entry in self._with("not covered")
            for name, reason in self._refusals(entry) or [("both", entry.why)]
        ]
        if bad:
            blocks.append(Table(("op", "operator", "runtime", "why"), merged(bad), title="Not covered"))
        if self.data is not None:
            blocks += _data_blocks(self.data)
        return [*blocks, *self._verdict()]

    def _many_blocks(self, layers: Sequence[LayerCertificate]) -> list[Block]:
        """One input for each of several layers that differ."""
        a, b = (r.name for r in self.runtimes)
        rows = [
            (
                layer.index,
                layer.witness.unit,
                "-" if layer.witness.acc is None else layer.witness.acc,
                number(layer.witness.first),
                number(layer.witness.second),
                confirmed_text(layer.witness.confirmed, self._wanted(layer.witness)),
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

    def _wanted(self, witness: Witness) -> dict[str, float]:
        """What LastBit says that each runtime's interpreter prints."""
        return dict(zip((r.name for r in self.runtimes), (witness.first, witness.second), strict=True))

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
        window = layer.name != "FULLY_CONNECTED"
        what = "A window that shows it" if window else "An input that shows it"
        order = "row by row, channels last; each group of channels holds the same; " if window else ""
        where = f"unit {witness.unit}" if witness.acc is None else f"acc {witness.acc} at unit {witness.unit}"
        blocks: list[Block] = [
            Text(
                f"{what} ({order}{where}): {a} gives {number(witness.first)}, {b} gives {number(witness.second)}. x ="
            ),
            Code(_wrapped([number(v) for v in witness.x.reshape(-1)[:_VALUES_SHOWN].tolist()])),
        ]
        if witness.x.size > _VALUES_SHOWN:
            blocks.append(Text(f"and {witness.x.size - _VALUES_SHOWN} more values; --json has all of them", "dim"))
        for name, found in witness.confirmed.items():
            expected = witness.first if name == a else witness.second
            if isinstance(found, str):
                blocks.append(Text(f"The real interpreter of {name}: {found}.", "warning"))
                continue
            agreed = agrees(found, expected)
            verb = "confirms it" if agreed else f"prints something else than LastBit's {number(expected)}"
            text = f"The real interpreter of {name} prints {number(found)}: {verb}."
            blocks.append(Text(text, "good" if agreed else "bad"))
        return blocks

    def _verdict(self) -> list[Text]:
        """What was found, and last how many operators of how many were compared."""
        a, b = (r.name for r in self.runtimes)
        total, same, found = len(self.asked), self.count("same"), self.count("no difference found")
        left = f"{same} of {total} operators are the same for every input (proved)"
        left += f", {found} show no difference on inputs tried" if found else ""
        if self.count("differs"):
            kinds = kinds_text(entry.name for entry in self._with("differs"))
            verdict = Text(
                f"DIFFERS: {a} and {b} differ in {self.count('differs')} of {total} operators ({kinds}); {left}.", "bad"
            )
        elif self.differs:
            verdict = Text(f"DIFFERS on data: no operator does by itself, the whole model does; {left}.", "bad")
        elif not self.coverage.compared:
            verdict = Text("NOTHING COMPARED.", "warning")
        elif not self.coverage.complete:
            verdict = Text(f"NOT CERTIFIED: {left}.", "warning")
        elif same == total:
            verdict = Text(
                f"THE SAME: {a} and {b} agree on {same} of {total} operators for every input (proved).", "good"
            )
        else:
            verdict = Text(f"NO DIFFERENCE FOUND: {left}.")
        return [verdict, self.coverage.block()]


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


def _data_blocks(data: DataResult) -> list[Block]:
    rows = [(name, elements, bad) for name, (elements, bad) in data.operators.items() if bad]
    blocks: list[Block] = []
    if rows:
        title = f"Operators that differ on {data.what}, given the same operator input"
        blocks.append(Table(("operator", "outputs", "differ"), rows, title=title, right=("outputs", "differ")))
    blocks += data.growth.blocks()
    if data.outputs and data.mismatches:
        share = 100 * data.mismatches / data.outputs
        found = f"{data.mismatches} of {data.outputs} outputs differ ({share:.3g} %), by at most {data.largest:g}."
        blocks.append(Text(f"End to end on {data.what} ({plural(data.runs, 'run')}): {found}"))
    elif data.outputs:
        found = f"0 of {data.outputs} outputs differ: {rate_seen(data.outputs)}."
        blocks.append(Text(f"End to end on {data.what} ({plural(data.runs, 'run')}): {found}"))
    return blocks


def _wrapped(values: Sequence[str], width: int = 76) -> str:
    lines = textwrap.wrap(", ".join(values), width)
    return "[" + "\n ".join(lines) + "]"
