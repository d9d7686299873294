"""What compare found of one dense layer, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...layers.step_tables import Differing
from ...model.types import Array, IntArray

__all__ = [
    "LayerCertificate",
    "Occurrence",
    "SideOfLayer",
    "UnitDifference",
    "Witness",
    "rate_seen",
]

# ln(1000), rounded up: none of N outputs differs with a probability of 0.1 % where one in N / 7 does.
_SURE = 7


def rate_seen(outputs: int) -> str:
    """The rate of differences that would have been seen with 99.9 %, where none of so many outputs differs.

    >>> rate_seen(1_000_000)
    'a rate of 7e-06 would have been seen with 99.9 %'
    """
    if outputs < _SURE:
        return "too few to say anything of the rate"
    return f"a rate of {_SURE / outputs:.1g} would have been seen with 99.9 %"


@dataclass
class SideOfLayer:
    """One runtime's way to calculate the layer.

    Attributes:
        rule: its rule, empty where it refuses the layer or there are no thresholds.
        requantization: the requantization rule that follows from it for the layer's number of rows.
        kernel: its kernel family, in the same way.
        refusal: why it refuses the layer or has no thresholds, else empty.
    """

    rule: str = ""
    requantization: str = ""
    kernel: str = ""
    refusal: str = ""


@dataclass(frozen=True, eq=False)
class UnitDifference:
    """Every accumulator of one unit at which the two runtimes' outputs differ.

    Attributes:
        unit: the output unit.
        low: the smallest accumulator it can reach.
        high: the largest.
        parts: the accumulators, ascending; in two parts where the sum wraps.
    """

    unit: int
    low: int
    high: int
    parts: list[Differing]

    @property
    def count(self) -> int:
        """How many accumulators these are."""
        return sum(part.count for part in self.parts)

    def rows(self) -> list[tuple[int, int, int, int]]:
        """For each range (first accumulator, last, first runtime's output, second's)."""
        return [row for part in self.parts for row in part.rows()]


@dataclass
class Witness:
    """An input of the layer that shows a difference.

    Attributes:
        x: `[depth]`, of the input's type.
        unit: the output unit that differs.
        acc: its accumulator; None for a layer with a float output.
        first: the first runtime's output.
        second: the second's.
        confirmed: runtime name -> what its real interpreter printed, or why it printed nothing.
    """

    x: Array
    unit: int
    acc: int | None
    first: int | float
    second: int | float
    confirmed: dict[str, int | float | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The input as plain data; floats in decimals that give the same float32 back."""
        return {**vars(self), "x": self.x.tolist()}


@dataclass
class Occurrence:
    """How often differences occur on some rows.

    Attributes:
        rows: rows of input.
        elements: output elements.
        differing: those that differ.
    """

    rows: int = 0
    elements: int = 0
    differing: int = 0

    def add(self, differing: IntArray) -> None:
        """Count one matrix of elements."""
        self.rows += len(differing)
        self.elements += differing.size
        self.differing += int(differing.sum())

    def text(self, drawn: bool = True) -> str:
        """For people: how many of how many, and the share; for rows drawn at random, how sure a zero is."""
        if not self.elements:
            return "-"
        if not self.differing and not drawn:
            return f"0 of {self.elements}"
        if not self.differing:
            return f"0 of {self.elements} ({rate_seen(self.elements)})"
        return f"{self.differing} of {self.elements} ({100 * self.differing / self.elements:.3g} %)"


@dataclass
class LayerCertificate:
    """One dense layer.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        status: `same` (proved for every input), `no difference found` (on inputs that were tried), `differs`,
            `not decided` or `not covered`.
        why: the reason of all but `not covered`.
        first: how the first runtime calculates it.
        second: how the second does.
        units: output units.
        tables: different tables: one for each unit, or one for all.
        rows: rows of the layer's input in the model; kernels may treat one row in another way than several.
        reachable: accumulators in the reachable ranges, over all units.
        never_reached: accumulators at which the tables differ, but that no input reaches.
        differences: the complete list for each unit that has some.
        shared: where one table holds for all units: the list over the range of all of them.
        undecided_units: units without a table.
        witness: an input that shows a difference.
        random: how often differences occur on random rows.
        distribution: how they are drawn.
        data: how often on the data given.
    """

    index: int
    name: str
    status: str = ""
    why: str = ""
    first: SideOfLayer = field(default_factory=SideOfLayer)
    second: SideOfLayer = field(default_factory=SideOfLayer)
    units: int = 0
    tables: int = 0
    rows: int = 0
    reachable: int = 0
    never_reached: int = 0
    differences: list[UnitDifference] = field(default_factory=list)
    shared: Differing | None = None
    undecided_units: list[int] = field(default_factory=list)
    witness: Witness | None = None
    random: Occurrence | None = None
    distribution: str = ""
    data: Occurrence | None = None

    @property
    def refusals(self) -> tuple[str, str]:
        """Why each runtime does not take the layer or has no thresholds for it, else empty."""
        return self.first.refusal, self.second.refusal

    @property
    def differing(self) -> int:
        """Accumulators at which outputs differ, over all units."""
        return sum(d.count for d in self.differences)

    def as_dict(self) -> dict[str, Any]:
        """The certificate as plain data.

        A range is [first acc, last acc, first's output, second's output]; where `every` is not 1, only every so many
        accumulators of it are reached.
        """
        shared = self.shared is not None and len(self.differences) > 1
        listed = [
            {"unit": d.unit, "low": d.low, "high": d.high, "accumulators": d.count}
            | ({} if shared else {"ranges": [list(row) for row in d.rows()], "every": d.parts[0].divisor})
            for d in self.differences
        ]
        return {
            "operator": self.index,
            "name": self.name,
            "status": self.status,
            "why": self.why,
            "first": vars(self.first),
            "second": vars(self.second),
            "units": self.units,
            "tables": self.tables,
            "rows": self.rows,
            "reachable_accumulators": self.reachable,
            "differing_accumulators": self.differing,
            "never_reached": self.never_reached,
            # Where one table holds for all units, their ranges stand here, each unit's cut to what it reaches.
            "ranges_of_all_units": [list(row) for row in self.shared.rows()] if self.shared and shared else [],
            "differences": listed,
            "undecided_units": self.undecided_units,
            "witness": None if self.witness is None else self.witness.as_dict(),
            "random": None if self.random is None else {**vars(self.random), "distribution": self.distribution},
            "data": None if self.data is None else vars(self.data),
        }
