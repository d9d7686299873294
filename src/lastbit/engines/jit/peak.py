"""How fast this CPU's dot product instruction is at best: sums in registers, values from the first level cache."""

from __future__ import annotations

import ctypes
from typing import Any

from llvmlite import ir

from ...model.types import Array
from .compile import llvm_address
from .cpu import allow, host_isa
from .memory import address
from .vectors import I64, Vectors

__all__ = ["operations", "spin"]

_SUMS = 12


def operations() -> int:
    """Additions and multiplications of one round of `spin`."""
    isa = host_isa()
    return 2 * isa.lanes * isa.group * _SUMS


def _write(module: Any, name: str, features: str) -> None:
    """(rounds, the address of the values) -> a number that depends on all."""
    kind = host_isa()
    fn = ir.Function(module, ir.FunctionType(I64, [I64, I64]), name)
    allow(fn, kind, features)
    b = ir.IRBuilder(fn.append_basic_block("entry"))
    v = Vectors(b, kind)
    entry = b.block
    base = b.inttoptr(fn.args[1], ir.PointerType())
    fixed = v.load(v.i32, base)
    head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    count = b.phi(I64)
    count.add_incoming(ir.Constant(I64, 0), entry)
    sums = [b.phi(v.i32) for _ in range(_SUMS)]
    for phi in sums:
        phi.add_incoming(fixed, entry)
    b.cbranch(b.icmp_signed("<", count, fn.args[0]), body, done)
    b.position_at_end(body)
    # Two places by turns: a product that is always the same would be taken out of the loop. So would these two,
    # where LLVM makes two rounds one: but what passes through (empty) assembler is new to it in each round.
    turn = b.mul(b.and_(count, ir.Constant(I64, 1)), ir.Constant(I64, 4 * kind.lanes * _SUMS))
    turn = b.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [turn], True)
    here = b.gep(base, [turn], source_etype=ir.IntType(8))
    for index, phi in enumerate(sums):
        phi.add_incoming(v.dot_vectors(phi, fixed, v.load(v.i32, here, 4 * kind.lanes * index)), body)
    count.add_incoming(b.add(count, ir.Constant(I64, 1)), body)
    b.branch(head)
    b.position_at_end(done)
    total = sums[0]
    for phi in sums[1:]:
        total = b.xor(total, phi)
    b.ret(b.sext(b.extract_element(total, ir.Constant(ir.IntType(32), 0)), I64))


def spin(values: Array, rounds: int) -> None:
    """Run so many rounds on an int64 array of 256 values; its first one is changed, so that the work is needed."""
    place = llvm_address(f"lastbit_peak_{host_isa().name}", _write)
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(place)
    values[0] = run(rounds, address(values))
