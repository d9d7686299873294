"""How many tensors of a folder's models refute each rival of the MLIR quantizer's rules: the table of converter.md.

    PYTHON -m lab check quantize_rivals FOLDER

The rule itself is compared with the converter by `quantize_check.py compare`: where nothing differs there, each tensor
for which a rival gives something else refutes the rival.
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import numpy as np

from lab.checks.quantize_canonical import ranges_of
from lastbit import load
from lastbit.verbs.quantize.numbers import (
    F32,
    Parameters,
    activation,
    inverse,
    quantize_bias,
    quantize_weights,
    symmetric_weights,
)

Array = np.ndarray
AWAY, EVEN, UP = "half away", "half even", "half up"


def rounded(value: Array, tie: str) -> Array:
    """Round float64 by a tie rule."""
    if tie == EVEN:
        return np.round(value)
    return np.floor(value + 0.5) if tie == UP else np.trunc(value + np.copysign(0.5, value))


def zero_point(low: float, high: float, *, kind: str, tie: str = AWAY) -> int:
    """The zero point of a range by one of the rival ways."""
    low, high = min(low, 0.0), max(high, 0.0)
    if abs(high - low) < 1e-6 and kind != "not widened":
        low, high = low - 1e-6, high + 1e-6
    scale = float((F32(high) - F32(low)) / F32(255))
    if scale == 0:
        return -128
    if kind == "float32":
        inner = float(F32(-128) - F32(low) / F32(scale))
    elif kind == "float64":
        inner = -128 - low / scale
    elif kind == "nudged":
        wide = (high - low) / 255
        at_low, at_high = -128 - low / wide, 127 - high / wide
        inner = at_low if 128 + abs(low / wide) < 127 + abs(high / wide) else at_high
    else:
        inner = float(F32(-128 - low / scale))
    return int(np.clip(rounded(np.array(inner), tie), -128, 127))


def count_range(low: float, high: float, counts: collections.Counter[str]) -> None:
    """Count the rivals that one activation refutes."""
    params = activation(F32(low), F32(high))
    rivals = {
        "zero point rounded half even": zero_point(low, high, kind="mixed", tie=EVEN),
        "zero point rounded half up": zero_point(low, high, kind="mixed", tie=UP),
        "zero point all in float32 (the older quantizer)": zero_point(low, high, kind="float32"),
        "zero point all in float64": zero_point(low, high, kind="float64"),
        "nudged zero point in float64": zero_point(low, high, kind="nudged"),
        "narrow ranges not widened": zero_point(low, high, kind="not widened"),
    }
    for name, value in rivals.items():
        counts[name] += value != params.zero_point[0]
    wide = float(F32((max(high, 0.0) - min(low, 0.0)) / 255))
    counts["scale from the float64 range"] += wide != params.scale[0] and max(high, 0) - min(low, 0) >= 1e-6
    counts["activations"] += 1


def count_weights(weights: Array, axis: int, counts: collections.Counter[str]) -> Parameters:
    """Count the rivals that one weights tensor refutes."""
    params = symmetric_weights(weights, axis)
    right = quantize_weights(weights, params)
    shape = [1] * weights.ndim
    shape[axis] = -1
    scale = np.array(params.scale).reshape(shape)
    top = np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis), keepdims=True)
    with np.errstate(all="ignore"):
        products = {
            "w * (127 / m) (the older quantizer)": ((weights * (F32(127) / top)).astype(float), AWAY),
            "w / scale in float64": (weights.astype(float) / scale, AWAY),
            "w / scale in float64, half even": (weights.astype(float) / scale, EVEN),
            "w * (1 / scale), half even": ((weights * inverse(scale)).astype(float), EVEN),
            "w * (1 / scale), half up": ((weights * inverse(scale)).astype(float), UP),
        }
    for name, (product, tie) in products.items():
        values = np.clip(np.nan_to_num(rounded(product, tie)), -127, 127)
        counts[name] += bool((values != right).any())
    counts["weights"] += 1
    return params


def count_bias(bias: Array, given: float, weights: Parameters, counts: collections.Counter[str]) -> None:
    """Count the rivals that one bias refutes."""
    scale = (given * np.array(weights.scale)).astype(F32)
    params = Parameters("int32", tuple(scale.astype(float).tolist()), (0,) * scale.size, 0, -(2**31), 2**31 - 1)
    right = quantize_bias(bias, params)
    single = F32(given) * np.array(weights.scale).astype(F32)
    with np.errstate(all="ignore"):
        exact = bias.astype(float) / scale.astype(float)
        wide = np.abs(exact) < 2.0**30
        counts["bias scale multiplied in float32"] += bool((single != scale).any())
        counts["b / scale in float64, half even"] += bool(((np.round(exact) != right) & wide).any())
        counts["b / scale in float64"] += bool(((rounded(exact, AWAY) != right) & wide).any())
    counts["biases"] += 1


def main() -> None:
    """Count and print."""
    counts: collections.Counter[str] = collections.Counter()
    axes = {"FULLY_CONNECTED": 0, "CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
    for path in sorted(Path(sys.argv[1]).glob("*.tflite")):
        content = path.read_bytes()
        model, ranges = load(content), ranges_of(content)
        for low, high in ranges.values():
            count_range(float(low), float(high), counts)
        for op in model.operators:
            weights = model.operand(op, 1)
            if op.name not in axes or weights is None or weights.data is None:
                continue
            params = count_weights(np.array(weights.data), axes[op.name], counts)
            bias = model.operand(op, 2)
            if bias is not None and bias.data is not None and op.inputs[0] in ranges:
                given = activation(*ranges[op.inputs[0]]).scale[0]
                count_bias(np.array(bias.data), given, params, counts)
    kinds = ("activations", "weights", "biases")
    print(", ".join(f"{counts[kind]:,} {kind}" for kind in kinds))
    for name, count in counts.items():
        if name not in kinds:
            print(f"| {name} | {count:,} |")


if __name__ == "__main__":
    main()
