"""How Python calls a chain: a function of Python's C interface, written straight into LLVM.

Through Numba's dispatcher or ctypes a call would take longer than a small layer.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from .compile import llvm_address
from .vectors import I8, I64, POINTER

__all__ = ["HEADER_BYTES", "enter"]

HEADER_BYTES = 128
"""Before the scratch memory: the addresses of the compiled chain and of its state, int64 each."""

_METH_FASTCALL = 0x0080
# Arrays begin like every object; then comes the address of their content.
_DATA_OFFSET = object.__basicsize__


class _Definition(ctypes.Structure):
    """Python's `PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@functools.cache
def enter() -> Callable[[int, Any, int, Any, int, int], int]:
    """A function (memory, input, rows, output, shared, others) -> what the chain returns.

    memory: the address of a header (see `HEADER_BYTES`) with scratch memory behind it. input, output: C-contiguous
    arrays. rows: how many. shared: 0, or the address of what threads share. others: not 0 to let other Python threads
    run meanwhile, which takes longer than a small layer.
    """
    probe = np.zeros(1, np.int64)
    assert ctypes.c_void_p.from_address(id(probe) + _DATA_OFFSET).value == probe.__array_interface__["data"][0]
    definition = _Definition(b"enter", llvm_address("lastbit_enter", _write), _METH_FASTCALL, None)
    _KEPT.append(definition)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    made: Callable[[int, Any, int, Any, int, int], int] = make(ctypes.addressof(definition), None, None)
    return made


_KEPT: list[_Definition] = []


def _write(module: Any, name: str, _features: str) -> None:
    """(self, arguments, how many) -> a Python int."""
    fn = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER, I64]), name)
    python = {
        function: ir.Function(module, ir.FunctionType(result, arguments), function)
        for function, result, arguments in (
            ("PyLong_AsLongLong", I64, [POINTER]),
            ("PyLong_FromLongLong", POINTER, [I64]),
            ("PyEval_SaveThread", POINTER, []),
            ("PyEval_RestoreThread", ir.VoidType(), [POINTER]),
        )
    }
    b = ir.IRBuilder(fn.append_basic_block("entry"))

    def at(pointer: Any, offset: int, kind: Any) -> Any:
        return b.load(b.gep(pointer, [ir.Constant(I64, offset)], source_etype=I8), typ=kind)

    def number(index: int) -> Any:
        return b.call(python["PyLong_AsLongLong"], [at(fn.args[1], 8 * index, POINTER)])

    def content(index: int) -> Any:
        return at(at(fn.args[1], 8 * index, POINTER), _DATA_OFFSET, I64)

    memory = number(0)
    header = b.inttoptr(memory, POINTER)
    scratch = b.add(memory, ir.Constant(I64, HEADER_BYTES))
    arguments = [at(header, 8, I64), scratch, content(1), number(2), content(3), number(4)]
    chain = b.inttoptr(at(header, 0, I64), ir.FunctionType(I64, [I64] * 6).as_pointer())
    shared = b.append_basic_block("with_others")
    kept = b.append_basic_block("alone")
    b.cbranch(b.icmp_signed("!=", number(5), ir.Constant(I64, 0)), shared, kept)
    b.position_at_end(shared)
    state = b.call(python["PyEval_SaveThread"], [])
    result = b.call(chain, arguments)
    b.call(python["PyEval_RestoreThread"], [state])
    b.ret(b.call(python["PyLong_FromLongLong"], [result]))
    b.position_at_end(kept)
    b.ret(b.call(python["PyLong_FromLongLong"], [b.call(chain, arguments)]))
