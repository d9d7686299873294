"""Numba functions around the micro-kernels: whole layers, tile by tile, and whole chains of layers.

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
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

from .jit_tile import tile
from .jit_vectors import Isa, choose_isa

__all__ = ["FIELDS", "STATE", "chain", "enter", "host_isa"]

# The columns of a chain's table, one row for each operator. Pointers are addresses, distances are bytes.
FIELDS = (
    "kind",  # DENSE, TABLE or QUANTIZER
    "depth",  # of a dense layer; elements in one row of the chain for a table
    "row_bytes",  # of a converted input row
    "steps",
    "chunk",
    "units",
    "panels",
    "panel_bytes",
    "weights",
    "narrow_panel_bytes",
    "narrow_weights",
    "columns",
    "column_bytes",  # of one panel
    "scalars",
    "weights_zero_point",  # what is left of it for the row sums
    "input_type",
    "input_bytes",  # of one element
    "output_bytes",
    "rows",  # of this operator for one row of the chain
    "table",  # of outputs, or the constants of a quantizer
    "table_split",
    "table_period",
)
# What a chain knows of itself. Places are bytes from the begin of the scratch memory, which has two buffers of
# `between` bytes, a block's converted rows and one tile's more, their sums, and room for one tile.
STATE = ("operators", "count", "input_bytes", "output_bytes", "block", "between", "converted", "sums", "spare")
DENSE, TABLE, QUANTIZER = 0, 1, 2
INT8, UINT8, INT16 = 0, 1, 2


def host_isa() -> Isa:
    """The kernels for this machine's CPU."""
    import llvmlite.binding as llvm

    return choose_isa(dict(llvm.get_host_cpu_features()))


@functools.cache
def _digest() -> str:
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


_int8_at, _uint8_at, _int16_at, _int32_at = (_pointer(t) for t in (types.int8, types.uint8, types.int16, types.int32))
_int64_at, _float32_at = _pointer(types.int64), _pointer(types.float32)

# State, scratch, input, rows, output: see `_make_chain`.
_CHAIN_TYPE = types.void(*[types.intp] * 5)


@functools.cache
def chain(form: str, isa: Isa, output_bytes: int) -> int:
    """The address of the function that runs a chain of operators over rows (see `_make_chain`), compiled."""
    address: int = _make_chain(form, isa, output_bytes).address
    return address


@intrinsic
def _call(_typing: Any, function: Any, state: Any, scratch: Any, x: Any, rows: Any, out: Any) -> Any:
    """Call a chain by its address."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = args[0].type
        kind = ir.FunctionType(ir.VoidType(), [number] * 5)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache on disk, with the digest in the key: by itself it looks at the function's own file only."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _digest())


def compiled(function: Callable[..., Any]) -> Any:
    """Numba's `njit` without the GIL, cached where there is a place to write; floats divide by zero as the CPU does."""
    made = numba.njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # neither beside the file nor in the user's folder
        made._cache = _Cache(function)
    return made


def _c_function(signature: Any, function: Callable[..., Any]) -> Any:
    """Numba's `cfunc`, cached likewise: the digest is in the function's closure, which is part of the key."""
    try:
        return numba.cfunc(signature, cache=True)(function)
    except RuntimeError:
        return numba.cfunc(signature)(function)


