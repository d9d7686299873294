"""Hybrid dense layers for chains of compiled code: weights packed, and what their outputs are finished with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ...arith.floats import flush_subnormals
from ...model.types import Array, fused_bounds
from ...ops.dense.hybrid import PreparedHybrid
from ...rules.base import Unsupported
from ...rules.hybrid.forms import Clamp, Finish, Rows
from ...rules.hybrid.table import QD8, SSE_ASYMMETRIC, SSE_SYMMETRIC
from .cpu import has_fma
from .hybrid_forms import HybridEnding, fused_slots, least_scale, paired
from .matmul import Epilogue, PackedDense, pack

if TYPE_CHECKING:
    from .vectors import Isa

__all__ = ["pack_hybrid"]

# The kernels for int4 weights have accumulators of 28 bits. Layers whose sums cannot reach that need no care.
_MOST_28 = 2**27 - 1
# Sums of weights are two int16 to the kernels (see `hybrid_forms.paired`).
_MOST_SUM = 2**23
_READER = "llvm"


def pack_hybrid(entry: PreparedHybrid, rows: int, isa: Isa | None = None) -> PackedDense | None:
    """A hybrid layer laid out for a chain.

    Args:
        entry: the layer.
        rows: rows of this layer for one row of the chain.
        isa: kernels of another kind than this machine's best.

    Returns:
        The layer; None where faults of the real kernels (or an accumulator of 28 bits) need the reference.
    """
    from . import kernels as jit_kernels
    from .compile import function_address

    layer, finish = entry.layer, entry.arithmetic.finish
    if entry.nibbles or entry.wrong_signs.any() or layer.input.data is not None or entry.arithmetic.loops != "none":
        return None
    if entry.arithmetic.last_units is not None or np.abs(entry.weights_sum).max(initial=0) >= _MOST_SUM:
        return None
    try:
        form, kind = _ending(finish, finish.int4_clamp if entry.int4 else finish.clamp), _quantizer(entry.rows)
    except Unsupported:
        return None
    weights, units = entry.weights_used, layer.units
    # A quantized value less its zero point is at most 255.
    most = 255 * np.abs(weights).sum(axis=1).max(initial=0)
    if finish.fused and (not has_fma() or (entry.int4 and finish.int4 == "upper_28" and most > _MOST_28)):
        return None
    factor = np.broadcast_to(entry.weights_scale, (units,))
    addend = np.zeros(units, np.float32) if entry.bias is None else entry.bias
    slots: dict[str, Array] = {"factor": factor, "addend": addend}
    if finish.fused:
        slots = fused_slots(flush_subnormals(factor), flush_subnormals(addend))
    if form.clamp == "bound_first_if_any":
        slots["unclamped"] = np.full(units, layer.activation == "NONE", np.int32)
    low, high = (np.full(units, bound, np.float32) for bound in fused_bounds(layer.activation))
    slots |= {"weights_sum": paired(entry.weights_sum), "low": low, "high": high}
    least = {"least_scale_float": least_scale(slots["factor"], slots["addend"])} if finish.fused else {}
    epilogue = Epilogue(slots=slots, form=form, scalars=least)
    packed = pack(weights.astype(np.int8), epilogue=epilogue, rows=rows, isa=isa)
    if packed is None:
        return None
    # A batch of zeros only is not multiplied at all by some kernels. That shows in a bias of -0.0, to which +0.0
    # would be added, and in what is not a number.
    odd = ((addend == 0) & np.signbit(addend)) | ~np.isfinite(factor) | np.isnan(addend)
    zeros_matter = finish.zeros == "skipped" and bool(odd.any())
    real = np.dtype(np.float32)
    fields = packed.fields | {
        "function": function_address(jit_kernels.hybrid),
        "input_bytes": real.itemsize,
        "output_bytes": real.itemsize,
        "quantizer": kind,
        "zeros_matter": int(zeros_matter),
    }
    return dataclasses.replace(packed, input=real, output=real, fields=fields)


def _ending(finish: Finish, clamp: Clamp) -> HybridEnding:
    """The code that finishes a layer.

    Raises:
        Unsupported: there is none for a value.
    """
    if clamp == "maximum":
        raise Unsupported(_READER, "clamp", clamp)
    if finish.ends == "finite":
        raise Unsupported(_READER, "ends", finish.ends)
    match finish:
        case Finish("row_first", True, _, "whole" | "upper_28", "multiplied", "x86"):
            return HybridEnding(True, clamp)
        case Finish("scales_first", False, _, "whole", _, "none"):
            return HybridEnding(False, clamp)
        case _:
            raise Unsupported(_READER, "finish", finish)


def _quantizer(rows: Rows) -> int:
    """The number of a way to quantize rows in `hybrid_kernels`.

    Raises:
        Unsupported: there is none.
    """
    from . import hybrid_kernels as kernels

    known = {SSE_SYMMETRIC: kernels.SYMMETRIC, SSE_ASYMMETRIC: kernels.ASYMMETRIC, QD8: kernels.QD8}
    if rows not in known:
        raise Unsupported(_READER, "rows", rows)
    return known[rows]
