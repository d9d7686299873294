"""Hybrid dense layers in compiled code: rows are quantized, multiplied and finished in blocks that fit the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..arith.dynamic_range import quantize_asymmetric, quantize_qd8, quantize_symmetric
from ..arith.fixedpoint import wrap32
from ..arith.floats import flush_subnormals
from ..ops.dense_hybrid import PreparedHybrid, Quantizer, finish_fma, finish_fma_bound_first, finish_unfused
from ..types import Array, fused_bounds
from . import jit_hybrid_kernels as kernels
from .jit_matmul import Chain, in_parts, pack

__all__ = ["fast_hybrid"]


_KINDS: dict[Quantizer, int] = {
    quantize_qd8: kernels.QD8,
    quantize_asymmetric: kernels.ASYMMETRIC,
    quantize_symmetric: kernels.SYMMETRIC,
}


def fast_hybrid(entry: PreparedHybrid) -> Callable[[Sequence[Array], int], Array] | None:
    """A function of the same outcome as the layer's `evaluate`; None where the kernels' faults need the reference."""
    rule, layer = entry.arithmetic, entry.layer
    finishes = (finish_unfused, finish_fma, finish_fma_bound_first)
    if entry.nibbles or entry.wrong_signs.any() or rule.finish not in finishes or not _has_fma():
        return None
    fused = rule.finish is not finish_unfused
    quantize = rule.asymmetric if entry.asymmetric else rule.symmetric
    kind = _KINDS.get(quantize)
    if kind is None:
        return None
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
    units, depth = layer.units, layer.depth
    chain, state = product.addresses
    constants = np.zeros((3, units + 2), np.float32)
    constants[0] = [*np.broadcast_to(entry.weights_scale, (units,)), *fused_bounds(layer.activation)]
    if entry.bias is not None:
        constants[1, :units] = flush_subnormals(entry.bias) if fused else entry.bias
    constants[2, :units] = wrap32(entry.weights_sum).astype(np.int32).view(np.float32)
    finish, unused = kernels.FMA if fused else kernels.UNFUSED, 4 if fused and int4 else 0
    how = kind, finish, clamp, unused
    shapes: dict[tuple[int, ...], tuple[int, ...]] = {}  # input shape -> output shape, of those that fit

    def part(rows: Array, out: Array, start: int, stop: int) -> int:
        """Some rows; see `hybrid_rows`."""
        memory = product.take()
        done: int = kernels.hybrid_rows(rows, out, start, stop, how, constants, chain, state, memory[0])
        product.give(memory)
        return done

    def run(values: Sequence[Array], threads: int) -> Array:
        x = values[0]
        shape = shapes.get(x.shape)
        if shape is None:
            layer.rows(x)
            shape = shapes[x.shape] = layer.output_shape(x.shape)
        rows = np.ascontiguousarray(x, np.float32).reshape(-1, depth)
        out = np.empty((len(rows), units), np.float32)
        if threads == 1:
            done = {part(rows, out, 0, len(rows))}
        else:
            done = set(in_parts(lambda a, b: part(rows, out, a, b), len(rows), threads))
        # A NaN is refused in the reference's words; kernels that do not fuse do not multiply zeros at all.
        if kernels.NAN in done or (not fused and done == {kernels.ZEROS}):
            return entry.evaluate(values)["output"]
        return out.reshape(shape)

    return run


def _has_fma() -> bool:
    """Whether the CPU has a fused multiply-add."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return bool(features.get("fma") or features.get("neon"))
