"""Numba functions around the micro-kernels: whole layers, tile by tile, and whole chains of operators."""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit_compile import c_function, compiled, int8_at, int16_at, int32_at, int64_at, source_digest, uint8_at
from .jit_elements import INT8, UINT8, look_up, quantize
from .jit_hybrid_forms import HYBRID_FORMS, RECORD_BYTES
from .jit_hybrid_kernels import NAN, ZEROS, quantize_rows
from .jit_softmax import fixed_softmax, float_softmax, interpolated_softmax
from .jit_tile import tile
from .jit_vectors import Isa

__all__ = ["FIELDS", "HEADER_BYTES", "STATE", "chain", "enter"]

# The columns of a chain's table, one row for each operator. Pointers are addresses, distances are bytes.
FIELDS = (
    "kind",  # DENSE, HYBRID, TABLE, QUANTIZER or one of SOFTMAX
    "depth",  # of a dense layer; elements in one row of the chain for the others
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
    "scalars",  # of a dense layer; the constants of softmax
    "weights_zero_point",  # what is left of it for the row sums
    "input_type",
    "input_bytes",  # of one element
    "output_bytes",
    "rows",  # of this operator for one row of the chain
    "table",  # of outputs, of exponentials, or the constants of a quantizer
    "table_split",
    "table_period",  # classes of softmax
    "quantizer",  # how a hybrid layer quantizes its rows
    "zeros_matter",  # whether a hybrid layer calculates otherwise where the whole batch is zeros
)
# What a chain knows of itself. Places are bytes from the begin of the scratch memory, which has two buffers of
# `between` bytes, a block's converted rows and one tile's more, their sums or records, and room for one tile. Threads
# take a multiple of `step` rows at a time.
STATE = ("operators", "count", "input_bytes", "output_bytes", "block", "between", "converted", "sums", "spare", "step")
HEADER_BYTES = 128
"""Before the scratch memory: the addresses of the compiled chain and of its state."""
DENSE, TABLE, QUANTIZER, HYBRID, SOFTMAX_FIXED, SOFTMAX_FLOAT, SOFTMAX_INTERPOLATED = 0, 1, 2, 3, 4, 5, 6
SOFTMAX = {"fixed": SOFTMAX_FIXED, "float": SOFTMAX_FLOAT, "interpolated": SOFTMAX_INTERPOLATED}


# State, scratch, input, rows, output, what threads share: see `_make_chain`.
_CHAIN_TYPE = types.intp(*[types.intp] * 6)


@functools.cache
def chain(form: str, isa: Isa, output_bytes: int) -> int:
    """The address of the function that runs a chain of operators over rows (see `_make_chain`), compiled."""
    address: int = _make_chain(form, isa, output_bytes).address
    return address


@intrinsic
def _call(_typing: Any, function: Any, state: Any, scratch: Any, x: Any, rows: Any, out: Any, shared: Any) -> Any:
    """Call a chain by its address."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        number = args[0].type
        kind = ir.FunctionType(number, [number] * 6)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    return types.intp(*[types.intp] * 7), generate


@intrinsic
def _exchange(_typing: Any, address: Any, wanted: Any, new: Any) -> Any:
    """Write an int64 where it is as wanted, in one step; what was there."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        found = builder.cmpxchg(pointer, args[1], args[2], "monotonic", "monotonic")
        return builder.extract_value(found, 0)

    return types.int64(types.intp, types.int64, types.int64), generate


