"""The micro-kernel: a few input rows times a panel of packed weights, requantized in registers and stored.

    input rows [rows, depth]   in the Isa's type, depth filled up with zeros to whole steps
    panel                      depth groups x units of one tile x values of one group, contiguous
    columns                    the panel's constants: for each vector of units its slots, one behind the other

Sums start from the bias, so that nothing is added behind the loop. With 64-bit sums the loop runs over so much of the
depth that no int32 can overflow, then widens.

Each kernel is an LLVM function of its own (not inlined), so that the register allocator sees nothing but the tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit_compile import compiled_for
from .jit_cpu import allow
from .jit_forms import FORMS, FORMS_64, slot_bytes
from .jit_hybrid_forms import HYBRID_FORMS, RECORD_BYTES
from .jit_unit import Unit
from .jit_vectors import I8, I16, I32, I64, ISAS, POINTER, Isa, Vectors, internal_function

__all__ = ["UNROLL", "build_tile", "tile"]

UNROLL = 2
"""Groups of the depth in one step of the loop."""

# Input rows, their distance in bytes, panel, steps, steps in a chunk, columns, scalars, row sums (or records), output,
# its distance.
_ARGUMENTS = (POINTER, I64, POINTER, I64, I64, POINTER, POINTER, POINTER, POINTER, I64)


def build_tile(module: Any, isa: Isa, form: str, rows: int, weights: str, output: str, features: str = "") -> Any:
    """The LLVM function of one micro-kernel, made where the module does not have it yet.

    Args:
        module: the LLVM module.
        isa: the CPU kind.
        form: a key of `FORMS`, or of `FORMS_64` with `/64` behind it.
        rows: input rows.
        weights: `packed` (the type that products take) or `int8` (half the memory where products take int16).
        output: `i1` (8 bits), `i2`, `i4` or `i8`: bytes of an output element.
        features: what the module's functions are compiled for (see `jit_cpu.allow`).

    Returns:
        A function `(input, input_stride, panel, steps, chunk, columns, scalars, row_sums, output, output_stride)`.
    """
    name = f"lastbit_{isa.name}_{form.replace('/', '_')}_{rows}_{weights}_{output}"
    fn, new = internal_function(module, name, ir.VoidType(), _ARGUMENTS)
    if not new:
        return fn
    allow(fn, isa, features)
    builder = ir.IRBuilder(fn.append_basic_block("entry"))
    _Tile(Vectors(builder, isa), fn, form, rows, weights, output).emit()
    builder.ret_void()
    return fn


class _Tile:
    """Writes one micro-kernel."""

    def __init__(self, v: Vectors, fn: Any, form: str, rows: int, weights: str, output: str) -> None:
        self.v, self.b, self.isa = v, v.b, v.isa
        self.fn, self.rows, self.output = fn, rows, output
        self.wide = form.endswith("/64")
        self.records = form in HYBRID_FORMS
        self.slots, self.code = (FORMS_64 if self.wide else FORMS)[form.removesuffix("/64")]
        self.offsets, self.unit_bytes = slot_bytes(self.slots, v.lanes)
        # Bytes of one vector of weights: one lane takes a group.
        values = v.lanes * self.isa.group
        self.narrow = weights == "int8" and self.isa.activations == "int16"
        self.weight_bytes = values if self.narrow or self.isa.activations != "int16" else 2 * values

    def emit(self) -> None:
        """Everything between the entry and the return."""
        (a, stride, panel, steps, chunk, columns, scalars, row_sums, out, out_stride) = self.fn.args
        rows = [self.b.gep(a, [self.b.mul(stride, ir.Constant(I64, r))], source_etype=I8) for r in range(self.rows)]
        starts = [self._opaque(row) for row in rows]
        tiles = [(r, n) for r in range(self.rows) for n in range(self.isa.vectors)]
        if self.wide:
            sums = self._wide_sums(starts, panel, steps, chunk, columns, tiles)
        else:
            biases = [self._bias(columns, n, self.v.i32) for n in range(self.isa.vectors)]
            if not self.records and (self.isa.activations != "int16" or self.narrow):
                # What a zero point of the weights adds to every unit of a row.
                adds = [self._row_add(row_sums, r) for r in range(self.rows)]
                first = {(r, n): self.b.add(biases[n], adds[r]) for r, n in tiles}
            else:
                first = {(r, n): biases[n] for r, n in tiles}
            sums, _ = self._loop(starts, panel, ir.Constant(I64, 0), steps, first)
        for n in range(self.isa.vectors):
            unit = Unit(self.v, self.v.at(columns, n * self.unit_bytes), scalars, self.offsets)
            for r in range(self.rows):
                unit.row = self.v.at(row_sums, RECORD_BYTES * r)
                done = sums[r, n] if self.code is None else self.code(unit, sums[r, n])
                self._store(done, out, out_stride, r, n)

    def _opaque(self, pointer: Any) -> Any:
        """The pointer, as something that LLVM knows nothing of.

        Else it sees that rows are equally far apart, keeps one pointer and calculates the others anew in every step of
        the loop, on the ports that the products need.
        """
        return self.b.asm(ir.FunctionType(POINTER, [POINTER]), "", "=r,0", [pointer], False)

    def _bias(self, columns: Any, n: int, vector: Any) -> Any:
        return self.v.load(vector, columns, n * self.unit_bytes + self.offsets["bias"])

    def _row_add(self, row_sums: Any, r: int) -> Any:
        return self.v.splat(self.b.load(self.v.at(row_sums, 4 * r), typ=I32), self.v.lanes)

    def _weights(self, pointer: Any, index: int) -> Any:
        if not self.narrow:
            return self.v.load(self.v.i32, pointer, index * self.weight_bytes)
        values = self.v.lanes * self.isa.group
        stored = self.v.load(ir.VectorType(I8, values), pointer, index * self.weight_bytes)
        return self.b.bitcast(self.b.sext(stored, ir.VectorType(I16, values)), self.v.i32)

    def _loop(self, starts: list[Any], panel: Any, begin: Any, end: Any, first: dict[Any, Any]) -> tuple[Any, Any]:
        """The loop over the depth, in registers. Steps `begin` to `end`; gives the sums and the panel's next place."""
        b = self.b
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
        b.branch(head)
        b.position_at_end(head)
        step = b.phi(I64)
        step.add_incoming(begin, before)
        place = b.phi(POINTER)
        place.add_incoming(panel, before)
        sums = {}
        for key, value in first.items():
            sums[key] = b.phi(self.v.i32)
            sums[key].add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", step, end), body, done)
        b.position_at_end(body)
        now: dict[Any, Any] = dict(sums)
        # One step takes UNROLL groups of four bytes of each row.
        offset = b.mul(step, ir.Constant(I64, 4 * UNROLL))
        for u in range(UNROLL):
            weights = [self._weights(place, u * self.isa.vectors + n) for n in range(self.isa.vectors)]
            for r, start in enumerate(starts):
                pointer = b.gep(start, [b.add(offset, ir.Constant(I64, 4 * u))], source_etype=I8)
                activations = b.load(pointer, typ=I32, align=1)
                for n in range(self.isa.vectors):
                    now[r, n] = self.v.dot(now[r, n], activations, weights[n])
        step.add_incoming(b.add(step, ir.Constant(I64, 1)), body)
        place.add_incoming(self.v.at(place, UNROLL * self.isa.vectors * self.weight_bytes), body)
        for key, phi in sums.items():
            phi.add_incoming(now[key], body)
        b.branch(head)
        b.position_at_end(done)
        return sums, place

    def _wide_sums(
        self, starts: list[Any], panel: Any, steps: Any, chunk: Any, columns: Any, tiles: list[Any]
    ) -> dict[Any, Any]:
        """64-bit sums: chunk after chunk of the depth, each in 32 bits."""
        b, v = self.b, self.v
        slots = {key: b.alloca(v.i64) for key in tiles}
        for r, n in tiles:
            b.store(self._bias(columns, n, v.i64), slots[r, n], align=8)
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("chunk_head", "chunk_body", "chunk_done"))
        b.branch(head)
        b.position_at_end(head)
        begin, place = b.phi(I64), b.phi(POINTER)
        begin.add_incoming(ir.Constant(I64, 0), before)
        place.add_incoming(panel, before)
        b.cbranch(b.icmp_signed("<", begin, steps), body, done)
        b.position_at_end(body)
        end = b.add(begin, chunk)
        end = b.select(b.icmp_signed("<", end, steps), end, steps)
        zero = {key: v.const(v.i32, 0) for key in tiles}
        sums, after = self._loop(starts, place, begin, end, zero)
        for key in tiles:
            total = b.add(b.load(slots[key], typ=v.i64, align=8), b.sext(sums[key], v.i64))
            b.store(total, slots[key], align=8)
        begin.add_incoming(end, b.block)
        place.add_incoming(after, b.block)
        b.branch(head)
        b.position_at_end(done)
        return {key: b.load(slots[key], typ=v.i64, align=8) for key in tiles}

    def _store(self, value: Any, out: Any, stride: Any, r: int, n: int) -> None:
        size = int(self.output[1])
        wanted = ir.VectorType(ir.IntType(8 * size), self.v.lanes)
        if value.type.element.width > wanted.element.width:
            value = self.b.trunc(value, wanted)
        row = self.b.gep(out, [self.b.mul(stride, ir.Constant(I64, r))], source_etype=I8)
        self.v.store(value, row, n * self.v.lanes * size)


@intrinsic(prefer_literal=True)
def tile(_typing: Any, isa: Any, form: Any, rows: Any, weights: Any, output: Any, rest: Any) -> Any:
    """Call a micro-kernel from a Numba function.

    The first five arguments are literals (see `build_tile`); the last is a tuple of the kernel's own, with addresses as
    integers.
    """
    fixed = (isa, form, rows, weights, output)
    if not all(isinstance(t, types.Literal) for t in fixed):
        return None
    kind, name, count, packing, size = (t.literal_value for t in fixed)
    signature = types.void(*fixed, types.UniTuple(types.int64, len(_ARGUMENTS)))

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        fn = build_tile(builder.module, ISAS[kind], name, count, packing, size, compiled_for(context))
        values = cgutils.unpack_tuple(builder, args[5], len(_ARGUMENTS))
        given = [
            builder.inttoptr(value, POINTER) if wanted == POINTER else value
            for value, wanted in zip(values, _ARGUMENTS, strict=True)
        ]
        builder.call(fn, given)
        return context.get_dummy_value()

    return signature, generate
