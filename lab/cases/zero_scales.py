"""One-operator models with weights of scale 0, biases without a scale, and moved values whose scale nobody reads.

Two of each: of another shape, with another scale for the bias. `lab/record/files.py` asks the interpreters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lab.cases.operators import Case, Operand

__all__ = ["zero_scale_cases"]

_RANGE = {"int4": (-7, 8), "int8": (-100, 101), "uint8": (0, 200), "int16": (-3000, 3000)}


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(*_RANGE[dtype], shape)


def _bias(rng: np.random.Generator, units: int, dtype: str, scale: Any) -> Operand:
    return Operand((units,), dtype, scale, 0, rng.integers(-900, 900, units))


def _layers(rng: np.random.Generator) -> Iterator[tuple[str, str, str, str, str, Any]]:
    """Operator, input, weights, output and bias types, and the weights' scales."""
    for op in ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"):
        for scales in ([0.02, 0.0, 0.03, 0.01], [0.0, 0.02, 0.0, 0.03, 0.01, 0.04]):
            one = [0.0]
            for types in (("int8", "int8", "int8", "int32"), ("int8", "int4", "int8", "int32")):
                yield op, *types, scales
                yield op, *types, one
            yield op, "int16", "int8", "int16", "int64", scales
            yield op, "float32", "int8", "float32", "float32", scales
            if op == "FULLY_CONNECTED":
                yield op, "int16", "int8", "int16", "int64", one
                yield op, "int16", "int8", "int16", "int32", scales
                yield op, "float32", "int4", "float32", "float32", scales
                yield op, "float32", "int8", "float32", "float32", one
            yield op, "uint8", "uint8", "uint8", "int32", one


def _layer(
    rng: np.random.Generator, op: str, types: tuple[str, str, str, str], scales: Any, units: int, bias: str
) -> Case:
    x, w, y, b = types
    given = Operand((2, 5 if units == 4 else 6), x) if op == "FULLY_CONNECTED" else Operand((1, 3, 4, 2), x)
    if op == "FULLY_CONNECTED":
        shape, axis, result = (units, given.shape[1]), 0, (2, units)
    elif op == "CONV_2D":
        shape, axis, result = (units, 2, 2, 2), 0, (1, 2, 3, units)
    else:
        shape, axis, result = (1, 2, 2, units), 3, (1, 2, 3, units)
    scale = np.asarray(scales, np.float32)
    stored: Any = {"product": np.float32(0.05) * scale, "other": np.full(scale.shape, 0.001), "none": None}.get(bias)
    operands: list[Operand | None] = [
        given if x == "float32" else replace(given, scale=0.05, zero_point=0 if x == "int16" else 3),
        Operand(shape, w, scale, 0, _values(rng, shape, w), axis),
    ]
    if bias != "absent":
        operands.append(_bias(rng, units, b, None if b == "float32" else stored))
    output = Operand(result, y) if y == "float32" else Operand(result, y, 0.25, 0 if y == "int16" else 5)
    options: dict[str, Any] = {"fused_activation_function": "RELU" if units == 6 else "NONE"}
    if op != "FULLY_CONNECTED":
        options |= {"padding": "VALID", "stride_h": 1, "stride_w": 1}
    if op == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = units // 2
    if x == "int16" and b == "int32":
        options["quantized_bias_type"] = "int32"
    values = _values(rng, given.shape, x).astype(x)
    return Case(op, operands, [output], [values], options, version=5)


def _products(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    for x, y, zero in (("int8", "int8", 5), ("int16", "int16", 0), ("float32", "float32", 0)):
        for constant in (True, False):
            w = "int8" if x == "float32" else x
            one = Operand((1, 2, 3), x, None if x == "float32" else 0.05, 0)
            data = _values(rng, (1, 3, 4), w).astype(w)
            two = Operand((1, 3, 4), w, 0.0, 0, data if constant else None)
            values = [_values(rng, one.shape, x).astype(x), *([] if constant else [data])]
            to = Operand((1, 2, 4), y, None if y == "float32" else 0.25, zero)
            what = f"BATCH_MATMUL {x} x {w}, the second side {'constant' if constant else 'fed'}: scale 0"
            yield what, Case("BATCH_MATMUL", [one, two], [to], values)


def _copies(rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    x = rng.integers(-100, 100, (1, 2, 3), np.int8)
    for word, scale in (("0", 0.0), ("absent", None)):
        given = Operand((1, 2, 3), "int8", scale, 4 if scale is not None else 0)
        shape = Operand((2,), "int32", None, 0, np.array([3, 2]))
        yield (
            f"RESHAPE int8: scale {word}",
            Case("RESHAPE", [given, shape], [replace(given, shape=(3, 2))], [x], {"new_shape": (3, 2)}),
        )
        order = Operand((3,), "int32", None, 0, np.array([0, 2, 1]))
        yield f"TRANSPOSE int8: scale {word}", Case("TRANSPOSE", [given, order], [replace(given, shape=(1, 3, 2))], [x])
        yield (
            f"CONCATENATION int8: scale {word}",
            Case("CONCATENATION", [given, given], [replace(given, shape=(1, 4, 3))], [x, x], {"axis": 1}),
        )


def zero_scale_cases() -> Iterator[tuple[str, str, Case]]:
    """Group, what is unusual, and the model."""
    rng = np.random.default_rng(20261129)
    for op, x, w, y, b, scales in _layers(rng):
        granularity = "one unit's scale 0" if len(scales) == 4 else "scales 0" if len(scales) > 1 else "the one scale 0"
        kinds = ("absent", "present") if b == "float32" else ("product", "other", "none", "absent")
        for bias in kinds:
            if op != "FULLY_CONNECTED" and bias == "absent":
                continue
            what = f"{op} {x} x {w} -> {y}, {b} bias ({bias}), weights: {granularity}"
            units = len(scales) if len(scales) > 1 else 4
            yield "weights scale 0", what, _layer(rng, op, (x, w, y, b), scales, units, bias)
    for what, case in _products(rng):
        yield "weights scale 0", what, case
    for what, case in _copies(rng):
        yield "scales that nobody reads", what, case
