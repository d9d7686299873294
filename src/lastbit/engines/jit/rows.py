"""Elements of rows from one type to another, as vector code.

Input rows in the type that products take: bytes with the upper bit changed, or widened to 16 bits. Float32 to 8 bits,
as long as nothing is unusual. Bytes to float32 by a scale. Weighted sums of two bytes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from .compile import llvm_address
from .cpu import allow
from .vectors import F32, I8, I16, I32, I64, POINTER, Isa, Vectors, new_function

__all__ = ["LARGEST_INVERSE", "convert_address", "dequantize_address", "pairs_address", "quantize_address"]

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
    fn = new_function(module, name, ir.VoidType(), _ARGUMENTS)
    allow(fn, isa, features)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    v = Vectors(b, isa)
    x, x_stride, rows, depth, out, out_stride = fn.args
    source, wanted = _WIDTHS[given], _WIDTHS[isa.activations]
    lanes = 32 * isa.lanes // wanted.width

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

    # Vectors as long as the row allows, then one more that ends with it; very short rows value by value.
    sizes = sorted({size for size in (lanes, 16, 4, 1) if size <= lanes}, reverse=True)

    def copy_row(row: Any, place: Any, left: list[int]) -> None:
        count = ir.Constant(I64, left[0])
        if left[0] == 1:
            with cgutils.for_range(b, depth, intp=I64) as single:
                copy(row, place, single.index, 1)
            return
        with b.if_else(b.icmp_signed("<", depth, count)) as (short, long):
            with short:
                copy_row(row, place, left[1:])
            with long:
                last = b.sub(depth, count)
                with cgutils.for_range_slice(b, ir.Constant(I64, 0), last, count, I64) as (index, _):
                    copy(row, place, index, left[0])
                copy(row, place, last, left[0])

    with cgutils.for_range(b, rows, intp=I64) as loop:
        row = b.gep(x, [b.mul(loop.index, x_stride)], source_etype=I8)
        place = b.gep(out, [b.mul(loop.index, out_stride)], source_etype=I8)
        copy_row(row, place, sizes)
    b.ret_void()


LARGEST_INVERSE = 2.0**125
"""With an inverse of the scale up to this, a subnormal value comes to less than one half, as if it was set to zero."""
# A product with the inverse is so near to the quotient, where that is below 512: 3 roundings of 2^-24 each. Outputs of
# larger ones are at the end of their type.
_NEAR_A_TIE = 0.5 - 2.0**-12
_LARGEST = 2.0**20


def quantize_address(isa: Isa, divides: bool) -> int:
    """The address of a function (values, begin, end, constants, output) -> the first place that is not done.

    It multiplies with the inverse of the scale and rounds to the nearest, ties to even, a vector at a time, and stops
    before a vector with a value that is unusual: not a number, far outside the range, or, where the rule `divides`
    and has other ties, so near to a tie that it matters.
    """
    name = f"lastbit_{isa.name}_quantize{'_divides' if divides else ''}"
    return llvm_address(name, lambda module, called, features: _write_quantize(module, isa, divides, called, features))


def _write_quantize(module: Any, isa: Isa, divides: bool, name: str, features: str) -> None:
    fn = new_function(module, name, I64, (POINTER, I64, I64, POINTER, POINTER))
    allow(fn, isa, features)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    v = Vectors(b, isa)
    x, begin, end, constants, out = fn.args
    inverse = v.splat(b.load(v.at(constants, 4), typ=F32), v.lanes)
    zero_point, low, high = (v.splat(b.load(v.at(constants, 4 * i), typ=I32), v.lanes) for i in (2, 3, 4))
    head, body, usual, done = (b.append_basic_block(name) for name in ("head", "body", "usual", "done"))
    entry = b.block
    b.branch(head)
    b.position_at_end(head)
    place = b.phi(I64)
    place.add_incoming(begin, entry)
    after = b.add(place, ir.Constant(I64, v.lanes))
    b.cbranch(b.icmp_signed("<=", after, end), body, done)
    b.position_at_end(body)
    values = v.load(v.f32, b.gep(x, [b.mul(place, ir.Constant(I64, 4))], source_etype=I8))
    scaled = b.fmul(values, inverse)
    good = b.fcmp_ordered("<", v.absolute(scaled), v.const(v.f32, _LARGEST))
    steps = v.round_to_int(scaled)
    if divides:
        rest = v.absolute(b.fsub(scaled, b.sitofp(steps, v.f32)))
        good = b.and_(good, b.fcmp_ordered("<", rest, v.const(v.f32, _NEAR_A_TIE)))
    mask = ir.IntType(v.lanes)
    b.cbranch(b.icmp_unsigned("==", b.bitcast(good, mask), ir.Constant(mask, -1)), usual, done)
    b.position_at_end(usual)
    limited = v.clamp(b.add(steps, zero_point), low, high)
    v.store(b.trunc(limited, ir.VectorType(I8, v.lanes)), b.gep(out, [place], source_etype=I8))
    place.add_incoming(after, usual)
    b.branch(head)
    b.position_at_end(done)
    b.ret(place)


def dequantize_address(isa: Isa) -> int:
    """The address of a function (bytes, begin, end, constants, output) -> the first place that is not done.

    Outputs are float32 `(x - zero point) * scale`; the constants are the zero point (int32), the scale (float32) and
    what changes bytes to uint8 (int32).
    """
    return llvm_address(
        f"lastbit_{isa.name}_dequantize",
        lambda module, name, features: _write_dequantize(module, isa, name, features),
    )


def _write_dequantize(module: Any, isa: Isa, name: str, features: str) -> None:
    fn = new_function(module, name, I64, (POINTER, I64, I64, POINTER, POINTER))
    allow(fn, isa, features)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    v = Vectors(b, isa)
    x, begin, end, constants, out = fn.args
    zero_point, flip = (v.splat(b.load(v.at(constants, 4 * i), typ=I32), v.lanes) for i in (0, 2))
    scale = v.splat(b.load(v.at(constants, 4), typ=F32), v.lanes)
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    entry = b.block
    b.branch(head)
    b.position_at_end(head)
    place = b.phi(I64)
    place.add_incoming(begin, entry)
    after = b.add(place, ir.Constant(I64, v.lanes))
    b.cbranch(b.icmp_signed("<=", after, end), body, done)
    b.position_at_end(body)
    values = b.zext(v.load(ir.VectorType(I8, v.lanes), b.gep(x, [place], source_etype=I8)), v.i32)
    centered = b.sub(b.xor(values, flip), zero_point)
    result = b.fmul(b.sitofp(centered, v.f32), scale)
    v.store(result, b.gep(out, [b.mul(place, ir.Constant(I64, 4))], source_etype=I8))
    place.add_incoming(after, body)
    b.branch(head)
    b.position_at_end(done)
    b.ret(place)


# Two inputs, how many times four vectors, constants (int32: first, second, addend, right, low, high), output.
_PAIRS = (POINTER, POINTER, I64, POINTER, POINTER)


def pairs_address(isa: Isa, unsigned: bool) -> int:
    """The address of a function by `_PAIRS`: outputs of whole vectors of bytes."""
    name = f"lastbit_{isa.name}_pairs_{'uint8' if unsigned else 'int8'}"
    return llvm_address(name, lambda module, called, features: _write_pairs(module, isa, unsigned, called, features))


def _write_pairs(module: Any, isa: Isa, unsigned: bool, name: str, features: str) -> None:
    fn = new_function(module, name, ir.VoidType(), _PAIRS)
    allow(fn, isa, features)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    v = Vectors(b, isa)
    first, second, count, constants, out = fn.args
    numbers = [v.splat(b.load(v.at(constants, 4 * i), typ=I32), v.lanes) for i in range(6)]
    stored = ir.VectorType(I8, v.lanes)
    extend = b.zext if unsigned else b.sext
    with cgutils.for_range(b, count, intp=I64) as loop:
        for part in range(4):
            place = b.add(b.mul(loop.index, ir.Constant(I64, 4 * v.lanes)), ir.Constant(I64, part * v.lanes))
            one, two = (
                b.mul(extend(v.load(stored, b.gep(x, [place], source_etype=I8)), v.i32), by)
                for x, by in ((first, numbers[0]), (second, numbers[1]))
            )
            total = b.ashr(b.add(b.add(one, two), numbers[2]), numbers[3])
            v.store(b.trunc(v.clamp(total, numbers[4], numbers[5]), stored), b.gep(out, [place], source_etype=I8))
    b.ret_void()
