"""The kernel of depthwise convolutions, written as vector instructions: a row of windows, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...rules.base import text_of_fields
from .compile import llvm_address
from .cpu import allow
from .forms import Ending, code_of
from .slots import slot_bytes
from .unit import SCALARS, Unit
from .vectors import I8, I32, I64, POINTER, Isa, Vectors, new_function

__all__ = ["TapShape", "build_taps", "taps_address"]

# The copy of an image where the first window begins; where each tap lies from there, groups of them; weights, constants
# and scalars; chunks of a period, the first one's place in it; how many chunks; outputs.
_ARGUMENTS = (POINTER, POINTER, I64, POINTER, POINTER, POINTER, I64, I64, I64, POINTER)


@dataclass(frozen=True)
class TapShape:
    """What one kernel of depthwise convolutions is.

    Attributes:
        form: what finishes the sums.
        unsigned: whether outputs are uint8.
        output_bytes: of an output: 1 or 2.
        wide: whether the bias, and so the sums, have 64 bits. What is added to it fits 32.
    """

    form: Ending
    unsigned: bool
    output_bytes: int = 1
    wide: bool = False

    @property
    def name(self) -> str:
        """All of it: what compiled code is called, and kept by."""
        return ".".join(["taps", type(self.form).__name__, *text_of_fields(self).split("-")])


def taps_address(isa: Isa, shape: TapShape) -> int:
    """The address of a kernel, compiled or from disk."""
    name = f"lastbit_{isa.name}_{shape.name}"
    return llvm_address(name, lambda module, called, features: build_taps(module, isa, shape, called, features))


def build_taps(module: Any, isa: Isa, shape: TapShape, name: str = "taps", features: str = "") -> Any:
    """Add the LLVM function of one kernel to a module: see `_ARGUMENTS`."""
    fn = new_function(module, name, ir.VoidType(), _ARGUMENTS)
    allow(fn, isa, features)
    builder = ir.IRBuilder(fn.append_basic_block("entry"))
    _Taps(Vectors(builder, isa), fn, shape).emit()
    builder.ret_void()
    return fn


class _Taps:
    """Writes one kernel."""

    def __init__(self, v: Vectors, fn: Any, shape: TapShape) -> None:
        self.v, self.b, self.isa, self.fn, self.shape = v, v.b, v.isa, fn, shape
        slots, self.code = code_of(shape.form, shape.wide)
        self.offsets, self.unit_bytes = slot_bytes(slots, v.lanes)
        self.group = self.isa.group
        self.vector_bytes = 4 * v.lanes
        element = ir.IntType(32 // self.group)
        self.inputs = ir.VectorType(element, v.lanes * self.group)

    def emit(self) -> None:
        """Everything between the entry and the return."""
        b, v = self.b, self.v
        a, taps, groups, weights, columns, scalars, period, phase, count, out = self.fn.args
        panel_bytes = b.mul(groups, ir.Constant(I64, self.group * self.vector_bytes))
        entry = b.block
        head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
        b.branch(head)
        b.position_at_end(head)
        index, now = b.phi(I64), b.phi(I64)
        index.add_incoming(ir.Constant(I64, 0), entry)
        now.add_incoming(phase, entry)
        b.cbranch(b.icmp_signed("<", index, count), body, done)
        b.position_at_end(body)
        here = b.gep(a, [b.mul(index, ir.Constant(I64, self.vector_bytes))], source_etype=I8)
        panel = b.gep(weights, [b.mul(now, panel_bytes)], source_etype=I8)
        unit_bytes = ir.Constant(I64, self.group * self.unit_bytes)
        constants = b.gep(columns, [b.mul(now, unit_bytes)], source_etype=I8)
        sums = self._sums(here, taps, groups, panel, constants)
        chunk_bytes = self.group * v.lanes * self.shape.output_bytes
        place = b.gep(out, [b.mul(index, ir.Constant(I64, chunk_bytes))], source_etype=I8)
        self._finish(sums, constants, scalars, place)
        index.add_incoming(b.add(index, ir.Constant(I64, 1)), b.block)
        after = b.add(now, ir.Constant(I64, 1))
        now.add_incoming(b.select(b.icmp_signed("==", after, period), ir.Constant(I64, 0), after), b.block)
        b.branch(head)
        b.position_at_end(done)

    def _sums(self, here: Any, taps: Any, groups: Any, panel: Any, constants: Any) -> list[Any]:
        """The sums of one chunk: a loop over groups of taps."""
        b, v = self.b, self.v
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("taps_head", "taps_body", "taps_done"))
        wide = self.shape.wide
        kind = v.i64 if wide else v.i32
        biases = [v.load(kind, constants, q * self.unit_bytes + self.offsets["bias"]) for q in range(self.group)]
        b.branch(head)
        b.position_at_end(head)
        step, place = b.phi(I64), b.phi(POINTER)
        step.add_incoming(ir.Constant(I64, 0), before)
        place.add_incoming(panel, before)
        sums = [b.phi(v.i32) for _ in biases]
        for phi, bias in zip(sums, biases, strict=True):
            phi.add_incoming(v.const(v.i32, 0) if wide else bias, before)
        b.cbranch(b.icmp_signed("<", step, groups), body, done)
        b.position_at_end(body)
        where = b.gep(taps, [b.mul(step, ir.Constant(I64, 8 * self.group))], source_etype=I8)
        seen = []
        for j in range(self.group):
            offset = b.load(v.at(where, 8 * j), typ=I64, align=8)
            seen.append(v.load(self.inputs, b.gep(here, [offset], source_etype=I8)))
        for q, pairs in enumerate(v.interleave(seen)):
            by = v.load(v.i32, place, q * self.vector_bytes)
            sums[q].add_incoming(v.dot_vectors(sums[q], b.bitcast(pairs, v.i32), by), body)
        step.add_incoming(b.add(step, ir.Constant(I64, 1)), body)
        place.add_incoming(v.at(place, self.group * self.vector_bytes), body)
        b.branch(head)
        b.position_at_end(done)
        return [b.add(b.sext(acc, v.i64), bias) for acc, bias in zip(sums, biases, strict=True)] if wide else sums

    def _finish(self, sums: list[Any], constants: Any, scalars: Any, place: Any) -> None:
        """Requantize and store one chunk."""
        b, v = self.b, self.v
        packs = self.isa.masks and self.group == 4 and self.shape.output_bytes == 1
        totals, bounds = [], None
        for q, acc in enumerate(sums):
            unit = Unit(v, v.at(constants, q * self.unit_bytes), scalars, self.offsets, packs=packs)
            assert self.code is not None
            totals.append(self.code(unit, acc))
            bounds = unit.bounds
        if packs:
            assert bounds is not None
            limits = [self._byte_scalar(scalars, name) for name in bounds]
            unsigned = self.shape.unsigned
            v.store(v.between(v.bytes_of(totals, unsigned), limits, unsigned), place)
            return
        element = ir.IntType(8 * self.shape.output_bytes)
        narrow = [b.trunc(total, ir.VectorType(element, v.lanes)) for total in totals]
        while len(narrow) > 1:
            narrow = [self._joined(*narrow[i : i + 2]) for i in range(0, len(narrow), 2)]
        v.store(narrow[0], place)

    def _joined(self, first: Any, second: Any) -> Any:
        """Elements of two vectors in the order of the outputs: what interleaving has taken apart."""
        run = 4 * first.type.count // self.v.lanes
        order = [side * first.type.count + base + i
                 for base in range(0, first.type.count, run) for side in (0, 1) for i in range(run)]  # fmt: skip
        return self.v.shuffle(first, second, order)

    def _byte_scalar(self, scalars: Any, name: str) -> Any:
        value = self.b.load(self.v.at(scalars, 4 * SCALARS.index(name)), typ=I32)
        return self.v.splat(self.b.trunc(value, I8), 4 * self.v.lanes)
