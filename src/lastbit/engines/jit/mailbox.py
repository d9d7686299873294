"""How one thread gives work to another without Python: a mailbox in memory.

After a share a helper looks out for the next one for a tenth of a millisecond before it sleeps, and the caller does so
for the helper's end: to wake a thread takes longer than a small layer. What they sleep on are Python's own locks, which
need no global lock.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...model.types import Array
from .compile import call, inner, int64_at
from .entry import HEADER_BYTES
from .memory import address

__all__ = ["BYTES", "end", "exchange", "finish", "post", "prepared", "serve"]

# What a helper does, or has to do. The caller writes POSTED, then AWAITED where it sleeps until the share is done, and
# ENDED; the helper writes the others.
_LOOKS_OUT, _SLEEPS, _POSTED, _AWAITED, _ENDED = range(5)
# A mailbox begins with the state, which has cache lines of its own: both look at it again and again. Then come what a
# chain takes, what it returned, the locks, and what takes and gives them.
_WORK, _RESULT, _BEGIN, _DONE, _TAKE, _GIVE = 16, 21, 22, 23, 24, 25
BYTES = 8 * 32
_LOOKS = 4000


def prepared(memory: Array) -> int:
    """The address of a mailbox in this memory, with its locks."""
    python = ctypes.pythonapi
    new, take, give = python.PyThread_allocate_lock, python.PyThread_acquire_lock, python.PyThread_release_lock
    new.restype, new.argtypes = ctypes.c_void_p, []
    take.argtypes, give.argtypes = [ctypes.c_void_p, ctypes.c_int], [ctypes.c_void_p]
    box = memory[:BYTES].view(np.int64)
    box[:] = 0
    box[_BEGIN], box[_DONE] = new(), new()
    box[_TAKE], box[_GIVE] = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in (take, give))
    for lock in (_BEGIN, _DONE):
        take(int(box[lock]), 1)
    return address(box)


@intrinsic
def exchange(_typing: Any, address: Any, wanted: Any, new: Any) -> Any:
    """Write an int64 where it is as wanted, in one step; what was there."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        found = builder.cmpxchg(pointer, args[1], args[2], "seq_cst", "seq_cst")
        return builder.extract_value(found, 0)

    return types.int64(types.intp, types.int64, types.int64), generate


_X86, _ARM64 = (platform.machine().lower() in names for names in (("x86_64", "amd64"), ("aarch64", "arm64")))


def _pause(builder: Any) -> None:
    """Leave the core to others for some ten cycles."""
    hint = [ir.Constant(ir.IntType(32), 1)] if _ARM64 else []
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in hint])
    if _X86 or _ARM64:
        name = "llvm.aarch64.hint" if _ARM64 else "llvm.x86.sse2.pause"
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), hint)


@intrinsic
def _look(_typing: Any, address: Any) -> Any:
    """A mailbox's state, after a little pause in which the CPU does others' work."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _pause(builder)
        nothing = ir.Constant(ir.IntType(64), -1)
        pointer = builder.inttoptr(args[0], ir.PointerType())
        return builder.extract_value(builder.cmpxchg(pointer, nothing, nothing, "seq_cst", "seq_cst"), 0)

    return types.int64(types.intp), generate


@inner
def _change(box: int, state: int) -> int:
    """Write a state; what it was."""
    was = _look(box)
    while True:
        found = exchange(box, was, state)
        if found == was:
            return int(was)
        was = found


def serve(box: int) -> int:
    """A helper's life: do what is posted, until the end."""
    at = int64_at(box)
    looks = 0
    while True:
        state = _look(box)
        if state in (_POSTED, _AWAITED):
            memory, x, rows, out, shared = at[_WORK], at[_WORK + 1], at[_WORK + 2], at[_WORK + 3], at[_WORK + 4]
            header = int64_at(memory)
            at[_RESULT] = call(header[0], (header[1], memory + HEADER_BYTES, x, rows, out, shared))
            if _change(box, _LOOKS_OUT) == _AWAITED:
                call(at[_GIVE], (at[_DONE],))
            looks = 0
        elif state == _ENDED:
            return 0
        elif looks < _LOOKS:
            looks += 1
        else:
            if exchange(box, _LOOKS_OUT, _SLEEPS) == _LOOKS_OUT:
                call(at[_TAKE], (at[_BEGIN], 1))
            looks = 0


def post(box: int, memory: int, x: int, rows: int, out: int, shared: int) -> int:
    """Give a helper a share of a call: what a chain takes (see `kernels.chain`), its scratch memory behind a header."""
    at = int64_at(box)
    at[_WORK], at[_WORK + 1], at[_WORK + 2], at[_WORK + 3], at[_WORK + 4] = memory, x, rows, out, shared
    if _change(box, _POSTED) == _SLEEPS:
        call(at[_GIVE], (at[_BEGIN],))
    return 0


def finish(box: int) -> int:
    """Wait until a helper has done its share; what the chain returned."""
    at = int64_at(box)
    for _ in range(_LOOKS):
        if _look(box) != _POSTED:
            return int(at[_RESULT])
    if exchange(box, _POSTED, _AWAITED) == _POSTED:
        call(at[_TAKE], (at[_DONE], 1))
    return int(at[_RESULT])


def end(box: int) -> int:
    """Let a helper that has nothing to do end."""
    at = int64_at(box)
    if _change(box, _ENDED) == _SLEEPS:
        call(at[_GIVE], (at[_BEGIN],))
    return 0
