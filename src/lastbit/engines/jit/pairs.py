"""ADD, SUB and MUL of two byte arrays of one shape: one expression that gives all 65,536 pairs, or a table of them.

A sum of two quantized values is nearly `(a * first + b * second + addend) >> right`. Constants are looked for with
which that is the rule's output for every pair; where there are none, a table of the pairs stays.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array, IntArray
from ...ops.elements.binary import PreparedBinary
from .memory import address

__all__ = ["PackedPairs", "fit_pairs", "pack_pairs"]

# Factors that are tried: so many steps from the nearest ones.
_NEAR = 4
# Values of the first input that are looked at together: all pairs take more memory than a small model.
_ROWS = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedPairs:
    """An operator of two arrays, element by element, for a chain.

    Attributes:
        elements: of one row.
        input: the type of the inputs.
        output: the type of the outputs.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    elements: int
    input: np.dtype[Any]
    output: np.dtype[Any]
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)

    @property
    def given(self) -> int:
        """Bytes of one row of an input."""
        return self.elements


def pack_pairs(entry: PreparedBinary) -> PackedPairs | None:
    """None for broadcasting, constants, and sizes that are no whole vectors: places matter to some kernels."""
    from .compile import function_address
    from .image_kernels import pairs, weighted_pairs

    first, second = entry.tensors
    kind, size = first.dtype.numpy, math.prod(first.shape)
    if first.shape != second.shape or first.dtype.name not in ("int8", "uint8") or kind is None:
        return None
    if first.data is not None or second.data is not None or size % 16 or len(first.shape) < 2:
        return None
    low = -128 if kind == np.int8 else 0
    values = np.arange(low, low + 256).astype(kind)
    # Whole vectors: what is done at one place is done at all.
    parts = [np.repeat(part, 256) for part in np.split(values, 256 // _ROWS)]
    table = np.concatenate([entry.evaluate([part, np.tile(values, _ROWS)])["output"] for part in parts])
    if table.dtype != kind:
        return None
    constants = fit_pairs(table.reshape(256, 256), low, *_slopes(entry))
    fields = {
        "function": function_address(pairs if constants is None else weighted_pairs),
        "depth": math.prod(first.shape[1:]),
        "unsigned": int(kind == np.uint8),
        "output_bytes": 1,
    }
    kept: Array = table
    if constants is None:
        fields["table"] = address(table)
    else:
        from .cpu import host_isa
        from .rows import pairs_address

        kept = constants
        fields |= {"kernel": pairs_address(host_isa(), low == 0), "scalars": address(constants)}
        fields["chunk"] = 4 * host_isa().lanes
    return PackedPairs(elements=fields["depth"], input=np.dtype(kind), output=table.dtype, fields=fields, kept=(kept,))


def _slopes(entry: PreparedBinary) -> tuple[float, float]:
    """By how much outputs grow with each of the values; zeros for products."""
    if entry.staged is None or entry.operator.name not in ("ADD", "SUB"):
        return 0.0, 0.0
    constants = entry.staged.calculator.constants
    assert constants.output is not None
    one, two = (float(side.scale) / float(constants.output.scale) for side in constants.inputs)
    return one, -two if constants.subtract else two


def fit_pairs(table: IntArray, low: int, one: float, two: float) -> npt.NDArray[np.int32] | None:
    """Constants with which the expression gives a table; None where there are none.

    Args:
        table: outputs `[256, 256]` of the first and the second value.
        low: the smallest value.
        one: about by how much outputs grow with the first value.
        two: with the second.

    Returns:
        first, second, addend, right, and the outputs' bounds: int32 `[6]`.
    """
    least, most = int(table.min()), int(table.max())
    values = np.arange(low, low + 256)
    if not one or not two:
        return None
    # What outputs are more than the slopes say, from some pairs; the addend is found exactly.
    rest = np.sort((table[::5, ::5] - np.add.outer(values[::5] * one, values[::5] * two)).reshape(-1))
    corners = np.add.outer(values[[0, -1]] * one, values[[0, -1]] * two) + rest[rest.size // 2]
    # The sum must fit an int32; what it is made of may wrap.
    right = 31 - math.ceil(math.log2(np.abs(corners).max() + 2))
    if right < 1:
        return None
    nearest = round(one * 2**right), round(two * 2**right)
    for steps in sorted(itertools.product(range(-_NEAR, _NEAR + 1), repeat=2), key=lambda steps: sum(map(abs, steps))):
        first, second = (factor + step for factor, step in zip(nearest, steps, strict=True))
        at_least, at_most = _addends(table, values * first, values * second, right, (least, most))
        addend = (at_least + at_most) // 2
        largest = max(abs(a * first + b * second + addend) for a in values[[0, -1]] for b in values[[0, -1]])
        if at_least <= at_most and abs(addend) < 2**31 and largest < 2**31:
            return np.asarray([first, second, addend, right, least, most], np.int32)
    return None


def _addends(table: IntArray, one: Int64Array, two: Int64Array, right: int, ends: tuple[int, int]) -> tuple[int, int]:
    """The least and the most that may be added to `one + two` for the outputs of a table; some rows at a time."""
    at_least, at_most = -(2**62), 2**62
    for start in range(0, len(table), _ROWS):
        wanted = table[start : start + _ROWS].astype(np.int64)
        total = np.add.outer(one[start : start + _ROWS], two)
        # At the outputs' bounds one side is enough.
        up, down = (wanted << right) - total, ((wanted + 1) << right) - 1 - total
        at_least = max(at_least, int(up.max(where=wanted > ends[0], initial=-(2**62))))
        at_most = min(at_most, int(down.min(where=wanted < ends[1], initial=2**62)))
    return at_least, at_most
