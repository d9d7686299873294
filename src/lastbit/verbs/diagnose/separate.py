"""Inputs that tell mistakes apart, and the search for one on which two explanations part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from ...layers.mistakes import MISTAKES
from ...layers.mistakes.base import Case
from ...layers.mistakes.pipeline import unrounded_matrix, wrong_matrix
from ...layers.separating_inputs import all_rules, boundary_inputs, tie_seeking_inputs
from ...model.types import Array, integer_type
from ...ops.dense.layer import DenseLayer
from ...ops.products.window_layer import WindowLayer
from ...report.blocks import Block, Code, Text
from .samples import images_with, rows_of_sample
from .target import Reproduction

__all__ = [
    "SeparatingInput",
    "Separator",
    "Tie",
    "explanation_text",
    "outputs",
    "same_text",
    "separating_inputs",
    "ties_blocks",
    "trial_inputs",
]

_VALUES_SHOWN = 24

_AMONG_ROWS = ("output_column_major", "output_channels_first")
"""Mistakes in the layout that a row alone does not show."""

_REAL = 1e-3
"""Values before the rounding part where they are further apart than this."""


@dataclass(frozen=True, eq=False)
class SeparatingInput:
    """An input on which two explanations part.

    Attributes:
        x: the layer's input, one row `[1, depth]` or one image `[1, h, w, c]`; real values where the input before it
            was quantized is in question.
        unit: the first unit at which they part.
        values: what each prints there.
    """

    x: Array
    unit: int
    values: tuple[float | int, float | int]

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"x": self.x.tolist(), "unit": self.unit, "values": list(self.values)}


@dataclass(frozen=True, eq=False)
class Tie:
    """Another explanation of the same length.

    Attributes:
        other: the explanation.
        separation: an input on which it parts from the first, or None where none was found: then it is, as far as
            inputs can tell, the same calculation.
    """

    other: Reproduction
    separation: SeparatingInput | None


def separating_inputs(ties: Sequence[Tie]) -> Array | None:
    """All inputs that tell ties apart, `[n, depth]`, or None where there are none."""
    rows = [tie.separation.x for tie in ties if tie.separation is not None]
    return np.concatenate(rows) if rows else None


def trial_inputs(layer: DenseLayer, rng: np.random.Generator, solved: int = 0) -> Array:
    """Inputs that make mistakes show: rows `[n, depth]`, or images `[n, h, w, c]` that hold such rows as windows.

    Random ones over the whole range; near the zero point, so that nothing saturates; with one value that is not the
    zero point; the ends; and some solved so that an accumulator lies at a rounding tie.
    """
    dtype = integer_type(layer.input.dtype)
    assert dtype.numpy is not None
    depth, zx = layer.depth, layer.input_zero_point
    parts: list[Array] = [rng.integers(dtype.qmin, dtype.qmax, (24, depth), endpoint=True)]
    for spread in (1, 4, 12, 40):
        near = zx + rng.integers(-spread, spread, (12, depth), endpoint=True)
        parts.append(np.clip(near, dtype.qmin, dtype.qmax))
    alone = np.full((16, depth), zx)
    places = rng.integers(0, depth, len(alone))
    # The first and the last product are left out by loops that start or stop one off.
    places[:2] = 0, depth - 1
    alone[np.arange(len(alone)), places] = rng.integers(dtype.qmin, dtype.qmax, len(alone), endpoint=True)
    parts += [alone, boundary_inputs(layer, rng)]
    reach = np.maximum(-layer.reachable_acc()[0], layer.reachable_acc()[1])
    if reach.max() >= 2**31:
        # As far from zero as some units get, where a register of 32 bits overflows.
        far = layer.weights_values[np.argsort(-reach)[:4]].astype(np.int64)
        ends = np.where(far > layer.weights_zero_point, dtype.qmax, dtype.qmin)
        parts += [ends, dtype.qmin + dtype.qmax - ends]
    if solved:
        parts.append(tie_seeking_inputs(layer, all_rules(layer), solved, rng)[0])
    rows: Array = np.concatenate(parts).astype(dtype.numpy)
    return images_with(layer, rng.permutation(rows), rng) if isinstance(layer, WindowLayer) else rows


class Separator:
    """Finds inputs of one layer on which explanations part; what was calculated once is kept.

    Args:
        layer: the layer.
        unrounded: whether values before the rounding are compared.
        seed: of the inputs tried.
        real_inputs: whether the inputs are real values, which are quantized.
    """

    def __init__(self, layer: DenseLayer, unrounded: bool, seed: int, *, real_inputs: bool = False) -> None:
        self._layer, self._unrounded, self._seed = layer, unrounded, seed
        self._real_inputs = real_inputs
        self._rows: dict[int, Array] = {}
        self._real_rows: dict[int, Array | None] = {}
        self._outputs: dict[tuple[int, int], Array] = {}

    def between(self, one: Reproduction, other: Reproduction) -> SeparatingInput | None:
        """An input on which the two print different numbers, or None where none was found."""
        for pool in range(2):
            first, second = self._of(one, pool), self._of(other, pool)
            parted = np.abs(first - second) > (_REAL if self._unrounded else 0)
            if parted.any():
                # Where both stay inside the range, the numbers say most.
                low, high = first.min(), first.max()
                inside = parted & (first > low) & (first < high) & (second > low) & (second < high)
                row, unit = (int(i) for i in np.argwhere(inside if inside.any() else parted)[0])
                real = self._real_rows[pool]
                at = row // rows_of_sample(self._layer, self._rows[pool])
                x = (self._rows[pool] if real is None else real)[at : at + 1]
                return SeparatingInput(x, unit, (first[row, unit].item(), second[row, unit].item()))
        return None

    @property
    def tried(self) -> int:
        """How many inputs were tried."""
        return sum(len(rows) for rows in self._rows.values())

    def _of(self, explanation: Reproduction, pool: int) -> Array:
        if pool not in self._rows:
            rng = np.random.default_rng([self._seed, pool])
            rows = self._rows[pool] = trial_inputs(self._layer, rng, 128 * pool)
            self._real_rows[pool] = _before_quantizing(self._layer, rows, rng) if self._real_inputs else None
        key = id(explanation), pool
        if key not in self._outputs:
            self._outputs[key] = outputs(self._rows[pool], explanation, self._unrounded, self._real_rows[pool])
        return self._outputs[key]


def _before_quantizing(layer: DenseLayer, rows: Array, rng: np.random.Generator) -> Array:
    """Real values, float32, that any right quantization takes to these rows: not at ties, some beyond the ends."""
    dtype = integer_type(layer.input.dtype)
    steps = rows.astype(np.float64) - layer.input_zero_point + rng.uniform(-0.45, 0.45, rows.shape)
    beyond = rng.uniform(0, 40, rows.shape)
    steps += np.where(rows == dtype.qmax, beyond, 0) - np.where(rows == dtype.qmin, beyond, 0)
    return (steps * float(layer.input_scale)).astype(np.float32)


def outputs(rows: Array, explanation: Reproduction, unrounded: bool, real: Array | None = None) -> Array:
    """What an explanation prints for several rows, `[rows, out]`; a layout mistake among several rows is left out.

    Args:
        rows: the layer's input.
        explanation: the explanation.
        unrounded: whether the values before the rounding are meant.
        real: the rows before they were quantized, where the explanation may be about that.
    """
    case = Case.of(explanation.prepared, rows, real)
    chosen = {MISTAKES[name].slot: MISTAKES[name] for name in explanation.mistakes if name not in _AMONG_ROWS}
    return unrounded_matrix(case, chosen) if unrounded else wrong_matrix(case, chosen)


def explanation_text(explanation: Reproduction) -> str:
    """The names of an explanation's mistakes, and whose arithmetic they are made in."""
    return (" + ".join(explanation.mistakes) or "nothing") + f"  (as {explanation.runtimes[0]})"


