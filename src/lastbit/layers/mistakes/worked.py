"""One output element by hand: the same steps right and with mistakes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...model.types import Int64Array
from ...rules.requantize.fold import has_multiplier
from .accumulate import product_of
from .base import Case
from .pipeline import Accumulated, Chosen, Scaling, add_bias, centred_input, finish, scale_params
from .sums import Elements

__all__ = ["WorkedStep", "worked_steps"]

_SHOWN = 6
_Operands = tuple[Int64Array, int, Int64Array, int]
_LATE = "added after the scaling"


@dataclass(frozen=True)
class WorkedStep:
    """One step of one element.

    Attributes:
        name: what is calculated.
        right: its value in right code, as text.
        wrong: its value with the mistakes.
    """

    name: str
    right: str
    wrong: str

    @property
    def differs(self) -> bool:
        """Whether the mistakes show at this step."""
        return self.right != self.wrong


def worked_steps(
    case: Case, chosen: Chosen, row: int, unit: int, *, unrounded: bool = False, acc: int | None = None
) -> list[WorkedStep]:
    """The steps of one element, right beside wrong.

    Args:
        case: the layer and its input.
        chosen: slot -> mistake; one in the layout is left out, since it moves elements only.
        row: the element's row.
        unit: its unit.
        unrounded: stop before the rounding.
        acc: the accumulator that the wrong code goes on from, where it is known.
    """
    case = replace(case, prepared=case.prepared.for_unit(unit))
    grid = case.elements(np.asarray([row]), np.asarray([unit]))
    operands = _operands(case, {}, grid), _operands(case, chosen, grid)
    first = _first_difference(*operands)
    right = _steps(case, {}, grid, None, operands[0], first)
    wrong = _steps(case, chosen, grid, acc, operands[1], first)
    if unrounded:
        right, wrong = right[:-3], wrong[:-3]
    steps = [WorkedStep(a, b, c) for (a, b), (_, c) in zip(right, wrong, strict=True)]
    return [step for step in steps if step.name != _LATE or step.differs]


def _operands(case: Case, chosen: Chosen, grid: Elements) -> _Operands:
    """X and w of one element as they are read, and the zero points that are still to be subtracted of them."""
    x = chosen["input"].function(case, case.x) if "input" in chosen else case.x
    windows = chosen["windows"].function(case) if "windows" in chosen else None
    x, zx = centred_input(case, grid.rows(x, windows), grid.padded(x, windows), chosen.get("input_zero_point"))
    w = grid.units(chosen["weights"].function(case, case.w) if "weights" in chosen else case.w)
    zw = case.zw
    if "weights_zero_point" in chosen:
        w, zw = chosen["weights_zero_point"].function(case, w)
    return x, zx, w, zw


def _first_difference(right: _Operands, wrong: _Operands) -> int:
    """From which value on x and w are shown: where they differ, if that is beyond the first few; else 0."""
    found = []
    for one, other in ((right[0], wrong[0]), (right[2], wrong[2])):
        length = min(one.shape[1], other.shape[1])
        found += np.flatnonzero(one[0, :length] != other[0, :length])[:1].tolist()
    return min(found) if found and min(found) >= _SHOWN else 0


def _steps(
    case: Case, chosen: Chosen, grid: Elements, acc: int | None, operands: _Operands, first: int
) -> list[tuple[str, str]]:
    x, zx, w, zw = operands
    row, unit = int(grid.row[0]), int(grid.unit[0])
    product = chosen["product"].function if "product" in chosen else product_of(case)
    dot = product(case, grid, x, zx, w, zw)
    start = add_bias(case, grid, dot, chosen.get("bias"))
    if acc is not None:
        start = Accumulated(np.asarray([acc], np.int64))
    params = scale_params(case, grid, chosen)
    scaling = Scaling(params, chosen.get("combine"), chosen.get("rounding"), case.zy)
    pre, post = 0, case.zy
    if "output_zero_point" in chosen:
        pre, post = chosen["output_zero_point"].function(case)
    requant = case.prepared.requant
    low, high = requant.activation_min, requant.activation_max
    if "activation" in chosen:
        low, high = chosen["activation"].function(case, low, high)
    with np.errstate(all="ignore"):
        real = scaling.with_late_bias_real(start.acc + pre, start)
        total = scaling.with_late_bias(start.acc + pre, start)
    if "whole" in chosen:
        total = chosen["whole"].function(case)[row : row + 1, unit]
    factor = str(float(params.effective_scale[0]))
    if has_multiplier(params.rule):
        shift = int(params.shift[0])
        factor = f"{float(params.effective_scale[0])!r} = {int(params.multiplier[0])} * 2^({shift}-31)"
    steps = [
        ("x as it is read", _row(x, first)),
        ("zx still to be subtracted", str(zx)),
        ("w as it is read", _row(w, first)),
        ("sum of (x - zx)(w - zw)", _one(dot)),
        ("acc: with the bias", _acc(start)),
    ]
    if case.bias.any():
        steps.append((_LATE, _one(np.asarray(start.after))))
    return [
        *steps,
        ("factor m", factor),
        ("scaled, not rounded", repr(float(real[0]) + 0.0)),
        ("with the zero point, not rounded", repr(float((real + post)[0]))),
        ("rounded", _one(total)),
        ("with the zero point", _one(total + post)),
        ("output, clamped", f"{_one(finish(case, total, chosen))}  (bounds {low} .. {high})"),
    ]


def _acc(start: Accumulated) -> str:
    return _one(start.acc) if start.real_part is None else repr(float((start.acc + start.real_part)[0]))


def _row(values: Any, first: int) -> str:
    shown = ", ".join(str(int(v)) for v in values[0][first : first + _SHOWN])
    return "..., " * bool(first) + shown + (", ..." if values.shape[1] > first + _SHOWN else "")


def _one(values: Any) -> str:
    return str(int(np.ravel(values)[0]))
