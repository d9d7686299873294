"""The micro-kernel: a few input rows times a panel of packed weights, requantized in registers and stored.

    input rows [rows, depth]   in the Isa's type, depth filled up with zeros to whole steps
    or windows [rows]          of an image in that type, each group of the depth at its own place (`windows`)
    panel                      depth groups x units of one tile x values of one group, contiguous
    columns                    the panel's constants: for each vector of units its slots, one behind the other

A tile is one to `Isa.vectors` vectors wide, and has the more rows the narrower it is (`tile_rows`): as many sums as
the registers hold, or the products would wait for each other.

Sums start from the bias, so that nothing is added behind the loop. With 64-bit sums the loop runs over so much of the
depth that no int32 can overflow, then widens.

Each kernel is an LLVM function of its own, so that the register allocator sees only the tile.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...rules.base import text_of_fields
from .compile import llvm_address
from .cpu import allow
from .forms import Ending, code_of
from .hybrid_forms import RECORD_BYTES, HybridEnding
from .slots import slot_bytes
from .unit import SCALARS, Unit
from .vectors import F32, I1, I8, I16, I32, I64, POINTER, Isa, Vectors, new_function

__all__ = [
    "FEW_ROWS",
    "MOST_ROWS",
    "ROWS_MULTIPLE",
    "UNROLL",
    "Shape",
    "build_tile",
    "call_tile",
    "tile_address",
    "tile_rows",
]

UNROLL = 2
"""Groups of the depth in one step of the loop."""
FEW_ROWS = 4
"""Rows of the small tile of each width."""
MOST_ROWS = 8
"""Rows of the tallest tile."""
ROWS_MULTIPLE = 24
"""A multiple of the rows of all large tiles."""
# Fewer sums than this would wait for each other: products start twice in a cycle and take five.
_LEAST_SUMS = 8

# Input rows (or an image), their distance in bytes (or the address of where windows begin), where each group of a
# window lies, panel, steps, steps in a chunk, columns, scalars, row sums (or records), output, its distance, which
# lanes of the last vector are stored (where the Isa has masks).
_ARGUMENTS = (POINTER, I64, POINTER, POINTER, I64, I64, POINTER, POINTER, POINTER, POINTER, I64, I64)


@dataclass(frozen=True)
class Shape:
    """What one micro-kernel is.

    Attributes:
        form: what finishes the sums.
        rows: input rows.
        width: vectors of units.
        weights: `packed` (the type that products take) or `int8` (half the memory where products take int16).
        output_bytes: of an output element: 1, 2, 4 or 8.
        unsigned: whether outputs of one byte are uint8.
        narrow: whether accumulators have fewer than 32 bits.
        wide: whether they have 64.
        windows: whether rows are windows of an image.
    """

    form: Ending
    rows: int
    width: int
    weights: str = "packed"
    output_bytes: int = 1
    unsigned: bool = False
    narrow: bool = False
    wide: bool = False
    windows: bool = False

    @property
    def name(self) -> str:
        """All of it: what compiled code is called, and kept by."""
        return ".".join([type(self.form).__name__, *text_of_fields(self).split("-")])


def tile_rows(isa: Isa, width: int) -> int:
    """Rows of the large tile of a width."""
    return min(isa.rows * isa.vectors // width, MOST_ROWS)


def packs_rows(isa: Isa, shape: Shape) -> bool:
    """Whether the outputs of one row, several vectors of bytes, are stored as one."""
    return isa.masks and shape.output_bytes == 1 and shape.width > 1


def build_tile(module: Any, isa: Isa, shape: Shape, name: str = "tile", features: str = "") -> Any:
    """Add the LLVM function of one micro-kernel to a module.

    Args:
        module: the LLVM module.
        isa: the CPU kind.
        shape: what it is.
        name: of the function.
        features: what the module's functions are compiled for (see `cpu.allow`).

    Returns:
        A function of addresses and numbers: see `_ARGUMENTS`.
    """
    fn = new_function(module, name, ir.VoidType(), _ARGUMENTS)
    allow(fn, isa, features)
    builder = ir.IRBuilder(fn.append_basic_block("entry"))
    _Tile(Vectors(builder, isa), fn, shape).emit()
    builder.ret_void()
    return fn


def tile_address(isa: Isa, shape: Shape) -> int:
    """The address of a micro-kernel, compiled or from disk."""
    # Only where vectors are packed the sign matters.
    shape = replace(shape, unsigned=shape.unsigned and packs_rows(isa, shape))
    name = f"lastbit_{isa.name}_{shape.name}"
    return llvm_address(name, lambda module, called, features: build_tile(module, isa, shape, called, features))


class _Tile:
    """Writes one micro-kernel."""

    def __init__(self, v: Vectors, fn: Any, shape: Shape) -> None:
        self.v, self.b, self.isa = v, v.b, v.isa
        self.fn, self.shape = fn, shape
        self.rows, self.width, self.output_bytes = shape.rows, shape.width, shape.output_bytes
        self.wide = shape.wide
        self.records = isinstance(shape.form, HybridEnding)
        self.slots, self.code = code_of(shape.form, self.wide)
        self.offsets, self.unit_bytes = slot_bytes(self.slots, v.lanes)
        # Bytes of one vector of weights: one lane takes a group.
        values = v.lanes * self.isa.group
        self.narrow = shape.weights == "int8" and self.isa.activations == "int16"
        self.weight_bytes = values if self.narrow or self.isa.activations != "int16" else 2 * values

    def emit(self) -> None:
        """Everything between the entry and the return."""
        (a, stride, taps, panel, steps, chunk, columns, scalars, row_sums, out, out_stride, mask) = self.fn.args
        starts = [self._opaque(self.b.gep(a, [self._place(stride, r)], source_etype=I8)) for r in range(self.rows)]
        self.taps = taps
        tiles = [(r, n) for r in range(self.rows) for n in range(self.width)]
        self._prefetch_outputs(out, out_stride)
        if self.wide:
            sums = self._wide_sums(starts, panel, steps, chunk, columns, tiles)
        else:
            biases = [self._bias(columns, n, self.v.i32) for n in range(self.width)]
            if not self.records and (self.isa.activations != "int16" or self.narrow):
                # What a zero point of the weights adds to every unit of a row.
                adds = [self._row_add(row_sums, r) for r in range(self.rows)]
                first = {(r, n): self.b.add(biases[n], adds[r]) for r, n in tiles}
            else:
                first = {(r, n): biases[n] for r, n in tiles}
            sums, _ = self._loop(starts, panel, ir.Constant(I64, 0), steps, first)
        places = columns, scalars, row_sums, out, out_stride, mask
        if isinstance(self.shape.form, HybridEnding) and self.shape.form.fused:
            with self.b.if_else(self._usual(scalars, row_sums), likely=True) as (then, otherwise):
                with then:
                    self._finish(sums, *places, usual=True)
                with otherwise:
                    self._finish(sums, *places)
        else:
            self._finish(sums, *places)

    def _usual(self, scalars: Any, records: Any) -> Any:
        """Whether no row's scale is so small that there can be subnormal results."""
        b, v = self.b, self.v
        least = b.load(v.at(scalars, 4 * SCALARS.index("least_scale_float")), typ=F32)
        scales = [b.load(v.at(records, RECORD_BYTES * r + 4), typ=F32) for r in range(self.rows)]
        return functools.reduce(b.and_, [b.fcmp_ordered(">=", scale, least) for scale in scales])

    def _finish(
        self,
        sums: dict[Any, Any],
        columns: Any,
        scalars: Any,
        row_sums: Any,
        out: Any,
        stride: Any,
        mask: Any,
        *,
        usual: bool = False,
    ) -> None:
        """Make outputs of the sums, and store them."""
        # Vectors of one row are packed into one of bytes, where there is an instruction for that.
        packs = packs_rows(self.isa, self.shape) and self.code is not None
        done: dict[Any, Any] = {}
        for n in range(self.width):
            place = self.v.at(columns, n * self.unit_bytes)
            unit = Unit(self.v, place, scalars, self.offsets, narrow=self.shape.narrow, packs=packs)
            unit.usual = usual
            for r in range(self.rows):
                unit.row = self.v.at(row_sums, RECORD_BYTES * r)
                done[r, n] = sums[r, n] if self.code is None else self.code(unit, sums[r, n])
                if not packs:
                    self._store(done[r, n], out, stride, r, n, mask)
        if packs:
            assert unit.bounds is not None
            bounds = [self._byte_scalar(scalars, name) for name in unit.bounds]
            for r in range(self.rows):
                self._store_packed([done[r, n] for n in range(self.width)], bounds, out, stride, r, mask)

    def _prefetch_outputs(self, out: Any, stride: Any) -> None:
        """Ask for the cache lines that will be written, so that they are there after the loop."""
        size = self.width * self.v.lanes * self.output_bytes
        for r in range(self.rows):
            row = self.b.gep(out, [self.b.mul(stride, ir.Constant(I64, r))], source_etype=I8)
            for begin in range(0, size, 64):
                self.v.prefetch(self.v.at(row, begin), written=True)

    def _place(self, stride: Any, r: int) -> Any:
        """How many bytes behind the first value of all a row begins, or a window."""
        if not self.shape.windows:
            return self.b.mul(stride, ir.Constant(I64, r))
        return self.b.load(self.v.at(self.b.inttoptr(stride, POINTER), 8 * r), typ=I64, align=8)

    def _group(self, step: Any, u: int) -> Any:
        """How many bytes behind its begin a row has group `u` of a step."""
        if not self.shape.windows:
            # One step takes UNROLL groups of four bytes of each row.
            return self.b.add(self.b.mul(step, ir.Constant(I64, 4 * UNROLL)), ir.Constant(I64, 4 * u))
        place = self.b.gep(self.taps, [self.b.mul(step, ir.Constant(I64, 8 * UNROLL))], source_etype=I8)
        return self.b.load(self.v.at(place, 8 * u), typ=I64, align=8)

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
        # Small tiles add up the groups of one step apart from each other.
        room = UNROLL * len(first) + self.width < self.isa.registers
        sets = UNROLL if len(first) <= _LEAST_SUMS and room and self.isa.group == 4 else 1
        sums = {}
        for key, value in first.items():
            for number in range(sets):
                phi = sums[number, *key] = b.phi(self.v.i32)
                phi.add_incoming(self.v.const(self.v.i32, 0) if number else value, before)
        b.cbranch(b.icmp_signed("<", step, end), body, done)
        b.position_at_end(body)
        now: dict[Any, Any] = dict(sums)
        for u in range(UNROLL):
            weights = [self._weights(place, u * self.width + n) for n in range(self.width)]
            offset = self._group(step, u)
            for r, start in enumerate(starts):
                pointer = b.gep(start, [offset], source_etype=I8)
                activations = b.load(pointer, typ=I32, align=1)
                for n in range(self.width):
                    now[u % sets, r, n] = self.v.dot(now[u % sets, r, n], activations, weights[n])
        step.add_incoming(b.add(step, ir.Constant(I64, 1)), body)
        place.add_incoming(self.v.at(place, UNROLL * self.width * self.weight_bytes), body)
        for key, phi in sums.items():
            phi.add_incoming(now[key], body)
        b.branch(head)
        b.position_at_end(done)
        total = {key: sums[0, *key] for key in first}
        for number in range(1, sets):
            total = {key: b.add(total[key], sums[number, *key]) for key in first}
        return total, place

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

    def _byte_scalar(self, scalars: Any, name: str) -> Any:
        value = self.b.load(self.v.at(scalars, 4 * SCALARS.index(name)), typ=I32)
        return self.v.splat(self.b.trunc(value, I8), 4 * self.v.lanes)

    def _store_packed(self, totals: list[Any], bounds: list[Any], out: Any, stride: Any, r: int, mask: Any) -> None:
        """Two to four vectors of int32 as bytes, limited to their type, then to the bounds, in one store."""
        b, v, lanes = self.b, self.v, self.v.lanes
        unsigned = self.shape.unsigned
        packed = b.bitcast(v.bytes_of(totals, unsigned), v.i32)
        # Fours are brought together.
        order = [4 * part + n for n in range(4) for part in range(lanes // 4)]
        packed = b.bitcast(v.shuffle(packed, packed, order), ir.VectorType(I8, 4 * lanes))
        packed = v.between(packed, bounds, unsigned)
        before = lanes * (self.width - 1)
        units = b.or_(b.shl(mask, ir.Constant(I64, before)), ir.Constant(I64, (1 << before) - 1))
        if self.width < 4:
            units = b.and_(units, ir.Constant(I64, (1 << before + lanes) - 1))
        stored = b.bitcast(units, ir.VectorType(I1, 4 * lanes))
        row = b.gep(out, [b.mul(stride, ir.Constant(I64, r))], source_etype=I8)
        v.call(f"llvm.masked.store.v{4 * lanes}i8.p0", ir.VoidType(), [packed, row, ir.Constant(I32, 1), stored])

    def _store(self, value: Any, out: Any, stride: Any, r: int, n: int, mask: Any) -> None:
        element = ir.IntType(8 * self.output_bytes)
        wanted = ir.VectorType(element, self.v.lanes)
        if value.type.element.width > element.width:
            value = self.b.trunc(value, wanted)
        row = self.b.gep(out, [self.b.mul(stride, ir.Constant(I64, r))], source_etype=I8)
        place = self.v.at(row, n * self.v.lanes * self.output_bytes)
        if self.isa.masks and n == self.width - 1:
            lanes = self.b.bitcast(self.b.trunc(mask, ir.IntType(self.v.lanes)), ir.VectorType(I1, self.v.lanes))
            name = f"llvm.masked.store.v{self.v.lanes}i{element.width}.p0"
            self.v.call(name, ir.VoidType(), [value, place, ir.Constant(I32, 1), lanes])
        else:
            self.b.store(value, place, align=1)


@intrinsic
def call_tile(_typing: Any, address: Any, arguments: Any) -> Any:
    """Call a micro-kernel from a Numba function: its address, a tuple of what it takes with addresses as int64."""
    signature = types.void(types.int64, types.UniTuple(types.int64, len(_ARGUMENTS)))

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), _ARGUMENTS)
        values = cgutils.unpack_tuple(builder, args[1], len(_ARGUMENTS))
        given = [
            builder.inttoptr(value, POINTER) if wanted == POINTER else value
            for value, wanted in zip(values, _ARGUMENTS, strict=True)
        ]
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), given)
        return context.get_dummy_value()

    return signature, generate