def ties_blocks(ties: Sequence[Tie], explanations: Sequence[Reproduction], told: Collection[str] = ()) -> list[Block]:
    """Further explanations that these data do not decide about, and an input that would; nothing where all is decided.

    What no input tells from the first is the same calculation under another name: no doubt, and not told.

    Args:
        ties: the explanations that were compared with the first.
        explanations: all that there are, the first among them.
        told: mistakes that the answer names beside the first explanation's.
    """
    parted = [tie for tie in ties if tie.separation is not None]
    if not parted:
        return []
    first = parted[0].separation
    assert first is not None
    values = ", ".join(_number(v) for v in first.x.ravel()[:_VALUES_SHOWN].tolist())
    rest = first.x.size - _VALUES_SHOWN
    more = f", ... ({first.x.size} values; `--separating FILE` writes them)" if rest > 0 else ""
    others = [tie.other for tie in parted if not set(tie.other.mistakes) & set(told)]
    blocks: list[Block] = []
    if others:
        blocks += [
            Text("These data do not decide: other mistakes fit them as well.", "warning"),
            Code("\n".join(explanation_text(other) for other in others)),
        ]
    blocks += [
        Text(
            f"This input decides: unit {first.unit} is {_number(first.values[0])} with the first explanation and "
            f"{_number(first.values[1])} with {explanation_text(parted[0].other)}."
        ),
        Code(values + more),
    ]
    left = len([one for one in explanations[1 + len(ties) :] if not set(one.mistakes) & set(told)])
    if left:
        blocks.append(Text(f"And {left} more set{'s' * (left != 1)} of as many mistakes.", "dim"))
    return blocks


def same_text(first: Reproduction, ties: Sequence[Tie], told: Collection[str] = ()) -> str:
    """Other names of what the first explanation says, of mistakes in the windows or of a family; empty where none.

    Args:
        first: the explanation.
        ties: the explanations that were compared with it.
        told: mistakes that are named without this.
    """
    names: list[str] = []
    for tie in ties:
        own, other = (set(a) - set(b) for a, b in permutations((first.mistakes, tie.other.mistakes)))
        if tie.separation is not None or len(own) != 1 or len(other) != 1:
            continue
        one, mistake = MISTAKES[own.pop()], MISTAKES[other.pop()]
        if mistake.name not in told and mistake.slot == one.slot and (mistake.alone or mistake.slot == "windows"):
            names.append(mistake.name if mistake.alone else f"{mistake.name} ({mistake.why})")
    if not names:
        return ""
    return f"For this layer the same under {'another name' if len(names) == 1 else 'other names'}: {', '.join(names)}."


def _number(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"
