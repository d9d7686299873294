"""Hybrid dense layers as users write them: plain float32 NumPy, right or with mistakes.

Nothing of LastBit is imported here, so that what is injected is not made by the code that looks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Floats = np.ndarray

MISTAKES = (
    *("hybrid_input_not_quantized", "hybrid_scale_of_whole_batch", "hybrid_input_truncated", "hybrid_scale_over_128"),
    *("hybrid_input_with_zero_point", "hybrid_input_symmetric", "hybrid_scale_of_largest_value"),
    *("input_zero_point_missing", "input_zero_point_added"),
    *("weights_as_in_out", "weights_as_uint8", "weights_reversed", "weights_nibbles_swapped", "weights_int4_unsigned"),
    *("weights_int4_excess_8", "weights_int4_sign_magnitude", "weights_int4_offset_by_8"),
    *("last_product_left_out", "first_product_left_out", "remainder_of_4_left_out", "remainder_of_8_left_out"),
    *("product_wraps_int8", "product_wraps_int16"),
    *("weights_scale_missing", "input_scale_missing", "scales_first_for_all", "scales_next_unit"),
    *("scales_last_for_all", "scales_largest_for_all", "scales_mean_for_all"),
    *("bias_missing", "bias_twice", "bias_subtracted", "bias_first_for_all", "bias_real_on_integer_sum"),
    *("activation_missing", "relu_that_is_not_there", "units_reversed", "output_column_major"),
)
"""What can be wrong; the names are those that `lastbit diagnose` should give."""

PLACES = {
    **dict.fromkeys(MISTAKES[:9], "rows"),
    **dict.fromkeys(MISTAKES[9:17], "weights"),
    **dict.fromkeys(MISTAKES[17:21], "loop"),
    **dict.fromkeys(MISTAKES[21:23], "sum"),
    **dict.fromkeys(MISTAKES[23:30], "scales"),
    **dict.fromkeys(MISTAKES[30:35], "bias"),
    **dict.fromkeys(MISTAKES[35:37], "activation"),
    **dict.fromkeys(MISTAKES[37:], "layout"),
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
    output = scaled(total, numbers, scale, wrong)
    output = finished(output, numbers.relu, wrong)
    return output.T.reshape(output.shape) if "output_column_major" in wrong else output


def scaled(total: Floats, numbers: Numbers, scale: Floats, wrong: tuple[str, ...]) -> Floats:
    """The sums of products as real numbers, with the bias."""
    for bits in (8, 16):
        if f"product_wraps_int{bits}" in wrong:
            total = total.astype(np.int64).astype(f"int{bits}").astype(np.float32)
    bias = bias_used(numbers, wrong)
    if "bias_real_on_integer_sum" in wrong:
        return (total + bias) * factor(numbers, scale, wrong)
    return total * factor(numbers, scale, wrong) + bias


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
    plain |= {"hybrid_scale_of_largest_value"}
    if "hybrid_input_with_zero_point" in wrong or (both_ends and not plain & set(wrong)):
        low = np.minimum(x.min(axis=1, keepdims=True), np.float32(0))
        high = np.maximum(x.max(axis=1, keepdims=True), np.float32(0))
        scale = np.where(high > low, (high - low) / np.float32(255), np.float32(1))
        zero = np.rint(np.float32(-128) - low / scale)
        whole = np.clip(np.rint(x / scale) + zero, -128, 127)
        return whole - zero * zero_point_used(wrong), scale
    values = x if "hybrid_scale_of_largest_value" in wrong else np.abs(x)
    largest = values.max(axis=1, keepdims=True)
    if "hybrid_scale_of_whole_batch" in wrong:
        largest = np.full_like(largest, largest.max())
    steps = 128 if "hybrid_scale_over_128" in wrong else 127
    scale = np.where(largest > 0, largest / np.float32(steps), np.float32(1))
    whole = np.trunc(x / scale) if "hybrid_input_truncated" in wrong else np.rint(x / scale)
    return np.clip(whole, -steps, 127), scale


def zero_point_used(wrong: tuple[str, ...]) -> int:
    """How often the zero point is subtracted."""
    return 0 if "input_zero_point_missing" in wrong else -1 if "input_zero_point_added" in wrong else 1


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
        elif "weights_int4_offset_by_8" in wrong:
            found.append((nibble - 16 if nibble > 7 else nibble) + 8)
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
    for name, taken in (("last", scales[-1]), ("largest", scales.max()), ("mean", scales.mean())):
        if f"scales_{name}_for_all" in wrong:
            scales = np.full(1, taken, np.float32)
    return scales if "input_scale_missing" in wrong else scale * scales


def bias_used(numbers: Numbers, wrong: tuple[str, ...]) -> Floats:
    if numbers.bias is None or "bias_missing" in wrong:
        return np.zeros(1, np.float32)
    bias = numbers.bias.astype(np.float32)
    if "bias_first_for_all" in wrong:
        return bias[:1]
    return bias * np.float32(2 if "bias_twice" in wrong else -1 if "bias_subtracted" in wrong else 1)
