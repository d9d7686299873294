"""What compare found, as data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .certify_layer import LayerCertificate
from .differences import Difference
from .model import Model, Operator
from .report import Block, Code, Heading, Report, Table, Text
from .runtimes import Runtime

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
    """

    what: str
    runs: int
    operators: dict[str, tuple[int, int]] = field(default_factory=dict)
    outputs: int = 0
    mismatches: int = 0
    largest: float = 0.0
    uncovered: list[str] = field(default_factory=list)

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
        return {**vars(self), "operators": operators}


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

    def blocks(self) -> list[Block]:
        """A row for each layer, the differences, the data, and the verdict."""
        a, b = (r.name for r in self.runtimes)
        blocks: list[Block] = [Heading(f"compare {self.model.source}: {a} with {b}")]
        rows = [
            (
                layer.index,
                " / ".join(dict.fromkeys((layer.first.requantization, layer.second.requantization))),
                layer.units,
                f"{layer.differing} of {layer.reachable}",
                layer.random.text() if layer.random else "-",
                layer.data.text() if layer.data else "-",
                _status_text(layer),
            )
            for layer in self.layers
            if layer.status != "not covered"
        ]
        if rows:
            headers = (
                "op", "rules", "units", "accumulators that differ", f"in {self.samples} random rows", "on the data", "",
            )  # fmt: skip
            shown = rows if any(layer.data for layer in self.layers) else [(*r[:5], r[6]) for r in rows]
            heads = headers if any(layer.data for layer in self.layers) else (*headers[:5], headers[6])
            blocks.append(Table(heads, shown, right=("op", "units")))
        for layer in self.layers:
            if layer.status == "differs":
                blocks += self._difference_blocks(layer)
        bad = [
            (layer.index, layer.name, name, side.refusal)
            for layer in self.layers
            for name, side in zip((a, b), (layer.first, layer.second), strict=True)
            if side.refusal
        ]
        if bad:
            blocks.append(Table(("op", "operator", "runtime", "why"), bad, title="Not covered", right=("op",)))
        if self.data is not None:
            blocks += _data_blocks(self.data)
        return [*blocks, self._verdict()]

    def _difference_blocks(self, layer: LayerCertificate) -> list[Block]:
        a, b = (r.name for r in self.runtimes)
        if not layer.differences:
            return [Text(f"operator {layer.index}: {layer.why}"), *self._witness_blocks(layer)]
        widest = max(layer.differences, key=lambda d: d.count)
        every = widest.rows()
        rows = every[:_RANGES_SHOWN]
        left = len(every) - len(rows)
        where = f"{len(layer.differences)} of {layer.units} units differ somewhere"
        title = f"operator {layer.index}, unit {widest.unit} ({widest.count} accumulators; {where})"
        headers = ("first acc", "last acc", a, b)
        blocks: list[Block] = [Table(headers, rows, title=title, right=headers)]
        if left:
            blocks.append(Text(f"{left} more ranges of this unit; --json has the complete list of every unit", "dim"))
        return [*blocks, *self._witness_blocks(layer)]

    def _witness_blocks(self, layer: LayerCertificate) -> list[Block]:
        a, b = (r.name for r in self.runtimes)
        witness = layer.witness
        assert witness is not None
        blocks: list[Block] = []
        blocks.append(
            Text(
                f"An input that shows it (acc {witness.acc} at unit {witness.unit}): {a} gives "
                f"{witness.first}, {b} gives {witness.second}. x ="
            )
        )
        blocks.append(Code(_wrapped(witness.x.tolist()[:_VALUES_SHOWN])))
        if witness.x.size > _VALUES_SHOWN:
            blocks.append(Text(f"and {witness.x.size - _VALUES_SHOWN} more values; --json has all of them", "dim"))
        for name, found in witness.confirmed.items():
            expected = witness.first if name == a else witness.second
            if isinstance(found, int):
                agreed = found == expected
                verb = "confirms it" if agreed else f"prints something else than LastBit's {expected}"
                blocks.append(
                    Text(f"The real interpreter of {name} prints {found}: {verb}.", "good" if agreed else "bad")
                )
            else:
                blocks.append(Text(f"The real interpreter of {name}: {found}.", "warning"))
        return blocks

    def _verdict(self) -> Text:
        a, b = (r.name for r in self.runtimes)
        same, total = self.count("same"), len(self.layers)
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


def _status_text(layer: LayerCertificate) -> str:
    if layer.status == "differs":
        return "differs"
    told = "same for every input (proved)" if layer.status == "same" else layer.status
    return f"{told}: {layer.why}"


def _data_blocks(data: DataResult) -> list[Block]:
    rows = [(name, elements, bad) for name, (elements, bad) in data.operators.items() if bad]
    blocks: list[Block] = []
    if rows:
        title = f"Operators that differ on {data.what}, given the same operator input"
        blocks.append(Table(("operator", "outputs", "differ"), rows, title=title, right=("outputs", "differ")))
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


def _wrapped(values: Sequence[int], per_line: int = 24) -> str:
    lines = [", ".join(map(str, values[i : i + per_line])) for i in range(0, len(values), per_line)]
    return "[" + ",\n ".join(lines) + "]"
