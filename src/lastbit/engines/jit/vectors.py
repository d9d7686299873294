"""Vector code written straight into LLVM, for one kind of CPU: what the fast engine's kernels are made of.

Numba compiles loops well enough, but leaves nothing to say about registers. The kernels here must keep a tile of sums
in them, so they are written as LLVM instructions on whole vectors; Numba carries them to the CPU and caches the result.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from llvmlite import ir

__all__ = ["ISAS", "Isa", "Vectors", "choose_isa", "internal_function", "new_function"]

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
POINTER = ir.PointerType()


@dataclass(frozen=True)
class Isa:
    """How products are summed on one kind of CPU.

    Attributes:
        name: `avx512vnni`, `avxvnni`, `avx2`, `neon_dot`, `portable`, or `plain_...` (see `ISAS`).
        lanes: int32 lanes of a vector.
        group: neighbouring values of the depth that one lane takes per instruction.
        activations: the type that input rows are turned into: `int16`, `uint8` (int8 plus 128) or `int8` (uint8 less
            128).
        vectors: vectors of units that the widest tile has.
        rows: rows of the large tile of that width.
        x86: whether x86's conversions from float to int may be used.
        features: what the CPU must have, in LLVM's words.
        masks: whether a part of a vector of bytes can be stored.
        registers: vector registers.
    """

    name: str
    lanes: int
    group: int
    activations: Literal["int16", "uint8", "int8"]
    vectors: int
    rows: int
    x86: bool
    features: tuple[str, ...] = ()
    masks: bool = False
    registers: int = 32


_AVX512 = ("avx512f", "avx512vl", "avx512bw", "avx512dq")
# The best comes first. The tiles fill the register file: sums, the weights of one step, one activation and one product.
ISAS: dict[str, Isa] = {
    isa.name: isa
    for isa in (
        Isa("avx512vnni", 16, 4, "uint8", 4, 6, True, ("avx512vnni", *_AVX512), masks=True),
        Isa("avxvnni", 8, 4, "uint8", 2, 6, True, ("avxvnni", "avx2", "fma"), registers=16),
        Isa("avx2", 8, 2, "int16", 2, 6, True, ("avx2", "fma"), registers=16),
        Isa("neon_dot", 4, 4, "int8", 4, 6, False, ("dotprod", "neon")),
        Isa("portable", 4, 2, "int16", 2, 4, False),
        # The tiles of avx512vnni and of neon_dot in instructions that every CPU has: slow, for tests.
        Isa("plain_unsigned", 16, 4, "uint8", 4, 6, False),
        Isa("plain_signed", 4, 4, "int8", 4, 6, False),
    )
}


def choose_isa(features: dict[str, bool]) -> Isa:
    """The best kernels that a CPU with these features (LLVM's names) can run.

    >>> choose_isa({"avx2": True, "fma": True}).name
    'avx2'
    >>> choose_isa({}).name
    'portable'
    """
    return next(isa for isa in ISAS.values() if all(features.get(name) for name in isa.features))


def new_function(module: Any, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    """An LLVM function without a body; its pointers point to different memory."""
    fn = ir.Function(module, ir.FunctionType(result, arguments), name)
    fn.attributes.add("noinline")
    fn.attributes.add("nounwind")
    for argument in fn.args:
        if argument.type == POINTER:
            argument.add_attribute("noalias")
    return fn


def internal_function(module: Any, name: str, result: Any, arguments: tuple[Any, ...]) -> tuple[Any, bool]:
    """An LLVM function of its own (not inlined) in another function's module, and whether it must still be written."""
    fn = module.globals.get(name)
    if fn is not None:
        return fn, False
    fn = new_function(module, name, result, arguments)
    fn.linkage = "internal"
    return fn, True


class Vectors:
    """Vector instructions of one CPU kind on an LLVM builder. Values are LLVM values; widths follow from the Isa."""

    def __init__(self, builder: Any, isa: Isa) -> None:
        self.b = builder
        self.isa = isa
        self.lanes = isa.lanes
        self.i32 = ir.VectorType(I32, self.lanes)
        self.i64 = ir.VectorType(I64, self.lanes)
        self.f32 = ir.VectorType(F32, self.lanes)
        self.f64 = ir.VectorType(F64, self.lanes)
        # Every second lane, widened.
        self.half64 = ir.VectorType(I64, self.lanes // 2)

    # Constants and memory

    def const(self, vector: Any, value: int | float) -> Any:
        """A vector of one number."""
        return ir.Constant(vector, [value] * vector.count)

    def at(self, pointer: Any, offset: int) -> Any:
        """A pointer moved by bytes."""
        return self.b.gep(pointer, [ir.Constant(I64, offset)], source_etype=I8)

    def load(self, vector: Any, pointer: Any, offset: int = 0) -> Any:
        """A vector from memory, unaligned."""
        return self.b.load(self.at(pointer, offset), typ=vector, align=1)

    def store(self, value: Any, pointer: Any, offset: int = 0) -> None:
        """A vector to memory, unaligned."""
        self.b.store(value, self.at(pointer, offset), align=1)

    def splat(self, scalar: Any, lanes: int) -> Any:
        """One number in every lane."""
        vector = ir.VectorType(scalar.type, lanes)
        one = self.b.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(I32, 0))
        return self.b.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), 0))

    def shuffle(self, a: Any, b: Any, order: list[int]) -> Any:
        """Lanes of two vectors in a new order."""
        mask = ir.Constant(ir.VectorType(I32, len(order)), order)
        return self.b.shuffle_vector(a, b, mask)

    def call(self, name: str, result: Any, args: list[Any]) -> Any:
        """An LLVM intrinsic."""
        module = self.b.module
        fn = module.globals.get(name)
        if fn is None:
            fn = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
        return self.b.call(fn, args)

    def prefetch(self, pointer: Any, *, written: bool) -> None:
        """Ask for a cache line that will be read, or written."""
        flags = [ir.Constant(I32, value) for value in (int(written), 3, 1)]  # kept in all caches, data
        self.call("llvm.prefetch.p0", ir.VoidType(), [pointer, *flags])

    # Integers

    def add(self, a: Any, b: Any) -> Any:
        """Sum, wrapping."""
        return self.b.add(a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        """Smaller signed integer."""
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        """Larger signed integer."""
        return self.b.select(self.b.icmp_signed(">", a, b), a, b)

    def even_odd(self, a: Any) -> tuple[Any, Any]:
        """The even and the odd lanes, sign-extended to 64 bits. x86 multiplies them so, without any move."""
        wide = self.b.bitcast(a, self.half64)
        thirty_two = self.const(self.half64, 32)
        return self.b.ashr(self.b.shl(wide, thirty_two), thirty_two), self.b.ashr(wide, thirty_two)

    def interleave_low(self, even: Any, odd: Any) -> Any:
        """The low 32 bits of 64-bit even and odd lanes, back in one vector."""
        up = self.b.shl(odd, self.const(self.half64, 32))
        return self._blend(even, up)

    def _blend(self, even: Any, odd: Any) -> Any:
        a, b = self.b.bitcast(even, self.i32), self.b.bitcast(odd, self.i32)
        return self.shuffle(a, b, [i if i % 2 == 0 else self.lanes + i for i in range(self.lanes)])

    def high_mul(self, a: Any, q: Any, nudge: int) -> Any:
        """`(a * q + nudge) >> 31` of int32 lanes; the result must fit an int32."""
        (ae, ao), (qe, qo) = self.even_odd(a), self.even_odd(q)
        rounding = self.const(self.half64, nudge)
        pe, po = self.b.add(self.b.mul(ae, qe), rounding), self.b.add(self.b.mul(ao, qo), rounding)
        return self._blend(
            self.b.lshr(pe, self.const(self.half64, 31)),
            self.b.shl(po, self.const(self.half64, 1)),
        )

    def high_half(self, a: Any, q: Any) -> Any:
        """`(a * q) >> 32` of int32 lanes."""
        # The odd lanes by a shuffle: shifts have fewer ports.
        swapped = self.shuffle(a, a, [i ^ 1 for i in range(self.lanes)])
        (ae, _), (ao, _), (qe, qo) = self.even_odd(a), self.even_odd(swapped), self.even_odd(q)
        even, odd = (self.b.bitcast(self.b.mul(x, y), self.i32) for x, y in ((ae, qe), (ao, qo)))
        return self.shuffle(even, odd, [i + 1 if i % 2 == 0 else self.lanes + i for i in range(self.lanes)])

    def clamp(self, v: Any, low: Any, high: Any) -> Any:
        """Limit signed integers."""
        return self.minimum(self.maximum(v, low), high)

    # Bytes

    def bytes_of(self, totals: list[Any], unsigned: bool) -> Any:
        """Up to four vectors of int32 as bytes, limited to their type: of AVX512 only.

        Every 128 bits of the result hold four bytes of each vector.
        """
        words, bytes_ = ir.VectorType(I16, 2 * self.lanes), ir.VectorType(I8, 4 * self.lanes)
        pairs = [totals[:2], totals[2:] or totals[:2]]
        halves = [self.call("llvm.x86.avx512.packssdw.512", words, [pair[0], pair[-1]]) for pair in pairs]
        return self.call(f"llvm.x86.avx512.pack{'us' if unsigned else 'ss'}wb.512", bytes_, halves)

    def between(self, packed: Any, bounds: list[Any], unsigned: bool) -> Any:
        """Limit bytes to two vectors of bytes."""
        low, high = bounds
        compare = self.b.icmp_unsigned if unsigned else self.b.icmp_signed
        packed = self.b.select(compare(">", packed, low), packed, low)
        return self.b.select(compare("<", packed, high), packed, high)

    def interleave(self, parts: list[Any]) -> list[Any]:
        """Vectors of the products' type -> as many, where values of one place lie together, within 128 bits each.

        With four vectors of bytes `a0 a1 ..`, `b0 ..`, `c0 ..`, `d0 ..` the first result begins `a0 b0 c0 d0 a1 ..`.
        """
        if len(parts) == 1:
            return parts
        half = len(parts) // 2
        size = parts[0].type.element.width
        even, odd = self.interleave(parts[:half]), self.interleave(parts[half:])
        if half > 1:
            size *= half
            wide = ir.VectorType(ir.IntType(size), 32 * self.lanes // size)
            even, odd = ([self.b.bitcast(v, wide) for v in vectors] for vectors in (even, odd))
        count = 32 * self.lanes // size
        lane = 128 // size
        found = []
        for a, b in zip(even, odd, strict=True):
            for begin in (0, lane // 2):
                order = [base + begin + i + side * count
                         for base in range(0, count, lane) for i in range(lane // 2) for side in (0, 1)]  # fmt: skip
                found.append(self.shuffle(a, b, order))
        return found

    # Floats

    def minimum_float(self, a: Any, b: Any) -> Any:
        """Smaller float; b where they cannot be compared, as x86's minps."""
        return self.b.select(self.b.fcmp_ordered("<", a, b), a, b)

    def maximum_float(self, a: Any, b: Any) -> Any:
        """Larger float; b where they cannot be compared."""
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def absolute(self, v: Any) -> Any:
        """Float32 without its sign."""
        return self.call(f"llvm.fabs.v{self.lanes}f32", self.f32, [v])

    def round_to_int(self, v: Any) -> Any:
        """Float32 to int32, ties to even; what does not fit becomes INT32_MIN."""
        if self.isa.x86 and self.lanes == 8:
            return self.call("llvm.x86.avx.cvt.ps2dq.256", self.i32, [v])
        if self.isa.x86 and self.lanes == 16:
            args = [v, self.const(self.i32, 0), ir.Constant(I16, -1), ir.Constant(I32, 4)]
            return self.call("llvm.x86.avx512.mask.cvtps2dq.512", self.i32, args)
        rounded = self.call(f"llvm.roundeven.v{self.lanes}f32", self.f32, [v])
        return self._convert(rounded, self.f32, self.i32)

    def truncate_to_int(self, v: Any) -> Any:
        """Float64 to int32, towards zero; what does not fit becomes INT32_MIN."""
        if self.isa.x86 and self.lanes in (8, 16):
            half = self.lanes // 2
            parts = [self.shuffle(v, v, list(range(i * half, (i + 1) * half))) for i in (0, 1)]
            narrow = ir.VectorType(I32, half)
            if half == 4:
                done = [self.call("llvm.x86.avx.cvtt.pd2dq.256", narrow, [p]) for p in parts]
            else:
                rest = [self.const(narrow, 0), ir.Constant(I8, -1), ir.Constant(I32, 4)]
                done = [self.call("llvm.x86.avx512.mask.cvttpd2dq.512", narrow, [p, *rest]) for p in parts]
            return self.shuffle(done[0], done[1], list(range(self.lanes)))
        whole = self.call(f"llvm.trunc.v{self.lanes}f64", self.f64, [v])
        return self._convert(whole, self.f64, self.i32)

    def _convert(self, whole: Any, vector: Any, to: Any) -> Any:
        """Whole floats to int32, INT32_MIN where they do not fit: LLVM's own conversion is undefined there."""
        kind = "f32" if vector is self.f32 else "f64"
        size = self.call(f"llvm.fabs.v{self.lanes}{kind}", vector, [whole])
        fits = self.b.fcmp_ordered("<", size, self.const(vector, 2.0**31))
        safe = self.b.select(fits, whole, self.const(vector, 0.0))
        return self.b.select(fits, self.b.fptosi(safe, to), self.const(to, -(2**31)))

    def round_half_away(self, v: Any) -> Any:
        """Float64 to int32, ties away from zero; what does not fit becomes INT32_MIN.

        The largest float below one half is added with the value's sign, so that no value just below a tie is taken over
        it; then the fraction is dropped.
        """
        below_half = struct.unpack("<d", struct.pack("<q", 0x3FDFFFFFFFFFFFFF))[0]
        half = self.call(f"llvm.copysign.v{self.lanes}f64", self.f64, [self.const(self.f64, below_half), v])
        return self.truncate_to_int(self.b.fadd(v, half))

    # Products

    def dot(self, acc: Any, activations: Any, weights: Any) -> Any:
        """Add the products of one group of the depth to int32 sums.

        Args:
            acc: the sums, one lane for each unit.
            activations: one row's group, four bytes in an int32.
            weights: the group's weights, one lane of four bytes for each unit.
        """
        return self.dot_vectors(acc, self.splat(activations, self.lanes), weights)

    def dot_vectors(self, acc: Any, a: Any, weights: Any) -> Any:
        """The same with a vector of activations."""
        name = self.isa.name
        # The operands' type is that of older LLVMs; newer ones (bytes) turn it into their own when they read the text.
        if name == "avx512vnni":
            return self.call("llvm.x86.avx512.vpdpbusd.512", self.i32, [acc, a, weights])
        if name == "avxvnni":
            return self.call("llvm.x86.avx512.vpdpbusd.256", self.i32, [acc, a, weights])
        if name == "neon_dot":
            bytes16 = ir.VectorType(I8, 16)
            pair = [self.b.bitcast(v, bytes16) for v in (weights, a)]
            return self.call("llvm.aarch64.neon.sdot.v4i32.v16i8", self.i32, [acc, *pair])
        return (
            self.b.add(acc, self._plain_bytes(a, weights)) if self.isa.group == 4 else self.add_pairs(acc, a, weights)
        )

    def add_pairs(self, acc: Any, a: Any, b: Any) -> Any:
        """Add the products of two int16, which lie in one lane, to int32 sums."""
        pairs = ir.VectorType(I16, 2 * self.lanes)
        name = self.isa.name
        if name in ("avx512vnni", "avxvnni"):
            return self.call(f"llvm.x86.avx512.vpdpwssd.{32 * self.lanes}", self.i32, [acc, a, b])
        a, b = self.b.bitcast(a, pairs), self.b.bitcast(b, pairs)
        if name == "avx2":
            return self.b.add(acc, self.call("llvm.x86.avx2.pmadd.wd", self.i32, [a, b]))
        wide = ir.VectorType(I32, 2 * self.lanes)
        product = self.b.mul(self.b.sext(a, wide), self.b.sext(b, wide))
        parts = [self.shuffle(product, product, list(range(start, 2 * self.lanes, 2))) for start in (0, 1)]
        return self.b.add(acc, self.b.add(*parts))

    def _plain_bytes(self, a: Any, weights: Any) -> Any:
        """The sums of four products of bytes in each lane."""
        count = 4 * self.lanes
        stored, wide = ir.VectorType(I8, count), ir.VectorType(I32, count)
        a, w = self.b.bitcast(a, stored), self.b.bitcast(weights, stored)
        extend = self.b.zext if self.isa.activations == "uint8" else self.b.sext
        product = self.b.mul(extend(a, wide), self.b.sext(w, wide))
        parts = [self.shuffle(product, product, list(range(start, count, 4))) for start in range(4)]
        return self.b.add(self.b.add(parts[0], parts[1]), self.b.add(parts[2], parts[3]))
