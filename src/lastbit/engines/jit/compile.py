"""Compiled code by its address: made where it is first needed, kept on disk, loaded by later processes.

Two things are compiled: Numba functions of integers, and functions written straight into LLVM. Both end as machine code
that calls only what it was given the address of, so that each is compiled, kept and loaded by itself.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .cache import cache, say

__all__ = [
    "call",
    "float32_at",
    "function_address",
    "inner",
    "int8_at",
    "int16_at",
    "int32_at",
    "int64_at",
    "llvm_address",
    "made",
    "python_function",
    "uint8_at",
]

_POINTERS = ir.PointerType()


def _pointer(element: Any) -> Any:
    @intrinsic
    def at(_typing: Any, address: Any) -> Any:
        result = types.CPointer(element)

        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(result))

        return result(types.intp), generate

    return at


int8_at, uint8_at, int16_at, int32_at = (_pointer(t) for t in (types.int8, types.uint8, types.int16, types.int32))
int64_at, float32_at = _pointer(types.int64), _pointer(types.float32)


@intrinsic
def call(_typing: Any, address: Any, arguments: Any) -> Any:
    """Call a function by its address: a tuple of int64 -> int64."""
    count = arguments.count
    signature = types.intp(types.intp, types.UniTuple(types.intp, count))

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = args[0].type
        kind = ir.FunctionType(number, [number] * count)
        values = [builder.extract_value(args[1], i) for i in range(count)]
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    return signature, generate


# Floats divide by zero as the CPU does.
_OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}


def inner(function: Callable[..., Any]) -> Any:
    """A Numba function that others call, and Python does not."""
    return numba.njit(**_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True, inline="always")(function)


# Held across a fork, so that no child begins in the middle of another thread's compilation.
_LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
_ADDRESSES: dict[str, int] = {}
_SAID: list[str] = []


def function_address(function: Callable[..., int]) -> int:
    """The address of a function of int64 numbers that returns one, compiled by Numba.

    Args:
        function: a function of a module, without a decorator. It may call `inner` ones.
    """

    def make() -> tuple[Any, str]:
        count = len(inspect.signature(function).parameters)
        made = numba.cfunc(types.intp(*[types.intp] * count), **_OPTIONS)(function)
        return made._library, made._wrapper_name

    return _address(f"{function.__module__}.{function.__qualname__}", make)


@functools.cache
def python_function(function: Callable[..., int]) -> Callable[..., int]:
    """The same, to be called from Python: with int64 numbers, while other threads run. A call takes a microsecond."""
    count = len(inspect.signature(function).parameters)
    made: Callable[..., int] = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(function_address(function))
    return made


def llvm_address(name: str, write: Callable[[Any, str, str], None]) -> int:
    """The address of a function that is written straight into LLVM.

    Args:
        name: of the function; it says all that its code depends on.
        write: is called with an LLVM module, this name and what Numba compiles for (`+neon,-sve`); adds the function.
    """

    def make() -> tuple[Any, str]:
        codegen = cpu_target.target_context.codegen()
        library = codegen.create_library(name)
        library.enable_object_caching()
        module = library.create_ir_module(name)
        write(module, name, str(codegen.magic_tuple()[2]))
        library.add_ir_module(module)
        library.finalize()
        return library, name

    return _address(name, make)


def made() -> list[str]:
    """The names of all functions that have an address by now; those of Numba functions with the module before them."""
    return list(_ADDRESSES)


def _address(name: str, make: Callable[[], tuple[Any, str]]) -> int:
    found = _ADDRESSES.get(name)
    if found is None:
        with _LOCK, global_compiler_lock:
            found = _ADDRESSES.get(name)
            if found is None:
                found = _ADDRESSES[name] = _load_or_make(name, make)
    return found


def _load_or_make(name: str, make: Callable[[], tuple[Any, str]]) -> int:
    key = json.dumps([name, _SOURCE, *cpu_target.target_context.codegen().magic_tuple(), *_versions()])
    content = cache().load(key)
    if content is not None:
        try:
            return _loaded(content)
        except Exception as error:  # whatever LLVM says of it
            cache().reject(key, error)
    _say_that_it_compiles()
    content = _pack(*make())
    cache().save(key, content)
    return _loaded(content)


def _pack(library: Any, symbol: str) -> bytes:
    """The symbol, a line's end, and the machine code as an object file of the system."""
    _name, _kind, (machine_code, _bitcode) = library.serialize_using_object_code()
    return symbol.encode() + b"\n" + bytes(machine_code)


def _loaded(content: bytes) -> int:
    """The address of what was packed.

    LLVM links it by itself, without Numba's library: that would parse all of the bitcode again, and keep it.
    """
    symbol, _, machine_code = content.partition(b"\n")
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    # Not `finalize_object`: that compiles the engine's own module, which is empty, and takes 5 MiB of LLVM's code.
    address: int = engine.get_function_address(symbol.decode())
    if not address:
        raise ValueError(f"no function {symbol.decode()}")
    return address


@functools.cache
def _engine() -> Any:
    """What links object files into this process."""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(jit=True))


def _say_that_it_compiles() -> None:
    if not _SAID:
        kept = cache()
        where = f"kept in {kept.folder}" if kept.folder is not None else f"not kept: {kept.problem}"
        _SAID.append(where)
        say(f"compiling for this CPU, which takes a few seconds the first time ({where})")


def _source_digest() -> str:
    """Of the files that code is generated from."""
    parts = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()


# As they are when they are imported: a later version may take their place while this process runs.
_SOURCE = _source_digest()


@functools.cache
def _versions() -> tuple[str, ...]:
    names = ("numba", "llvmlite", "numpy")
    return (sys.implementation.cache_tag or "", *(f"{name} {metadata.version(name)}" for name in names))
