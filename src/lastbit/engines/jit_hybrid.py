"""Hybrid dense layers in compiled code: rows are quantized, multiplied and finished in blocks that fit the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..arith.dynamic_range import quantize_qd8, quantize_symmetric
from ..arith.fixedpoint import wrap32
from ..arith.floats import flush_subnormals
from ..ops.dense_hybrid import PreparedHybrid, finish_fma, finish_fma_bound_first, finish_unfused
from ..types import Array, fused_bounds
from . import jit_hybrid_kernels as kernels
from .jit_matmul import Chain, in_parts, pack

__all__ = ["fast_hybrid"]

_BLOCK_ROWS = 96


def fast_hybrid(entry: PreparedHybrid) -> Callable[[Sequence[Array], int], Array] | None:
    """A function of the same outcome as the layer's `evaluate`; None where the kernels' faults need the reference."""
    rule, layer = entry.arithmetic, entry.layer
    finishes = (finish_unfused, finish_fma, finish_fma_bound_first)
    if entry.nibbles or entry.wrong_signs.any() or rule.finish not in finishes or not _has_fma():
        return None
    fused = rule.finish is not finish_unfused
    quantize = rule.asymmetric if entry.asymmetric else rule.symmetric
    kind = kernels.QD8 if quantize is quantize_qd8 else kernels.ASYMMETRIC
    if quantize is quantize_symmetric:
        kind = kernels.SYMMETRIC
    packed = pack(entry.weights_used.astype(np.int8))
    if packed is None:
        return None
    product = Chain([packed])
    int4 = layer.weights.dtype.name == "int4"
    clamp = kernels.BOUND_FIRST
    if not fused and layer.activation == "NONE":
        clamp = kernels.NO_CLAMP
    elif rule.finish is finish_fma and not int4:
        clamp = kernels.VALUE_FIRST
    bias = np.zeros(layer.units, np.float32) if entry.bias is None else entry.bias
    bias = np.ascontiguousarray(flush_subnormals(bias) if fused else bias, np.float32)
    factors = np.ascontiguousarray(np.broadcast_to(entry.weights_scale, (layer.units,)), np.float32)
    sums = wrap32(entry.weights_sum).astype(np.int32)
    bounds = np.asarray(fused_bounds(layer.activation), np.float32)
    finish, unused = kernels.FMA if fused else kernels.UNFUSED, 4 if fused and int4 else 0

    def part(rows: Array, out: Array, start: int, stop: int) -> bool:
        """Some rows; False where there is a NaN."""
        most = min(_BLOCK_ROWS, stop - start)
        q = np.empty((most, layer.depth), np.int8)
        scales, zero_points = np.empty(most, np.float32), np.empty(most, np.int32)
        for begin in range(start, stop, most):
            n = min(most, stop - begin)
            if kernels.quantize_rows(rows[begin : begin + n], kind, q[:n], scales, zero_points):
                return False
            acc = product(q[:n])
            target = out[begin : begin + n]
            kernels.finish_rows(acc, finish, clamp, unused, sums, scales, zero_points, factors, bias, bounds, target)
        return True

    def run(values: Sequence[Array], threads: int) -> Array:
        rows = np.ascontiguousarray(layer.rows(np.asarray(values[0], np.float32)))
        if not fused and not rows[0].any() and not rows.any():
            return entry.evaluate(values)["output"]  # the kernel does not multiply such an input at all
        out = np.empty((len(rows), layer.units), np.float32)
        if not all(in_parts(lambda a, b: part(rows, out, a, b), len(rows), threads)):
            return entry.evaluate(values)["output"]  # which refuses the NaN, in its own words
        return out.reshape(layer.output_shape(values[0].shape))

    return run


def _has_fma() -> bool:
    """Whether the CPU has a fused multiply-add."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return bool(features.get("fma") or features.get("neon"))
