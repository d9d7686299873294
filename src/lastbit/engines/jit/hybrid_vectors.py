"""The inner loops of `hybrid_kernels` as vector code, for rows without anything unusual.

A loop's last vector ends with the row, so that some values are calculated twice, to the same result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .cpu import host_isa
from .vectors import F32, I8, I16, I32, I64, ISAS, POINTER, Vectors, internal_function

__all__ = ["LEAST", "row_range", "row_steps_away", "row_steps_even"]

LEAST = 16 if host_isa().lanes == 16 else 8
"""Values of one vector: rows must have as many."""

_LANES = dataclasses.replace(ISAS["portable"], lanes=LEAST)
# Vectors in one turn of the main loop.
_UNROLL = 4
# Rows are asked for so many bytes before they are read: a large input lies in no near cache.
_AHEAD = 3 << 13


def _loops(v: Vectors, n: Any, state: list[Any], turn: Callable[[list[Any], list[Any]], list[Any]]) -> list[Any]:
    """Two loops over n values: several vectors in one turn, then one; the last ends with the values.

    Args:
        v: the builder.
        n: how many values, at least `LEAST`.
        state: values that turns change.
        turn: (state, places of the vectors) -> the next state.

    Returns:
        The last state.
    """
    b = v.b
    begin: Any = ir.Constant(I64, 0)
    for count in (_UNROLL, 1):
        before, place0, state0 = b.block, begin, state
        head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
        b.branch(head)
        b.position_at_end(head)
        place = b.phi(I64)
        place.add_incoming(place0, before)
        phis = [b.phi(value.type) for value in state0]
        for phi, value in zip(phis, state0, strict=True):
            phi.add_incoming(value, before)
        end = b.add(place, ir.Constant(I64, LEAST * count - 1 if count > 1 else 0))
        b.cbranch(b.icmp_signed("<", end, n), body, done)
        b.position_at_end(body)
        if count > 1:
            places = [b.add(place, ir.Constant(I64, LEAST * i)) for i in range(count)]
        else:
            last = b.sub(n, ir.Constant(I64, LEAST))
            places = [b.select(b.icmp_signed("<", place, last), place, last)]
        after = turn(list(phis), places)
        place.add_incoming(b.add(place, ir.Constant(I64, LEAST * count)), b.block)
        for phi, value in zip(phis, after, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(done)
        begin, state = place, list(phis)
    return state


def _at(v: Vectors, pointer: Any, index: Any, size: int) -> Any:
    return v.b.gep(pointer, [v.b.mul(index, ir.Constant(I64, size))], source_etype=I8)


def _build_range(module: Any) -> Any:
    """(values, how many) -> the smallest, the largest, zero among them, and 1 where there is a NaN."""
    result = ir.LiteralStructType([F32, F32, I32])
    fn, new = internal_function(module, "lastbit_row_range", result, (POINTER, I64))
    if not new:
        return fn
    v = Vectors(ir.IRBuilder(fn.append_basic_block("entry")), _LANES)
    b = v.b
    x, n = fn.args
    zero, none = v.const(v.f32, 0.0), v.const(v.i32, 0)

    def turn(state: list[Any], places: list[Any]) -> list[Any]:
        *limits, nan = state
        values = [v.load(v.f32, _at(v, x, place, 4)) for place in places]
        for place in places:
            v.prefetch(v.at(_at(v, x, place, 4), _AHEAD), written=False)
        for i, value in enumerate(values):
            limits[2 * i] = v.minimum_float(value, limits[2 * i])
            limits[2 * i + 1] = v.maximum_float(value, limits[2 * i + 1])
        # One comparison finds a NaN in either of two.
        for first, second in zip(values[::2], values[1::2] or values, strict=True):
            nan = b.or_(nan, b.sext(b.fcmp_unordered("uno", first, second), v.i32))
        return [*limits, nan]

    *limits, nan = _loops(v, n, [zero] * (2 * _UNROLL) + [none], turn)
    low, high = limits[0], limits[1]
    for i in range(1, _UNROLL):
        low, high = v.minimum_float(limits[2 * i], low), v.maximum_float(limits[2 * i + 1], high)
    for distance in [LEAST >> part for part in range(1, LEAST.bit_length())]:
        order = [(lane + distance) % LEAST for lane in range(LEAST)]
        low = v.minimum_float(low, v.shuffle(low, low, order))
        high = v.maximum_float(high, v.shuffle(high, high, order))
        nan = b.or_(nan, v.shuffle(nan, nan, order))
    first = ir.Constant(I32, 0)
    found = ir.Constant(result, ir.Undefined)
    # Adding zero makes +0.0 of -0.0.
    found = b.insert_value(found, b.fadd(b.extract_element(low, first), ir.Constant(F32, 0.0)), 0)
    found = b.insert_value(found, b.fadd(b.extract_element(high, first), ir.Constant(F32, 0.0)), 1)
    b.ret(b.insert_value(found, b.extract_element(nan, first), 2))
    return fn


def _build_steps(module: Any, even: bool, bits: int) -> Any:
    """(values, how many, inverse, zero point, smallest step, flip, out): out = steps, of that many bits."""
    arguments = (POINTER, I64, F32, I32, I32, I32, POINTER)
    name = f"lastbit_row_steps_{'even' if even else 'away'}_{bits}"
    fn, new = internal_function(module, name, ir.VoidType(), arguments)
    if not new:
        return fn
    v = Vectors(ir.IRBuilder(fn.append_basic_block("entry")), _LANES)
    b = v.b
    x, n, *numbers, out = fn.args
    inverse, zero, lowest, flip = (v.splat(number, LEAST) for number in numbers)
    highest = v.const(v.i32, 127)
    largest = b.sitofp(b.sub(highest, zero), v.f32)

    def turn(state: list[Any], places: list[Any]) -> list[Any]:
        for place in places:
            scaled = b.fmul(v.load(v.f32, _at(v, x, place, 4)), inverse)
            if even:
                scaled = v.call(f"llvm.rint.v{LEAST}f32", v.f32, [v.minimum_float(scaled, largest)])
            else:
                negative = b.fcmp_ordered("<", scaled, v.const(v.f32, 0.0))
                scaled = b.fadd(scaled, b.select(negative, v.const(v.f32, -0.5), v.const(v.f32, 0.5)))
            step = v.clamp(b.add(b.fptosi(scaled, v.i32), zero), lowest, highest)
            if bits == 8:
                step = b.xor(step, flip)
            narrow = b.trunc(step, ir.VectorType(I8 if bits == 8 else I16, LEAST))
            v.store(narrow, _at(v, out, place, bits // 8))
        return state

    _loops(v, n, [], turn)
    b.ret_void()
    return fn


@intrinsic
def row_range(_typing: Any, x: Any, n: Any) -> Any:
    """The smallest and the largest of n float32 at an address, zero among them, and whether one is NaN (not 0)."""
    result = types.Tuple((types.float32, types.float32, types.int32))

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        found = builder.call(_build_range(builder.module), [builder.inttoptr(args[0], POINTER), args[1]])
        return context.make_tuple(builder, result, [builder.extract_value(found, i) for i in range(3)])

    return result(types.intp, types.intp), generate


def _steps(even: bool, what: str) -> Any:
    @intrinsic(prefer_literal=True)
    def steps(
        _typing: Any, bits: Any, x: Any, n: Any, inverse: Any, zero: Any, lowest: Any, flip: Any, out: Any
    ) -> Any:
        if not isinstance(bits, types.Literal):
            return None
        width = bits.literal_value
        number = types.int32
        signature = types.void(bits, types.intp, types.intp, types.float32, number, number, number, types.intp)

        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            _, start, count, *numbers, end = args
            fn = _build_steps(builder.module, even, width)
            builder.call(fn, [builder.inttoptr(start, POINTER), count, *numbers, builder.inttoptr(end, POINTER)])
            return context.get_dummy_value()

        return signature, generate

    steps.__doc__ = what
    return steps


row_steps_even = _steps(
    True,
    "min(x * inverse, 127 - zero) to the nearest integer, ties to even, plus zero; not below `lowest`; xor flip.",
)
row_steps_away = _steps(False, "trunc(x * inverse +- 0.5) + zero, limited to `lowest` and 127; xor flip.")
