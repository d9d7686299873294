"""RESIZE_NEAREST_NEIGHBOR: an image of another height and width, every element copied from the nearest one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import round_half_away
from ...model.graph import Model, Operator
from ...model.types import Array
from ..base import PreparedOperator, refuse, required_operand
from ..entry import OperatorEntry, OperatorGroup
from ..validity import check_growth
from .copies import integers, prepared_copy

__all__ = ["ENTRIES", "RULES", "prepare_resize_nearest_neighbor"]

Positions = npt.NDArray[np.int64]

_FLOAT32, _FIXED16 = "nearest/float32", "nearest/fixed16"
_FLOAT32_WORDS = (
    "the values at floor((i + offset) * s), s = in / out, in float32; align_corners: s = (in - 1) / (out - 1), rounded "
    "half away; half_pixel_centers: offset = 0.5"
)
RULES = {
    _FLOAT32: _FLOAT32_WORDS,
    _FIXED16: f"the values at (i * ((in << 16) / out + 1)) >> 16 in integers; with an option as {_FLOAT32}",
}
# Beyond this many elements of a side the kernel's products of 32 bits overflow.
_LONGEST_SIDE = 2**15 - 1


def prepare_resize_nearest_neighbor(model: Model, op: Operator, rule: str) -> PreparedOperator:
    """Prepare RESIZE_NEAREST_NEIGHBOR `[n, height, width, depth]` of any type, to a constant height and width.

    Returns:
        Steps: `output`.

    Raises:
        UnsupportedError: the size is computed at run time, not two positive int32, or of an input that is no image.

    Source: google-ai-edge/LiteRT, tflite/kernels/resize_nearest_neighbor.cc @14529f49d24c,
    .../internal/reference/resize_nearest_neighbor.h and .../internal/optimized/optimized_ops.h, which the source calls
    for uint8, and 2.3.0 runs for int8 too.
    """
    x, output = required_operand(model, op, 0, "input"), model.tensors[op.outputs[0]]
    size = [int(length) for length in integers(model, op, 1, "size")]
    kind = required_operand(model, op, 1, "size").dtype.name
    if len(x.shape) != 4 or len(size) != 2 or kind != "int32":
        wanted = "wanted an image of 4 dimensions, and two int32"
        raise refuse(op, f"the input has the shape {list(x.shape)}, and the size is {size} of {kind}; {wanted}")
    if min(size) < 1 or max(*size, *x.shape[1:3]) > _LONGEST_SIDE:
        raise refuse(op, f"from {list(x.shape[1:3])} to {size}: sides of 1 to {_LONGEST_SIDE} are covered")
    check_growth(op, [x.shape[0], *size, x.shape[3]], x.shape)
    aligned, centers = (bool(op.options.get(name, False)) for name in ("align_corners", "half_pixel_centers"))
    fixed = rule == _FIXED16 and not (aligned or centers)
    positions: Callable[[int, int], Positions] = (
        _in_fixed_point if fixed else lambda given, made: _in_float32(given, made, aligned, centers)
    )
    rows, columns = (positions(given, made) for given, made in zip(x.shape[1:3], size, strict=True))

    def move(given: Array) -> Array:
        return given[:, rows[:, None], columns]

    return prepared_copy(op, rule, RULES, [x], [output], lambda given: [move(given[0])])


def _in_float32(given: int, made: int, aligned: bool, centers: bool) -> Positions:
    """For each of `made` elements of a side which of `given` it is, calculated in float32."""
    lengths = (given - 1, made - 1) if aligned and made > 1 else (given, made)
    scale = np.float32(lengths[0]) / np.float32(lengths[1])
    product = (np.arange(made, dtype=np.float32) + np.float32(0.5 if centers else 0)) * scale
    nearest = round_half_away(product) if aligned else np.floor(product)
    return np.minimum(nearest.astype(np.int64), given - 1)


def _in_fixed_point(given: int, made: int) -> Positions:
    """The same by a scale of 16 fractional bits, one more than it is."""
    nearest: Positions = (np.arange(made) * ((given << 16) // made + 1)) >> 16
    return nearest.clip(max=given - 1)


ENTRIES = {
    "RESIZE_NEAREST_NEIGHBOR": OperatorEntry(
        prepare_resize_nearest_neighbor, RULES, OperatorGroup.MOVES, inputs=(2, 2), reads_scales=False
    ),
}
