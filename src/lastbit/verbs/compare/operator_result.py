"""What compare found of one operator that has no table of steps, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...layers.differences import Difference
from ...model.types import Array
from .layer_result import rate_seen

__all__ = ["Example", "OperatorComparison"]

_VALUES_IN_JSON = 10_000


@dataclass
class Example:
    """Inputs of an operator for which two runtimes print different outputs.

    Attributes:
        inputs: the operator's computed inputs, in order.
        output: which of its outputs.
        index: the first element that differs.
        first: the first runtime's output there.
        second: the second's.
        confirmed: runtime name -> what its real interpreter printed there, or why it printed nothing.
    """

    inputs: list[Array]
    output: int
    index: tuple[int, ...]
    first: float
    second: float
    confirmed: dict[str, float | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The example as plain data; of large inputs the shapes alone (in Python `inputs` has them)."""
        small = sum(x.size for x in self.inputs) <= _VALUES_IN_JSON
        return {
            "shapes": [list(x.shape) for x in self.inputs],
            "inputs": [x.tolist() for x in self.inputs] if small else None,
            "output": self.output,
            "index": list(self.index),
            "first": self.first,
            "second": self.second,
            "confirmed": dict(self.confirmed),
        }


@dataclass
class OperatorComparison:
    """One operator in two runtimes, on the same inputs.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        rules: each runtime's rule, empty where it refuses the operator.
        refusals: why each runtime does not run it or LastBit does not cover it there, else empty.
        proof: why no input can differ, else empty.
        why: why nothing was compared though both cover it, else empty.
        outputs: output elements compared.
        differing: those that differ.
        largest: the largest difference, in output steps for integers.
        example: inputs that show a difference.
    """

    index: int
    name: str
    rules: tuple[str, str] = ("", "")
    refusals: tuple[str, str] = ("", "")
    proof: str = ""
    why: str = ""
    outputs: int = 0
    differing: int = 0
    largest: float = 0.0
    example: Example | None = None

    @property
    def status(self) -> str:
        """`same` (for every input), `no difference found`, `differs` or `not covered`."""
        if self.differing:
            return "differs"
        if self.proof:
            return "same"
        return "no difference found" if self.outputs else "not covered"

    def add(self, difference: Difference) -> None:
        """Count one array of outputs."""
        self.outputs += difference.elements
        self.differing += difference.mismatched
        self.largest = max(self.largest, difference.largest)

    def text(self) -> str:
        """How many outputs were compared and how many differ; for none, the rate that would have been seen."""
        if not self.differing:
            return f"0 of {self.outputs} ({rate_seen(self.outputs)})"
        return f"{self.differing} of {self.outputs} ({100 * self.differing / self.outputs:.3g} %)"

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain data."""
        example = None if self.example is None else self.example.as_dict()
        data = {**vars(self), "status": self.status, "example": example}
        return {"operator": data.pop("index"), **data}
