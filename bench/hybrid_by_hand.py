"""Hybrid dense layers as users write them: plain float32 NumPy, right or with mistakes.

Nothing of LastBit is imported here, so that what is injected is not made by the code that looks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Floats = np.ndarray

MISTAKES = (
    *("hybrid_input_not_quantized", "hybrid_scale_of_whole_batch", "hybrid_input_truncated", "hybrid_scale_over_128"),
    *("hybrid_input_with_zero_point", "hybrid_input_symmetric"),
    *("weights_as_in_out", "weights_as_uint8", "weights_reversed", "weights_nibbles_swapped", "weights_int4_unsigned"),
    *("weights_int4_excess_8", "weights_int4_sign_magnitude"),
    *("last_product_left_out", "first_product_left_out", "remainder_of_4_left_out", "remainder_of_8_left_out"),
    *("weights_scale_missing", "input_scale_missing", "scales_first_for_all", "scales_next_unit"),
    *("bias_missing", "bias_twice", "bias_subtracted", "bias_first_for_all"),
    *("activation_missing", "relu_that_is_not_there", "units_reversed"),
)
"""What can be wrong; the names are those that `lastbit diagnose` should give."""

PLACES = {
    **dict.fromkeys(MISTAKES[:6], "rows"),
    **dict.fromkeys(MISTAKES[6:13], "weights"),
    **dict.fromkeys(MISTAKES[13:17], "loop"),
    **dict.fromkeys(MISTAKES[17:21], "scales"),
    **dict.fromkeys(MISTAKES[21:25], "bias"),
    **dict.fromkeys(MISTAKES[25:27], "activation"),
    "units_reversed": "layout",
}
"""Two mistakes of one place exclude each other."""


@dataclass(frozen=True)
class Numbers:
    """A layer's numbers: whole weights `[out, depth]` of 8 or 4 bits, scales `[1]` or `[out]`, a bias or None."""

    weights: Floats
    bits: int
    scales: Floats
    bias: Floats | None
    relu: bool
    both_ends: bool


def layer(x: Floats, numbers: Numbers, wrong: tuple[str, ...], rng: np.random.Generator) -> Floats:
    """float32 `[rows, out]`: the layer on float32 rows, summed up in some order."""
    weights = _weights(numbers, wrong).astype(np.float32)
    steps, scale = rows_in_steps(x.astype(np.float32), numbers.both_ends, wrong)
    units, depth = weights.shape
    total = np.zeros((len(x), units), np.float32)
    for k in rng.permutation(products_used(depth, wrong)):
        total += steps[:, k : k + 1] * weights[:, k]
    output = total * factor(numbers, scale, wrong) + bias_used(numbers, wrong)
    return finished(output, numbers.relu, wrong)


def products_used(depth: int, wrong: tuple[str, ...]) -> Floats:
    """The places of the products that are added up."""
    places = np.arange(depth)
    if "last_product_left_out" in wrong:
        places = places[:-1]
    if "first_product_left_out" in wrong:
        places = places[1:]
    for block in (4, 8):
        if f"remainder_of_{block}_left_out" in wrong:
            places = places[: depth // block * block]
    return places


def finished(output: Floats, relu: bool, wrong: tuple[str, ...]) -> Floats:
    if ("relu_that_is_not_there" in wrong) or (relu and "activation_missing" not in wrong):
        output = np.maximum(output, np.float32(0))
    return output[..., ::-1] if "units_reversed" in wrong else output


def rows_in_steps(x: Floats, both_ends: bool, wrong: tuple[str, ...]) -> tuple[Floats, Floats]:
    """The rows in steps, less their zero point, and what a step is worth, `[rows, 1]`."""
    if "hybrid_input_not_quantized" in wrong:
        return x, np.ones((len(x), 1), np.float32)
    plain = {"hybrid_scale_of_whole_batch", "hybrid_input_truncated", "hybrid_scale_over_128", "hybrid_input_symmetric"}
    if "hybrid_input_with_zero_point" in wrong or (both_ends and not plain & set(wrong)):
        low = np.minimum(x.min(axis=1, keepdims=True), np.float32(0))
        high = np.maximum(x.max(axis=1, keepdims=True), np.float32(0))
        scale = (high - low) / np.float32(255)
        zero = np.rint(np.float32(-128) - low / scale)
        return np.clip(np.rint(x / scale) + zero, -128, 127) - zero, scale
    largest = np.abs(x).max(axis=1, keepdims=True)
    if "hybrid_scale_of_whole_batch" in wrong:
        largest = np.full_like(largest, largest.max())
    steps = 128 if "hybrid_scale_over_128" in wrong else 127
    scale = largest / np.float32(steps)
    whole = np.trunc(x / scale) if "hybrid_input_truncated" in wrong else np.rint(x / scale)
    return np.clip(whole, -steps, 127), scale


def _weights(numbers: Numbers, wrong: tuple[str, ...]) -> Floats:
    """The weights as they are read from the file's bytes."""
    units, depth = numbers.weights.shape
    if numbers.bits == 4:
        flat = _nibbles(numbers.weights, wrong)
    else:
        data = numbers.weights.astype(np.int8).tobytes()
        flat = np.frombuffer(data, np.uint8 if "weights_as_uint8" in wrong else np.int8).astype(np.int64)
    if "weights_as_in_out" in wrong:
        return flat.reshape(depth, units).T
    weights = flat.reshape(units, depth)
    return weights[:, ::-1] if "weights_reversed" in wrong else weights


def _nibbles(weights: Floats, wrong: tuple[str, ...]) -> Floats:
    """4-bit weights out of bytes, two in each, the low half first; the last byte may hold one."""
    flat = weights.ravel().astype(np.int64) & 15
    padded = np.append(flat, 0) if flat.size % 2 else flat
    data = (padded[0::2] | padded[1::2] << 4).astype(np.uint8)
    low, high = data & 15, data >> 4
    found = []
    for number in range(flat.size):
        first = number % 2 == 0
        alone = number == flat.size - 1 and first
        if "weights_nibbles_swapped" in wrong and not alone:
            first = not first
        nibble = int((low if first else high)[number // 2])
        if "weights_int4_unsigned" in wrong:
            found.append(nibble)
        elif "weights_int4_excess_8" in wrong:
            found.append(nibble - 8)
        elif "weights_int4_sign_magnitude" in wrong:
            found.append(-(nibble & 7) if nibble & 8 else nibble)
        else:
            found.append(nibble - 16 if nibble > 7 else nibble)
    return np.asarray(found)


def factor(numbers: Numbers, scale: Floats, wrong: tuple[str, ...]) -> Floats:
    scales = numbers.scales.astype(np.float32)
    if "weights_scale_missing" in wrong:
        scales = np.ones(1, np.float32)
    if "scales_first_for_all" in wrong:
        scales = scales[:1]
    if "scales_next_unit" in wrong:
        scales = np.concatenate([scales[1:], scales[:1]])
    return scales if "input_scale_missing" in wrong else scale * scales


def bias_used(numbers: Numbers, wrong: tuple[str, ...]) -> Floats:
    if numbers.bias is None or "bias_missing" in wrong:
        return np.zeros(1, np.float32)
    bias = numbers.bias.astype(np.float32)
    if "bias_first_for_all" in wrong:
        return bias[:1]
    return bias * np.float32({"bias_twice": 2, "bias_subtracted": -1}.get(next(iter(_about_bias(wrong)), ""), 1))


def _about_bias(wrong: tuple[str, ...]) -> list[str]:
    return [name for name in wrong if PLACES.get(name) == "bias"]
