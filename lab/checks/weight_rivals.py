"""How many tensors refute each rival of the rules for dynamic range and of ai-edge-quantizer: tables of converter.md.

    python -m lab check weight_rivals dynamic FOLDER      float models of lab/checks/dynamic_range_oracle.py
    python -m lab check weight_rivals ai-edge FOLDER      float models with ranges of lab/checks/methods_check.py

The rules themselves are compared with the converters elsewhere: where nothing differs there, each tensor for which a
rival gives something else refutes the rival.
"""

from __future__ import annotations

import collections
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lab.checks.quantize_canonical import ranges_of
from lastbit import load
from lastbit.verbs.quantize.ai_edge.numbers import bias_parameters, integers, parameters, value_range
from lastbit.verbs.quantize.dynamic_range import FEWEST_ELEMENTS, HYBRID, float64_weights
from lastbit.verbs.quantize.numbers import quantize_plain

Array = np.ndarray[Any, Any]
F32 = np.float32
AXES = {"FULLY_CONNECTED": 0, "CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0, "BATCH_MATMUL": -1}


def away(value: Array) -> Array:
    """Round half away from 0, exactly."""
    whole = np.trunc(value)
    return whole + np.copysign(np.abs(value - whole) >= 0.5, value)


def up(value: Array) -> Array:
    """Round half up, exactly."""
    whole = np.floor(value)
    return whole + (value - whole >= 0.5)


def int8(value: Array) -> Array:
    """Within -127 and 127."""
    return np.clip(np.nan_to_num(value), -127, 127).astype(np.int8)


def count_dynamic(values: Array, axis: int, counts: collections.Counter[str]) -> None:
    """One constant that dynamic range quantizes."""
    params = float64_weights(values, axis)
    right = quantize_plain(values, params)
    shape = [1] * values.ndim
    if axis >= 0:
        shape[axis] = -1
    scale = np.array(params.scale).reshape(shape)
    single = scale.astype(F32)
    top = (scale * 127).astype(F32)
    wide = values.astype(np.float64)
    rivals = {
        "w / float32(scale) in float64": away(wide / single.astype(np.float64)),
        "w * float32(1 / scale) (int8 with ranges)": away(values * (F32(1) / single)),
        "w * (127 / m) in float32 (the older quantizer)": away(values * (F32(127) / top)),
        "rounded half to even": np.rint(wide / scale),
        "rounded half up": up(wide / scale),
    }
    for name, rival in rivals.items():
        counts[name] += bool((int8(rival) != right).any())
    own = np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis) if axis >= 0 else None)
    counts["scale = m / 127, however small m"] += bool((np.atleast_1d(own / F32(127)) != single.reshape(-1)).any())
    counts["weights"] += 1


def count_ai_edge(values: Array, axis: int, counts: collections.Counter[str]) -> None:
    """One constant that ai-edge-quantizer quantizes."""
    params = parameters(value_range(values, axis), 8, True, axis)
    right = integers(values, params)
    scale, wide = params.scale, values.astype(np.float64)
    top = np.maximum(
        np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis), keepdims=True), F32(1e-9)
    )
    rivals = {
        "rounded half away from 0": away(values / scale),
        "rounded half up": up(values / scale),
        "w / scale in float64": np.rint(wide / scale.astype(np.float64)),
        "w * float32(1 / scale)": np.rint(values * (F32(1) / scale)),
        "w * (127 / m)": np.rint(values * (F32(127) / top)),
        "float64 scale (dynamic range of tflite)": np.rint(wide / (top.astype(np.float64) / 127)),
    }
    for name, rival in rivals.items():
        counts[name] += bool((int8(rival) != right).any())
    counts["weights"] += 1


def count_range(low: F32, high: F32, counts: collections.Counter[str]) -> None:
    """One activation's range."""
    params = parameters((np.array(low), np.array(high)), 8, False)
    low, high = min(low, F32(0)), max(high, F32(0))
    scale = params.scale
    zero = int(params.zero_point)
    inner = F32(-128) - low / scale
    double = -128 - float(low) / float(scale)
    rivals = {
        "zero point rounded half away from 0": away(np.array(inner)),
        "zero point rounded half up": up(np.array(inner)),
        "inner value in float64": np.rint(double),
        "inner value in float64, as float32 (tflite)": np.rint(F32(double)),
    }
    for name, rival in rivals.items():
        counts[name] += int(np.clip(rival, -128, 127)) != zero
    counts["scale from the float64 range"] += F32((float(high) - float(low)) / 255) != scale and high - low >= 1e-9
    counts["ranges narrower than 1e-6 widened (tflite)"] += bool(high - low < 1e-6)
    counts["ranges narrower than 1e-9 as they are"] += bool(high - low < 1e-9)
    counts["activations"] += 1


def count_bias(values: Array, given: Any, weights: Any, counts: collections.Counter[str]) -> None:
    """One bias."""
    params = bias_parameters(values, given, weights)
    scale, wide = params.scale, values.astype(np.float64)
    fits = np.abs(wide / scale) < 2.0**30
    rivals = {
        "b rounded half away from 0": away(values / scale),
        "b * float32(1 / scale) (tflite)": np.rint(values * (F32(1) / scale)),
        "b / scale in float64": np.rint(wide / scale),
    }
    for name, rival in rivals.items():
        counts[name] += bool(((rival != params.data) & fits).any())
    counts["the weights' scale widened where a bias does not fit (tflite)"] += bool((~fits).any())
    counts["biases"] += 1


def main() -> None:
    """Count and print."""
    counts: collections.Counter[str] = collections.Counter()
    for path in sorted(Path(sys.argv[2]).glob("*.tflite")):
        content = path.read_bytes()
        model, ranges = load(content), ranges_of(content)
        seen: set[tuple[int, int]] = set()
        for low, high in ranges.values():
            count_range(F32(low), F32(high), counts)
        for op in model.operators:
            position = HYBRID[op.name].position if op.name in HYBRID else -1
            tensor = model.operand(op, position) if position >= 0 else None
            if tensor is None or tensor.data is None or tensor.dtype.name != "float32":
                continue
            data = np.array(tensor.data)
            if sys.argv[1] == "dynamic":
                axis = HYBRID[op.name].axis
                if data.size >= FEWEST_ELEMENTS and (tensor.index, axis) not in seen:
                    seen.add((tensor.index, axis))
                    count_dynamic(data, axis, counts)
                continue
            if op.name not in AXES:
                continue
            axis = AXES[op.name] % data.ndim
            count_ai_edge(data, axis, counts)
            bias = model.operand(op, 2) if op.name != "TRANSPOSE_CONV" else None
            if bias is not None and bias.data is not None and op.inputs[0] in ranges:
                low, high = ranges[op.inputs[0]]
                given = parameters((np.array(low), np.array(high)), 8, False)
                weights = parameters(value_range(data, axis), 8, True, axis)
                count_bias(np.array(bias.data), given, weights, counts)
    kinds = ("activations", "weights", "biases")
    print(", ".join(f"{counts[kind]:,} {kind}" for kind in kinds if counts[kind]))
    for name, count in counts.items():
        if name not in kinds:
            print(f"| {name} | {count:,} |")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
