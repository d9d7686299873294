"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over an image: sums (or maxima) by channel, then a table of all there can be.

The table is asked from the rule: for a window of so many elements there are so many sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arith.windows import WindowAxis
from ...model.graph import Model, Tensor
from ...model.types import Array
from ...ops.base import PreparedOperator
from ...ops.elements.pool_2d import pool_windows
from ...rules.operators.fold import leaves
from ...rules.operators.forms import Largest
from ...rules.operators.rule import Condition
from .memory import address

__all__ = ["PackedPool", "pack_pool"]

# Sums of one window that a table is made for.
_LARGEST_TABLE = 1 << 16
# Sums that the rule is asked for at once.
_AT_ONCE = 1 << 10


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedPool:
    """A reduction of the pixels of windows for a chain.

    Attributes:
        given: elements of an image.
        elements: elements of its output.
        channels: of both.
        input: the type of the images.
        output: the type of the outputs.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    given: int
    elements: int
    channels: int
    input: np.dtype[Any]
    output: np.dtype[Any]
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)


def pack_pool(entry: PreparedOperator, model: Model) -> PackedPool | None:
    """None for other operators, and where there is no table."""
    name, staged = entry.operator.name, entry.staged
    if name not in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN") or staged is None or len(entry.inputs) != 1:
        return None
    x, output = model.tensors[entry.inputs[0]], model.tensors[entry.operator.outputs[0]]
    if x.dtype.name not in ("int8", "uint8") or output.dtype.name != x.dtype.name or len(x.shape) != 4:
        return None
    axes = _whole(model, entry, x) if name == "MEAN" else pool_windows(entry.operator)
    if axes is None:
        return None
    kind = x.dtype.numpy
    assert kind is not None
    low = -128 if kind == np.int8 else 0
    (height, width, channels) = x.shape[1:]
    largest = any(isinstance(stage, Largest) for leaf in leaves(staged.calculator.rule) for stage in leaf.stages)
    holds = staged.holds([np.zeros((1, *x.shape[1:]), kind)])

    def ask(name: str, values: range, count: int, channel: int) -> Array:
        """The rule's outputs for totals or maxima."""

        def at(when: Condition) -> bool:
            found = holds(when)
            return bool(found if isinstance(found, bool) else np.broadcast_to(found, channels)[channel])

        def outputs(part: range) -> Array:
            given = {name: np.asarray(part, np.int64), "count": np.full(len(part), count)}
            return np.asarray(staged.calculator(given, at)["output"]).astype(kind).view(np.uint8)

        # Every step of the rule is an array of int64 or float64.
        return np.concatenate([outputs(values[i : i + _AT_ONCE]) for i in range(0, len(values), _AT_ONCE)])

    if largest:
        table = ask("largest", range(low, low + 256), 1, 0)
        if not np.array_equal(table, ask("largest", range(low, low + 256), 1, channels - 1)):
            return None
        return _packed(x, axes, np.ascontiguousarray(table), {}, largest)
    found = _tables(ask, (height, width), axes, channels, low)
    return None if found is None else _packed(x, axes, *found, largest)


def _whole(model: Model, entry: PreparedOperator, x: Tensor) -> tuple[WindowAxis, WindowAxis] | None:
    """The window of a MEAN over height and width; None where it has other axes."""
    axes = model.tensors[entry.operator.inputs[1]].data
    if axes is None or {int(axis) % 4 for axis in axes.reshape(-1)} != {1, 2}:
        return None
    return WindowAxis(x.shape[1], 1, 1, False), WindowAxis(x.shape[2], 1, 1, False)


def _tables(
    ask: Callable[[str, range, int, int], Array],
    sizes: tuple[int, int],
    axes: tuple[WindowAxis, WindowAxis],
    channels: int,
    low: int,
) -> tuple[Array, dict[int, int]] | None:
    """Tables for windows of every number of elements that there is, one behind the other, and where each begins."""
    taken = [_inside(axis, length) for axis, length in zip(axes, sizes, strict=True)]
    counts: dict[int, int] = {}
    parts: list[Array] = []
    place = 0
    for count in sorted({int(a * b) for a in taken[0] for b in taken[1]}):
        totals = range(low * count, (low + 255) * count + 1)
        if len(totals) > _LARGEST_TABLE:
            return None
        table = ask("total", totals, count, 0)
        if not np.array_equal(table, ask("total", totals, count, channels - 1)):
            return None
        counts[count] = place
        parts.append(table)
        place += table.size
    return np.concatenate(parts), counts


def _inside(axis: WindowAxis, length: int) -> npt.NDArray[np.int64]:
    """How many elements of each window are no padding."""
    begins = np.arange(axis.outputs(length)) * axis.stride - axis.padding(length)[0]
    return np.minimum(begins + axis.size, length) - np.maximum(begins, 0)


def _packed(
    x: Tensor, axes: tuple[WindowAxis, WindowAxis], tables: Array, counts: dict[int, int], largest: bool
) -> PackedPool:
    from . import image_kernels
    from .compile import function_address

    (height, width, channels), (rows, columns) = x.shape[1:], axes
    kind = np.dtype(x.dtype.numpy)
    begins = np.zeros(rows.size * columns.size + 1, np.int64)
    for count, place in counts.items():
        begins[count] = place
    high, wide = rows.outputs(height), columns.outputs(width)
    fields = {
        "function": function_address(image_kernels.largest if largest else image_kernels.average),
        "image_rows": height,
        "image_columns": width,
        "channels": channels,
        "unsigned": int(kind == np.uint8),
        "top": rows.padding(height)[0],
        "left": columns.padding(width)[0],
        "window_rows": high,
        "window_columns": wide,
        "taps_high": rows.size,
        "taps_wide": columns.size,
        "stride_high": rows.stride,
        "stride_wide": columns.stride,
        "table": address(tables),
        "starts": address(begins),
        "output_bytes": 1,
    }
    return PackedPool(
        given=height * width * channels,
        elements=high * wide * channels,
        channels=channels,
        input=kind,
        output=kind,
        fields=fields,
        kept=(tables, begins),
    )