@compiled
def _convert_rows(x: int, x_stride: int, rows: int, depth: int, kind: int, out: int, row_bytes: int, to: int) -> None:
    """Input rows in the type that products take, filled up with zeros. `to` is 0 int16, 1 uint8, 2 int8."""
    for r in range(rows):
        start = x + r * x_stride
        if to == 0:
            wide = _int16_at(out + r * row_bytes)
            if kind == INT8:
                signed = _int8_at(start)
                for k in range(depth):
                    wide[k] = signed[k]
            elif kind == UINT8:
                unsigned = _uint8_at(start)
                for k in range(depth):
                    wide[k] = unsigned[k]
            else:
                same = _int16_at(start)
                for k in range(depth):
                    wide[k] = same[k]
            for k in range(depth, row_bytes // 2):
                wide[k] = 0
        else:
            # Between int8 and uint8 the distance is 128, in both directions: the upper bit changes.
            flip = 128 if (kind == INT8) == (to == 1) else 0
            given, taken = _uint8_at(start), _uint8_at(out + r * row_bytes)
            for k in range(depth):
                taken[k] = given[k] ^ flip
            for k in range(depth, row_bytes):
                taken[k] = 0


@compiled
def _add_rows(a: int, rows: int, depth: int, row_bytes: int, to: int, factor: int, out: int) -> None:
    """`factor` times the sum of each converted row, as int32 that wraps."""
    sums = _int32_at(out)
    for r in range(rows):
        total = 0
        start = a + r * row_bytes
        if factor == 0:
            pass
        elif to == 0:
            wide = _int16_at(start)
            for k in range(depth):
                total += wide[k]
        elif to == 1:
            unsigned = _uint8_at(start)
            for k in range(depth):
                total += unsigned[k]
        else:
            signed = _int8_at(start)
            for k in range(depth):
                total += signed[k]
        sums[r] = numba.int32(total * factor)


@compiled
def _copy_tile(source: int, source_stride: int, out: int, out_stride: int, rows: int, size: int) -> None:
    for r in range(rows):
        given, taken = _uint8_at(source + r * source_stride), _uint8_at(out + r * out_stride)
        for i in range(size):
            taken[i] = given[i]


@compiled
def _look_up(x: int, n: int, kind: int, table: int, size: int, split: int, period: int, out: int) -> None:
    """Outputs of one byte or four from two tables of 256: of each `period` elements, the first `split` by the first."""
    given = _uint8_at(x)
    flip = 128 if kind == INT8 else 0
    if size == 1:
        first, taken = _uint8_at(table), _uint8_at(out)
        for start in range(0, n, period):
            for i in range(start, start + split):
                taken[i] = first[given[i] ^ flip]
            for i in range(start + split, start + period):
                taken[i] = first[256 + (given[i] ^ flip)]
    else:
        words, found = _int32_at(table), _int32_at(out)
        for start in range(0, n, period):
            for i in range(start, start + split):
                found[i] = words[given[i] ^ flip]
            for i in range(start + split, start + period):
                found[i] = words[256 + (given[i] ^ flip)]


_INT32_MIN, _BELOW_HALF, _SMALLEST_NORMAL = -(2**31), 0.49999999999999994, 2.0**-126


@compiled
def _to_int32(value):  # type: ignore[no-untyped-def]
    """A whole float64 as x86 converts it: INT32_MIN where it does not fit."""
    fits = abs(value) < 2147483648.0
    return numba.int32(value if fits else 0.0) if fits else numba.int32(_INT32_MIN)


@compiled
def _limit(value, zero_point, low, high):  # type: ignore[no-untyped-def]
    total = numba.int32(value + zero_point)
    return numba.uint8(min(max(total, low), high))


@compiled
def _quantize(x: int, n: int, constants: int, split: int, period: int, out: int) -> None:
    """Float32 to 8 bits by a rule of `ops.quantize`; of each `period` elements the first `split` in vectors."""
    floats, whole = _float32_at(constants), _int32_at(constants)
    scale, inverse, zero_point, low, high, rule = floats[0], floats[1], whole[2], whole[3], whole[4], whole[5]
    given, taken = _float32_at(x), _uint8_at(out)
    if rule == 2:
        limit, lowest = numba.float32(32767.0), numba.float32(-32768.0)
        for i in range(n):
            value = given[i]
            flushed = numba.float32(0.0) if abs(value) < numba.float32(_SMALLEST_NORMAL) else value
            scaled = flushed * inverse
            scaled = scaled if scaled < limit else limit  # NaN too
            scaled = scaled if scaled > lowest else lowest
            taken[i] = _limit(numba.int32(np.rint(scaled)), zero_point, low, high)
        return
    for start in range(0, n, period):
        for i in range(start, start + (split if rule == 1 else 0)):
            product = numba.float32(given[i] * inverse)
            taken[i] = _limit(_to_int32(np.rint(numba.float64(product))), zero_point, low, high)
        for i in range(start + (split if rule == 1 else 0), start + period):
            quotient = numba.float64(given[i]) / numba.float64(scale)
            if rule == 0:
                quotient = numba.float64(numba.float32(given[i] / scale))
            away = quotient + (_BELOW_HALF if quotient >= 0.0 else -_BELOW_HALF)
            taken[i] = _limit(_to_int32(np.trunc(away)), zero_point, low, high)


def _make_chain(form: str, isa: Isa, output_bytes: int) -> Any:
    """Compile a chain for one requantization form.

    The function takes the addresses of its state and of scratch memory, the address of the input, how many rows, and
    the address of the output. The state is int64 with `STATE`.
    """
    # Everything stands in one function: one that called another closure would have a new cache key in every process.
    digest = _digest()
    kind, columns = isa.name, isa.columns
    many, few = isa.rows
    to = ("int16", "uint8", "int8").index(isa.activations)
    single = "int8" if to == 0 and not form.endswith("/64") else "packed"
    # Which of the two packings an input of one row takes.
    single_bytes, single_weights = (9, 10) if single == "int8" else (7, 8)
    size = f"i{output_bytes}"
    field_bytes = 8 * len(FIELDS)
    tile_bytes = columns * output_bytes

    def run(state_at, scratch, x, rows, out):  # type: ignore[no-untyped-def]
        _ = digest
        state = _int64_at(state_at)
        operators, count, x_bytes, out_bytes, block, between = (
            state[0],
            state[1],
            state[2],
            state[3],
            state[4],
            state[5],
        )
        converted, sums, spare = scratch + state[6], scratch + state[7], scratch + state[8]
        for start in range(0, rows, block):
            chain_rows = min(block, rows - start)
            here = x + start * x_bytes
            for index in range(count):
                p = _int64_at(operators + index * field_bytes)
                there = scratch + (index % 2) * between
                if index == count - 1:
                    there = out + start * out_bytes
                if p[0] == TABLE:
                    _look_up(here, chain_rows * p[1], p[15], p[19], p[17], p[20], p[21], there)
                    here = there
                    continue
                if p[0] == QUANTIZER:
                    _quantize(here, chain_rows * p[1], p[19], p[20], p[21], there)
                    here = there
                    continue
                n = chain_rows * p[18]
                row_bytes, steps, chunk, units, scalars = p[2], p[3], p[4], p[5], p[13]
                out_stride = units * output_bytes
                _convert_rows(here, p[1] * p[16], n, p[1], p[15], converted, row_bytes, to)
                if to != 0 or n == 1:
                    _add_rows(converted, n, p[1], row_bytes, to, p[14], sums)
                for panel in range(p[6]):
                    constants = p[11] + panel * p[12]
                    wide = min(units - panel * columns, columns)
                    place = there + panel * tile_bytes
                    weights = p[8] + panel * p[7]
                    row = 0
                    while row < n:
                        a = converted + row * row_bytes
                        row_sums = sums + 4 * row
                        taken = min(n - row, many)
                        target, stride = place + row * out_stride, out_stride
                        # What is no whole tile is calculated as one, beside the output, and cut.
                        cut = wide != columns or (taken != many and taken != few and n != 1)
                        if cut:
                            target, stride = spare, tile_bytes
                        rest = (steps, chunk, constants, scalars, row_sums, target, stride)
                        if n == 1:
                            w = p[single_weights] + panel * p[single_bytes]
                            tile(kind, form, 1, single, size, (a, row_bytes, w, *rest))
                        elif taken > few:
                            tile(kind, form, many, "packed", size, (a, row_bytes, weights, *rest))
                        else:
                            tile(kind, form, few, "packed", size, (a, row_bytes, weights, *rest))
                        if cut:
                            _copy_tile(target, stride, place + row * out_stride, out_stride, taken, wide * output_bytes)
                        row += taken
                here = there

    return _c_function(_CHAIN_TYPE, run)


@compiled
def enter(function, state, scratch, x, out, start, rows):  # type: ignore[no-untyped-def]
    """Run a chain over some rows of whole arrays. Asking NumPy for an array's address takes longer than a small layer.

    Args:
        function: the address of the chain.
        state: the address of its state.
        scratch: the address of scratch memory.
        x: the input, C-contiguous.
        out: the output.
        start: the first row.
        rows: how many.
    """
    known = _int64_at(state)
    _call(function, state, scratch, x.ctypes.data + start * known[2], rows, out.ctypes.data + start * known[3])
