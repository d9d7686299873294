"""Two arrays compared with each other, element by element, and how the difference is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arith.exact import ExactStep
from ..model.types import Array, fraction_of
from ..ops.base import PreparedOperator
from ..ops.dense.eight_bit import PreparedDense
from ..ops.dense.gemv_or_gemm import for_rows
from ..rules.requantize.exact import exact_requantize
from ..rules.requantize.five_steps import Ends
from ..rules.requantize.fold import RequantParams

__all__ = ["Difference", "compare_arrays", "ends_of", "given_of", "same_bits", "steps_of", "worked_element"]


@dataclass(frozen=True)
class Difference:
    """How two arrays of one shape and dtype differ.

    Attributes:
        elements: how many there are.
        mismatched: how many differ.
        largest: the largest absolute difference (of the values, in output steps for integers).
        first: index of the first element that differs, or None.
        wanted: its value in the array that is right by definition.
        found: its value in the other.
        problem: why the arrays cannot be compared at all (shape, dtype), else empty.
    """

    elements: int
    mismatched: int
    largest: float
    first: tuple[int, ...] | None
    wanted: float | int | None
    found: float | int | None
    problem: str = ""

    def __bool__(self) -> bool:
        return bool(self.mismatched or self.problem)

    def text(self, wanted_name: str = "wanted", found_name: str = "found") -> str:
        """The difference in np.testing's words."""
        if self.problem:
            return self.problem
        if not self.mismatched:
            return f"All {self.elements} elements are equal"
        share = 100 * self.mismatched / self.elements
        return (
            f"Mismatched elements: {self.mismatched} / {self.elements} ({share:.3g}%)\n"
            f"Max absolute difference: {self.largest:g}\n"
            f"First at {list(self.first or ())}: {wanted_name} {self.wanted}, {found_name} {self.found}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The difference as plain data."""
        return {
            "elements": self.elements,
            "mismatched": self.mismatched,
            "largest": self.largest,
            "first": None if self.first is None else list(self.first),
            "wanted": self.wanted,
            "found": self.found,
            "problem": self.problem,
        }


def same_bits(wanted: Array, found: Array) -> Array:
    """Where two arrays of one dtype are equal: floats to the last bit (so -0 is not 0), any NaN equal to any NaN."""
    if wanted.dtype.kind != "f":
        return np.asarray(wanted == found)
    same: Array = ((wanted == found) & (np.signbit(wanted) == np.signbit(found))) | (np.isnan(wanted) & np.isnan(found))
    return same


def compare_arrays(wanted: Array, found: Array) -> Difference:
    """Compare an array with the one that is right by definition.

    >>> print(compare_arrays(np.int8([1, 2, 3, 4]), np.int8([1, 2, 4, 2])).text())
    Mismatched elements: 2 / 4 (50%)
    Max absolute difference: 2
    First at [2]: wanted 3, found 4
    """
    if wanted.shape != found.shape or wanted.dtype != found.dtype:
        problem = (
            f"found {found.dtype} array of shape {list(found.shape)}, "
            f"wanted {wanted.dtype} of shape {list(wanted.shape)}"
        )
        return Difference(wanted.size, wanted.size, 0, None, None, None, problem)
    bad = ~same_bits(wanted, found)
    count = int(bad.sum())
    if not count:
        return Difference(wanted.size, 0, 0, None, None, None)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    wide = np.float64 if wanted.dtype.kind == "f" else np.int64
    with np.errstate(invalid="ignore"):
        gaps = np.abs(wanted[bad].astype(wide) - found[bad].astype(wide))
    finite = gaps[np.isfinite(gaps)]
    largest = float(finite.max(initial=0))
    return Difference(wanted.size, count, largest, first, wanted[first].item(), found[first].item())


def ends_of(params: RequantParams) -> Ends:
    """What the output is limited to, for exact arithmetic."""
    bounds = params.activation_min, params.activation_max
    return Ends(*bounds, params.dtype.qmin, params.dtype.qmax, params.output_zero_point)


def given_of(params: RequantParams, unit: int) -> tuple[int, int] | None:
    """A unit's multiplier and shift where the layer has these instead of scales, for exact arithmetic; else None."""
    if params.rule.scales.product != "given":
        return None
    at = unit if params.multiplier.size > 1 else 0
    return int(params.multiplier[at]), int(params.shift[at])


def steps_of(prepared: PreparedDense, acc: int, unit: int) -> list[ExactStep]:
    """Every step from one accumulator of one unit to its output, by the slow twin."""
    layer = prepared.layer
    at = unit if layer.weights_scale.size > 1 else 0
    return exact_requantize(
        prepared.requant.rule,
        acc,
        input_scale=fraction_of(layer.input_scale),
        weights_scale=fraction_of(layer.weights_scale[at]),
        output_scale=fraction_of(layer.output_scale),
        ends=ends_of(prepared.requant),
        bias=0 if prepared.requant.bias is None else int(prepared.requant.bias[unit]),
        given=given_of(prepared.requant, unit),
    )


def worked_element(prepared: PreparedOperator, x: Array, index: tuple[int, ...]) -> list[str]:
    """One output element worked out, a line for each step; empty for operators other than dense layers."""
    if not isinstance(prepared, PreparedDense):
        return []
    steps = prepared.evaluate([x])
    units = prepared.layer.units
    row, unit = divmod(int(np.ravel_multi_index(index, steps["output"].shape)), units)
    acc = int(steps["acc"][row, unit])
    prepared = for_rows(prepared, steps["acc"].shape[0])
    lines = [f"row {row}, unit {unit}, rule {prepared.rule}: acc = {acc}"]
    for step in steps_of(prepared, acc, unit):
        value = step.value.numerator if step.value.denominator == 1 else repr(float(step.value))
        lost = f"   ({step.effect}; cut off {float(step.cut_off):.6g})" if step.effect else ""
        lines.append(f"{step.name:16} {step.formula} = {step.numbers} = {value}{lost}")
    return lines
