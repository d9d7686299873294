"""Hybrid dense layers for chains of compiled code: weights packed, and what their outputs are finished with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..arith.dynamic_range import quantize_asymmetric, quantize_qd8, quantize_symmetric
from ..arith.fixedpoint import wrap32
from ..arith.floats import flush_subnormals
from ..ops.dense_hybrid import PreparedHybrid
from ..ops.hybrid_finish import finish_fma, finish_fma_bound_first, finish_unfused
from ..types import fused_bounds
from .jit_cpu import has_fma
from .jit_hybrid_forms import fused_slots
from .jit_matmul import PackedDense, pack

if TYPE_CHECKING:
    from .jit_vectors import Isa

__all__ = ["pack_hybrid"]

# The kernels for int4 weights have accumulators of 28 bits. Layers whose sums cannot reach that need no care.
_MOST_28 = 2**27 - 1


def pack_hybrid(entry: PreparedHybrid, rows: int, isa: Isa | None = None) -> PackedDense | None:
    """A hybrid layer laid out for a chain.

    Args:
        entry: the layer.
        rows: rows of this layer for one row of the chain.
        isa: kernels of another kind than this machine's best.

    Returns:
        The layer; None where faults of the real kernels (or an accumulator of 28 bits) need the reference.
    """
    from . import jit_hybrid_kernels as kernels
    from . import jit_kernels
    from .jit_compile import function_address

    rule, layer = entry.arithmetic, entry.layer
    if entry.nibbles or entry.wrong_signs.any() or layer.input.data is not None:
        return None
    if rule.finish not in (finish_unfused, finish_fma, finish_fma_bound_first):
        return None
    weights, units = entry.weights_used, layer.units
    fused, int4 = rule.finish is not finish_unfused, layer.weights.dtype.name == "int4"
    if fused:
        # A quantized value less its zero point is at most 255.
        if not has_fma() or (int4 and 255 * np.abs(weights).sum(axis=1).max(initial=0) > _MOST_28):
            return None
        value_first = rule.finish is finish_fma and not int4
        form = "hybrid_fused_value_first" if value_first else "hybrid_fused_bound_first"
    else:
        form = "hybrid_unfused"
    quantizers: dict[object, int] = {
        quantize_symmetric: kernels.SYMMETRIC,
        quantize_asymmetric: kernels.ASYMMETRIC,
        quantize_qd8: kernels.QD8,
    }
    kind = quantizers.get(rule.asymmetric if entry.asymmetric else rule.symmetric)
    if kind is None:
        return None
    factor = np.broadcast_to(entry.weights_scale, (units,))
    addend = np.zeros(units, np.float32) if entry.bias is None else entry.bias
    if fused:
        slots = fused_slots(factor, flush_subnormals(addend))
    else:
        unclamped = np.full(units, layer.activation == "NONE", np.int32)
        slots = {"factor": factor, "addend": addend, "unclamped": unclamped}
    low, high = (np.full(units, bound, np.float32) for bound in fused_bounds(layer.activation))
    sums = wrap32(entry.weights_sum).astype(np.int32)
    slots |= {"weights_sum": sums, "low": low, "high": high}
    packed = pack(weights.astype(np.int8), form=form, slots=slots, rows=rows, isa=isa)
    if packed is None:
        return None
    # A batch of nothing but zeros is not multiplied at all by kernels that do not fuse. That shows in a bias of -0.0,
    # to which +0.0 would be added, and in what is no number.
    negative_zero = (addend == 0) & np.signbit(addend)
    zeros_matter = not fused and bool(negative_zero.any() or not np.isfinite(factor).all() or np.isnan(addend).any())
    real = np.dtype(np.float32)
    fields = packed.fields | {
        "function": function_address(jit_kernels.hybrid),
        "input_bytes": real.itemsize,
        "output_bytes": real.itemsize,
        "quantizer": kind,
        "zeros_matter": int(zeros_matter),
    }
    return dataclasses.replace(packed, input=real, output=real, fields=fields)
