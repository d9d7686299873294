"""What an array that should be a layer's output is: its dtype, shape and unit may be diagnosed before its values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...layers.mistakes import Mistake, applicable
from ...model.types import Array, IntegerType, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...ops.dense.layer import DenseLayer
from ...ops.products.window_layer import WindowLayer
from .samples import options_text

__all__ = ["Reading", "readings", "step_matrix"]

_Read = tuple[Array, tuple[str, ...], bool]

_NEAR = 1e-3
"""Output steps by which a dequantized value may miss a whole step."""

_NEAR_HALF = 0.1
"""The same in half precision, which has 11 bits."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read the array as a layer's output.

    Attributes:
        values: `[rows, out]`: int64, or float64 where it is not rounded yet.
        findings: what is unusual about the array, in words.
        layout: the mistake in the layout that has been undone, or None.
        wide: whether the array's type holds more than the layer's output type.
        rows: how many of the input's rows it has.
        transposed: whether (row, unit) is at `[unit, row]`.
        sample_rows: how many rows a sample has: of a convolution, the pixels of an image.
    """

    values: Array
    findings: tuple[str, ...]
    layout: Mistake | None = None
    wide: bool = False
    rows: int = 0
    transposed: bool = False
    sample_rows: int = 1

    @property
    def written(self) -> Array:
        """The values with a mistake in the layout as it is in the array."""
        return self.values if self.layout is None else self.layout.function(self.values, self.sample_rows)


def readings(prepared: PreparedDense, input_shape: tuple[int, ...], mine: Array) -> tuple[list[Reading], str]:
    """Every sensible reading, the plainest first; or why there is none.

    Args:
        prepared: the layer in any runtime's arithmetic.
        input_shape: the shape of the layer's input.
        mine: the array.

    Returns:
        The readings, and an empty string; or an empty list and the reason, in words.
    """
    layer = prepared.layer
    wanted = layer.output_shape(input_shape)
    matrix, shape_findings, transposed, problem = _as_matrix(layer, wanted, mine)
    if problem:
        return [], problem
    assert matrix is not None
    pixels = math.prod(wanted[1:3]) if len(wanted) == 4 and isinstance(layer, WindowLayer) else 0
    units, problem = _units(layer, matrix)
    if problem:
        return [], problem
    made = [
        Reading(values, (*shape_findings, *findings), None, wide, len(values), transposed, pixels or len(values))
        for values, findings, wide in units
    ]
    layouts = [m for m in applicable(prepared) if m.slot == "layout"]
    plain = [reading for reading in made if not reading.findings]
    for reading in plain or made[:1]:
        for layout in layouts:
            undone = _undone(reading.values, layout, reading.sample_rows)
            if not np.array_equal(undone, reading.values):
                made.append(replace(reading, values=undone, layout=layout))
    return made, ""


def step_matrix(layer: DenseLayer, rows: int, name: str, values: Array) -> tuple[Array | None, str]:
    """An intermediate array as `[rows, out]`, int64 or float64; or why it cannot be one."""
    array = np.asarray(values)
    if array.size != rows * layer.units:
        return (
            None,
            f"{name} has shape {list(array.shape)}; wanted {rows * layer.units} elements, [{rows}, {layer.units}]",
        )
    if array.dtype.kind not in "iuf":
        return None, f"{name} is {array.dtype}; wanted integers"
    matrix = array.T if array.shape == (layer.units, rows) != (rows, layer.units) else array
    matrix = matrix.reshape(rows, layer.units)
    if array.dtype.kind == "f":
        whole = (
            np.isfinite(matrix).all() and (matrix == np.rint(matrix)).all() and np.abs(matrix).max(initial=0) < 2**53
        )
        return (matrix.astype(np.int64) if whole else matrix.astype(np.float64)), ""
    return matrix.astype(np.int64), ""


def _undone(values: Array, layout: Mistake, rows: int) -> Array:
    """The matrix before a layout mistake, which is a permutation."""
    places = layout.function(np.arange(values.size).reshape(values.shape), rows).ravel()
    result = np.empty_like(values.ravel())
    result[places] = values.ravel()
    return result.reshape(values.shape)


def _as_matrix(
    layer: DenseLayer, wanted: tuple[int, ...], mine: Array
) -> tuple[Array | None, tuple[str, ...], bool, str]:
    """The array as `[rows, out]`, what is unusual about its shape, whether it was transposed; or what forbids it."""
    units = layer.units
    size = int(np.prod(wanted))
    rows = size // units
    found = f"its shape is {list(mine.shape)}, the layer's output is {list(wanted)}"
    if mine.shape == wanted:
        return mine.reshape(rows, units), (), False, ""
    if mine.size == size:
        if mine.shape == (units, rows):
            return mine.T, (f"it is transposed: {found}",), True, ""
        if mine.ndim == len(wanted) and sorted(mine.shape) == sorted(wanted) and mine.shape[-1] != units:
            axis = mine.shape.index(units)
            return (
                np.moveaxis(mine, axis, -1).reshape(rows, units),
                (f"its units are along axis {axis}: {found}",),
                True,
                "",
            )
        word = "flattened" if mine.ndim == 1 else "reshaped"
        return mine.reshape(rows, units), (f"it is {word}: {found}",), False, ""
    if isinstance(layer, WindowLayer) and len(wanted) == 4 and (mine.ndim != 1 and mine.shape[-3:] != wanted[1:]):
        hint = options_text(layer, mine.shape)
        return None, (), False, f"{found}: {mine.size} elements where {size} are wanted{hint}"
    if mine.size and mine.size < size and mine.size % units == 0 and (mine.ndim == 1 or mine.shape[-1] == units):
        count = mine.size // units
        text = f"it has {count} of {rows} rows: {found}; compared with the first {count}"
        return mine.reshape(count, units), (text,), False, ""
    hint = ""
    if mine.size == rows * layer.depth:
        hint = "; it has as many elements as the layer's input"
    elif mine.ndim == len(wanted) and mine.shape[:-1] == wanted[:-1]:
        hint = f"; it has {mine.shape[-1]} units, the layer {units}"
    elif mine.size % units == 0:
        hint = f"; it has {mine.size // units} rows of {units} units, the input {rows}: "
        hint += "perhaps it is another input's output"
    return None, (), False, f"{found}: {mine.size} elements where {size} are wanted{hint}"


def _units(layer: DenseLayer, matrix: Array) -> tuple[list[_Read], str]:
    """The values as output steps: for each reading (values, findings, wide); or why there is none."""
    dtype = integer_type(layer.output.dtype)
    assert dtype.numpy is not None
    if matrix.dtype == dtype.numpy:
        return [(matrix.astype(np.int64), (), False)], ""
    if matrix.dtype.kind == "f":
        near = _NEAR_HALF if matrix.dtype.itemsize == 2 else _NEAR
        return _floats(layer, matrix.astype(np.float64), near)
    if matrix.dtype.kind not in "iu":
        return [], f"its dtype is {matrix.dtype}; wanted {dtype.name}"
    steps = matrix.astype(np.int64)
    said = f"its dtype is {matrix.dtype}, the layer's output is {dtype.name}"
    if matrix.dtype.itemsize == 1 and dtype.bits == 8:
        shift = 128 if matrix.dtype.kind == "u" else -128
        return [
            (matrix.view(dtype.numpy).astype(np.int64), (f"{said}: the same bytes read as the other type",), False),
            (steps - shift, (f"{said}: shifted by {shift}, as if it were quantized to {matrix.dtype}",), False),
            (steps, (said,), True),
        ], ""
    inside = steps.size == 0 or (int(steps.min()) >= dtype.qmin and int(steps.max()) <= dtype.qmax)
    if inside:
        return [(steps, (said,), True)], ""
    made: list[_Read] = [(steps, (f"{said}, and some values are outside its range",), True)]
    if dtype.qmin < 0 and int(steps.min()) >= 0 and int(steps.max()) <= 255 and dtype.bits == 8:
        wrapped = steps.astype(np.uint8).view(np.int8).astype(np.int64)
        made.insert(0, (wrapped, (f"{said}: int8 values read as uint8",), False))
    return [*_read_as_int8(dtype, steps, said), *made], ""


def _read_as_int8(dtype: IntegerType, steps: Array, said: str) -> list[_Read]:
    """uint8 values as the int8 values of the same bytes, where an array of another type can be that."""
    if dtype.qmin or dtype.bits != 8 or not steps.size or steps.min() < -128 or steps.max() > 127 or steps.min() >= 0:
        return []
    return [(steps & 255, (f"{said}: uint8 values read as int8",), False)]


def _floats(layer: DenseLayer, matrix: Array, near: float) -> tuple[list[_Read], str]:
    """Floating-point values: whole steps, dequantized, or not rounded yet."""
    if not np.isfinite(matrix).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(matrix))[0]]
        return [], f"its value at (row, unit) = {at} is {matrix[tuple(at)]}; a quantized output is finite"
    said = f"its dtype is floating-point, the layer's output is {layer.output.dtype.name}"
    if (matrix == np.rint(matrix)).all() and np.abs(matrix).max(initial=0) < 2**53:
        whole = matrix.astype(np.int64)
        plain: _Read = (whole, (f"{said}; all its values are whole numbers",), True)
        return [*_read_as_int8(integer_type(layer.output.dtype), whole, said), plain], ""
    steps = matrix / float(layer.output_scale) + layer.output_zero_point
    # Whole multiples of the scale by chance: a share of 2 * near for each element.
    if (np.abs(steps - np.rint(steps)) < near).all() and np.abs(steps).max(initial=0) < 2**53:
        text = f"{said}; its values are dequantized: output scale * (output - output zero point)"
        return [(np.rint(steps).astype(np.int64), (text,), True)], ""
    return [
        (matrix, (f"{said}; its values are neither rounded nor clamped yet, and are compared before both",), True),
        (steps, (f"{said}; its values are real numbers (in units of the output scale), not rounded to steps",), True),
    ], ""
