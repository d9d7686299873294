"""Input rows in the type that products take: bytes with the upper bit changed, or widened to 16 bits."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .jit_compile import llvm_address
from .jit_cpu import allow
from .jit_vectors import I8, I16, I64, POINTER, Isa, Vectors, new_function

__all__ = ["convert_address"]

_WIDTHS = {"int8": I8, "uint8": I8, "int16": I16}
# Input, its distance from row to row in bytes, rows, values of one, output, its distance.
_ARGUMENTS = (POINTER, I64, I64, I64, POINTER, I64)


def convert_address(isa: Isa, given: str) -> int:
    """The address of a function that converts rows of a type: see `_ARGUMENTS`. What lies behind a row is undefined."""
    return llvm_address(
        f"lastbit_{isa.name}_rows_{given}",
        lambda module, name, features: _write(module, isa, given, name, features),
    )


def _write(module: Any, isa: Isa, given: str, name: str, features: str) -> None:
    """Whole vectors, then one more that ends with the row; rows shorter than a vector value by value."""
    fn = new_function(module, name, ir.VoidType(), _ARGUMENTS)
    allow(fn, isa, features)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    v = Vectors(b, isa)
    x, x_stride, rows, depth, out, out_stride = fn.args
    source, wanted = _WIDTHS[given], _WIDTHS[isa.activations]
    lanes = 32 * isa.lanes // wanted.width
    zero, whole = ir.Constant(I64, 0), ir.Constant(I64, lanes)

    # Between int8 and uint8 the distance is 128, in both directions: the upper bit changes.
    flip = 0x80 if wanted is I8 and given != isa.activations else 0

    def copy(row: Any, place: Any, index: Any, count: int) -> None:
        stored, wide = ir.VectorType(source, count), ir.VectorType(wanted, count)
        at = b.gep(row, [b.mul(index, ir.Constant(I64, source.width // 8))], source_etype=I8)
        to = b.gep(place, [b.mul(index, ir.Constant(I64, wanted.width // 8))], source_etype=I8)
        value = v.load(stored, at)
        if wanted.width > source.width:
            value = b.zext(value, wide) if given == "uint8" else b.sext(value, wide)
        v.store(b.xor(value, v.const(wide, flip)), to)

    with cgutils.for_range(b, rows, intp=I64) as loop:
        row = b.gep(x, [b.mul(loop.index, x_stride)], source_etype=I8)
        place = b.gep(out, [b.mul(loop.index, out_stride)], source_etype=I8)
        with b.if_else(b.icmp_signed("<", depth, whole)) as (short, long):
            with short, cgutils.for_range(b, depth, intp=I64) as single:
                copy(row, place, single.index, 1)
            with long:
                with cgutils.for_range_slice(b, zero, b.sub(depth, ir.Constant(I64, lanes - 1)), whole, I64) as (
                    index,
                    _,
                ):
                    copy(row, place, index, lanes)
                copy(row, place, b.sub(depth, whole), lanes)
    b.ret_void()
