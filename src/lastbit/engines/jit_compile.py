"""How Numba functions are compiled and kept: the cache on disk, and memory by its address.

Compiled code is kept by Numba's cache on disk: beside this file, or in the user's cache folder. A digest of everything
that code is generated from is part of an entry's key.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

__all__ = [
    "c_function",
    "compiled",
    "compiled_for",
    "float32_at",
    "int8_at",
    "int16_at",
    "int32_at",
    "int64_at",
    "source_digest",
    "uint8_at",
]


@functools.cache
def source_digest() -> str:
    """Of the files that code is generated from."""
    parts = sorted(Path(__file__).parent.glob("jit_*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()


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


def compiled_for(context: Any) -> str:
    """The CPU features that Numba compiles a function for, in LLVM's words: `+neon,-sve`. From a code generator."""
    _triple, _cpu, features = context.codegen().magic_tuple()
    return str(features)


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache on disk, with the digest in the key: by itself it looks at the function's own file only."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), source_digest())


def compiled(function: Callable[..., Any]) -> Any:
    """Numba's `njit` without the GIL, cached where there is a place to write; floats divide by zero as the CPU does."""
    made = numba.njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # neither beside the file nor in the user's folder
        made._cache = _Cache(function)
    return made


def c_function(signature: Any, function: Callable[..., Any]) -> Any:
    """Numba's `cfunc`, cached likewise: the digest is in the function's closure, which is part of the key."""
    try:
        return numba.cfunc(signature, cache=True)(function)
    except RuntimeError:
        return numba.cfunc(signature)(function)