@compiled
def _take_rows(shared: int, rows: int, block: int, step: int) -> tuple[int, int]:
    """The next rows for one of several threads, the first and how many: fewer towards the end, to end together."""
    begin, threads = int64_at(shared)[0], int64_at(shared)[1]
    while True:
        left = rows - begin
        count = min(max(left // (2 * threads) // step, 2) * step, block, left)
        if left <= 0:
            return begin, 0
        found = _exchange(shared, begin, begin + count)
        if found == begin:
            return begin, count
        begin = found


@compiled
def _convert_rows(x: int, x_stride: int, rows: int, depth: int, kind: int, out: int, row_bytes: int, to: int) -> None:
    """Input rows in the type that products take, filled up with zeros. `to` is 0 int16, 1 uint8, 2 int8."""
    for r in range(rows):
        start = x + r * x_stride
        if to == 0:
            wide = int16_at(out + r * row_bytes)
            if kind == INT8:
                signed = int8_at(start)
                for k in range(depth):
                    wide[k] = signed[k]
            elif kind == UINT8:
                unsigned = uint8_at(start)
                for k in range(depth):
                    wide[k] = unsigned[k]
            else:
                same = int16_at(start)
                for k in range(depth):
                    wide[k] = same[k]
            for k in range(depth, row_bytes // 2):
                wide[k] = 0
        else:
            # Between int8 and uint8 the distance is 128, in both directions: the upper bit changes.
            flip = 128 if (kind == INT8) == (to == 1) else 0
            given, taken = uint8_at(start), uint8_at(out + r * row_bytes)
            for k in range(depth):
                taken[k] = given[k] ^ flip
            for k in range(depth, row_bytes):
                taken[k] = 0


@compiled
def _add_rows(a: int, rows: int, depth: int, row_bytes: int, to: int, factor: int, out: int) -> None:
    """`factor` times the sum of each converted row, as int32 that wraps."""
    sums = int32_at(out)
    for r in range(rows):
        total = 0
        start = a + r * row_bytes
        if factor == 0:
            pass
        elif to == 0:
            wide = int16_at(start)
            for k in range(depth):
                total += wide[k]
        elif to == 1:
            unsigned = uint8_at(start)
            for k in range(depth):
                total += unsigned[k]
        else:
            signed = int8_at(start)
            for k in range(depth):
                total += signed[k]
        sums[r] = numba.int32(total * factor)


@compiled
def _copy_tile(source: int, source_stride: int, out: int, out_stride: int, rows: int, size: int) -> None:
    for r in range(rows):
        given, taken = uint8_at(source + r * source_stride), uint8_at(out + r * out_stride)
        for i in range(size):
            taken[i] = given[i]


def _make_chain(form: str, isa: Isa, output_bytes: int) -> Any:
    """Compile a chain for one requantization form.

    The function takes the addresses of its state and of scratch memory, the address of the input, how many rows, the
    address of the output, and 0 or the address of what threads that call it at once share: rows that are taken, and how
    many threads, int64 each. The state is int64 with `STATE`. It returns 0, or 1 where only the reference says what
    is right: at a row on which the real kernel of an operator aborts the process, and at a NaN, or nothing but zeros,
    before a hybrid layer that takes them otherwise. The outputs are not complete then.
    """
    # Everything stands in one function: one that called another closure would have a new cache key in every process.
    digest = source_digest()
    hybrid = form in HYBRID_FORMS
    row_sum_bytes = RECORD_BYTES if hybrid else 4
    kind, columns = isa.name, isa.columns
    many, few = isa.rows
    to = ("int16", "uint8", "int8").index(isa.activations)
    single = "int8" if to == 0 and not form.endswith("/64") else "packed"
    # Which of the two packings an input of one row takes.
    single_bytes, single_weights = (9, 10) if single == "int8" else (7, 8)
    size = f"i{output_bytes}"
    field_bytes = 8 * len(FIELDS)
    tile_bytes = columns * output_bytes

    def run(state_at, scratch, x, rows, out, shared):  # type: ignore[no-untyped-def]
        _ = digest
        state = int64_at(state_at)
        operators, count, x_bytes, out_bytes, block, between = (
            state[0],
            state[1],
            state[2],
            state[3],
            state[4],
            state[5],
        )
        converted, sums, spare = scratch + state[6], scratch + state[7], scratch + state[8]
        start, chain_rows = -block, block
        while True:
            if shared:
                start, chain_rows = _take_rows(shared, rows, block, state[9])
            else:
                start += block
                chain_rows = min(block, rows - start)
            if chain_rows <= 0:
                return 0
            here = x + start * x_bytes
            for index in range(count):
                p = int64_at(operators + index * field_bytes)
                there = scratch + (index % 2) * between
                if index == count - 1:
                    there = out + start * out_bytes
                if p[0] == TABLE:
                    look_up(here, chain_rows * p[1], p[15], p[19], p[17], p[20], p[21], there)
                    here = there
                    continue
                if p[0] == QUANTIZER:
                    quantize(here, chain_rows * p[1], p[19], p[20], p[21], there)
                    here = there
                    continue
                if p[0] >= SOFTMAX_FIXED:
                    softmax_rows = chain_rows * p[1] // p[21]
                    if p[0] == SOFTMAX_FLOAT:
                        float_softmax(here, softmax_rows, p[21], p[19], p[13], there)
                    elif p[0] == SOFTMAX_FIXED:
                        if not fixed_softmax(here, softmax_rows, p[21], p[19], p[13], there):
                            return 1
                    elif not interpolated_softmax(here, softmax_rows, p[21], p[19], there):
                        return 1
                    here = there
                    continue
                n = chain_rows * p[18]
                row_bytes, steps, chunk, units, scalars = p[2], p[3], p[4], p[5], p[13]
                out_stride = units * output_bytes
                if hybrid:
                    outcome = quantize_rows(here, n, p[1], p[22], to, converted, row_bytes, sums)
                    if outcome == NAN or (outcome == ZEROS and p[23]):
                        return 1
                else:
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
                        row_sums = sums + row_sum_bytes * row
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

    return c_function(_CHAIN_TYPE, run)


@compiled
def enter(memory, x, out, rows, shared):  # type: ignore[no-untyped-def]
    """Run a chain over whole arrays. Asking NumPy for an array's address takes longer than a small layer.

    Args:
        memory: the address of the addresses of the compiled chain and of its state, then scratch memory.
        x: the input, C-contiguous.
        out: the output.
        rows: how many.
        shared: 0, or the address of what threads share.

    Returns:
        What the chain returns: see `_make_chain`.
    """
    known = int64_at(memory)
    return _call(known[0], known[1], memory + HEADER_BYTES, x.ctypes.data, rows, out.ctypes.data, shared)
