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

from ...model.types import Array
from ...ops.elements.binary import PreparedBinary
from .memory import address

__all__ = ["PackedPairs", "fit_pairs", "pack_pairs"]

# Factors that are tried: so many steps from the nearest ones.
_NEAR = 4


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
    from .image_kernels import pairs

    first, second = entry.tensors
    kind, size = first.dtype.numpy, math.prod(first.shape)
    if first.shape != second.shape or first.dtype.name not in ("int8", "uint8") or kind is None:
        return None
    if first.data is not None or second.data is not None or size % 16 or len(first.shape) < 2:
        return None
    low = -128 if kind == np.int8 else 0
    values = np.arange(low, low + 256).astype(kind)
    # Whole vectors: what is done at one place is done at all.
    table = entry.evaluate([np.repeat(values, 256), np.tile(values, 256)])["output"]
    if table.dtype != kind:
        return None
    constants = fit_pairs(table.reshape(256, 256).astype(np.int64), low, *_slopes(entry))
    fields = {
        "function": function_address(pairs),
        "depth": math.prod(first.shape[1:]),
        "unsigned": int(kind == np.uint8),
        "table": address(table),
        "output_bytes": 1,
    }
    if constants is not None:
        from .cpu import host_isa
        from .rows import pairs_address

        fields |= {"kernel": pairs_address(host_isa(), low == 0), "scalars": address(constants)}
        fields["chunk"] = 4 * host_isa().lanes
    kept = (table,) if constants is None else (table, constants)
    return PackedPairs(elements=fields["depth"], input=np.dtype(kind), output=table.dtype, fields=fields, kept=kept)


def _slopes(entry: PreparedBinary) -> tuple[float, float]:
    """By how much outputs grow with each of the values; zeros for products."""
    if entry.staged is None or entry.operator.name not in ("ADD", "SUB"):
        return 0.0, 0.0
    constants = entry.staged.calculator.constants
    assert constants.output is not None
    one, two = (float(side.scale) / float(constants.output.scale) for side in constants.inputs)
    return one, -two if constants.subtract else two


def fit_pairs(table: npt.NDArray[np.int64], low: int, one: float, two: float) -> npt.NDArray[np.int32] | None:
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
    real = np.add.outer(values * one, values * two)
    real += np.median(table - real)
    # The sum must fit an int32; what it is made of may wrap.
    right = 31 - math.ceil(math.log2(np.abs(real).max() + 2))
    if right < 1:
        return None
    # lower <= total + addend <= upper, but at the bounds, where one side is enough.
    lower = np.where(table > least, table << right, -(2**62))
    upper = np.where(table < most, ((table + 1) << right) - 1, 2**62)
    nearest = round(one * 2**right), round(two * 2**right)
    for steps in sorted(itertools.product(range(-_NEAR, _NEAR + 1), repeat=2), key=lambda steps: sum(map(abs, steps))):
        first, second = (factor + step for factor, step in zip(nearest, steps, strict=True))
        total = np.add.outer(values * first, values * second)
        at_least, at_most = int((lower - total).max()), int((upper - total).min())
        addend = (at_least + at_most) // 2
        if at_least <= at_most and abs(addend) < 2**31 and int(np.abs(total + addend).max()) < 2**31:
            return np.asarray([first, second, addend, right, least, most], np.int32)
    return None
