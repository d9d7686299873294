"""Mistakes in reading the input and the weights.

Functions: `input` (case, x) -> x and `weights` (case, w) -> w, both int64 matrices.
"""

from __future__ import annotations

import math

import numpy as np

from ...arith.fixedpoint import low_bits
from ...model.types import Int64Array, integer_type
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.window_layer import WindowLayer
from .base import Case, Mistake
from .threads import (
    ESP_NN_25,
    NNTRAINER_1994,
    ONE_BIT_572,
    ORT_QNN_728,
    QUARK_30,
    SO_CONVOLVE,
    TF_35072,
    TF_44215,
)

__all__ = ["READING"]


def _eight_bits(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.bits == 8


def _other_sign(x: Int64Array, signed: bool) -> Int64Array:
    """The same bytes read as the other 8-bit type."""
    return low_bits(x, 8, signed=False) if signed else low_bits(x, 8)


def _input_other_sign(case: Case, x: Int64Array) -> Int64Array:
    return _other_sign(x, not case.layer.input.dtype.name.startswith("u"))


def _input_shifted(case: Case, x: Int64Array) -> Int64Array:
    return x - 128 if case.layer.input.dtype.name.startswith("u") else x + 128


def _column_major(x: Int64Array) -> Int64Array:
    return x.ravel(order="F").reshape(x.shape)


def _channels_first(case: Case, x: Int64Array) -> Int64Array:
    """Each sample's channels moved in front before it is flattened, as PyTorch lays it out."""
    sample = case.layer.sample
    if x.size % math.prod(sample):  # rows of a part of a sample
        return x
    moved = np.moveaxis(x.reshape(-1, *sample), -1, 1)
    return np.ascontiguousarray(moved).reshape(x.shape)


def _flattens(prepared: PreparedDense) -> bool:
    *places, channels = prepared.layer.sample
    return channels > 1 and math.prod(places) > 1


def _not_transposed(case: Case, x: Int64Array) -> Int64Array:
    """Each sample's values where they were before the operators in front of the layer transposed it."""
    order = case.layer.transposed
    if order is None or x.size % order.size:
        return x
    return x.reshape(-1, order.size)[:, np.argsort(order)].reshape(x.shape)


def _is_transposed(prepared: PreparedDense) -> bool:
    return prepared.layer.transposed is not None


def _weights_as_in_out(_case: Case, w: Int64Array) -> Int64Array:
    return w.ravel().reshape(w.shape[1], w.shape[0]).T


def _deep(prepared: PreparedDense) -> bool:
    return prepared.layer.depth > 1


def _rows(prepared: PreparedDense) -> bool:
    """Whether the input is rows, and not a convolution's images."""
    return not isinstance(prepared.layer, WindowLayer)


def _deep_rows(prepared: PreparedDense) -> bool:
    return _deep(prepared) and _rows(prepared)


def _not_trivial(prepared: PreparedDense) -> bool:
    return prepared.layer.units > 1 and _deep_rows(prepared)


def _int8_weights(prepared: PreparedDense) -> bool:
    return prepared.layer.weights.dtype.name == "int8" and bool((prepared.layer.weights_values < 0).any())


def _int4_weights(prepared: PreparedDense) -> bool:
    return prepared.layer.weights.dtype.name == "int4"


def _swap_nibbles(_case: Case, w: Int64Array) -> Int64Array:
    flat = w.ravel().copy()
    even = flat.size // 2 * 2
    flat[:even] = flat[:even].reshape(-1, 2)[:, ::-1].ravel()
    return flat.reshape(w.shape)


def _sign_magnitude(_case: Case, w: Int64Array) -> Int64Array:
    return np.where(w < 0, -((w & 15) - 8), w)


def _smallest_weight(prepared: PreparedDense) -> bool:
    layer = prepared.layer
    least = integer_type(layer.weights.dtype).qmin
    return least < 0 and bool((layer.weights_values == least).any())


READING: tuple[Mistake, ...] = (
    Mistake(
        "input_wrong_signedness",
        "input",
        "the input's bytes are read as the other 8-bit type (uint8 for int8, or the reverse)",
        "x = np.load('x.npy').view(np.int8)  # the type that the file gives for the input tensor",
        "const int8_t *x;  /* not uint8_t */",
        _input_other_sign,
        _eight_bits,
    ),
    Mistake(
        "input_shifted_by_128",
        "input",
        "the input is shifted by 128 to the other 8-bit type, but its zero point is not",
        "x = x.astype(np.int32)  # no shift; or shift zx by 128 as well",
        "int32_t v = x[k];  /* no shift; or shift zx by 128 as well */",
        _input_shifted,
        _eight_bits,
        seen=(TF_35072,),
    ),
    Mistake(
        "input_column_major",
        "input",
        "the input matrix is read in column-major order",
        "x = x.reshape(-1, depth)  # C order",
        "x[row * depth + k]",
        lambda _case, x: _column_major(x),
        _deep_rows,
        rarity=2.5,
        across_rows=True,
    ),
    Mistake(
        "input_channels_first",
        "input",
        "the input is flattened with its channels first (NCHW); TFLite has them last (NHWC)",
        "x = x.reshape(-1, depth)  # of x [n, H, W, C]; if yours is [n, C, H, W]: np.moveaxis(x, 1, -1) first",
        "x[(h * width + w) * channels + c]",
        _channels_first,
        _flattens,
        seen=(NNTRAINER_1994, ESP_NN_25),
    ),
    Mistake(
        "input_transpose_missing",
        "input",
        "the input is read as it was before the file's TRANSPOSE; the layer takes what TRANSPOSE gives",
        "x = x.transpose(perm).reshape(-1, depth)  # perm: the file's TRANSPOSE, which runs before the layer",
        "x[k]  /* x: what the TRANSPOSE before the layer gives */",
        _not_transposed,
        _is_transposed,
        rarity=1.5,
    ),
    Mistake(
        "input_first_row_for_all",
        "input",
        "every row is calculated from the first row's input",
        "acc = x @ w.T  # all rows of x",
        "x[row * depth + k]",
        lambda _case, x: np.repeat(x[:1], len(x), axis=0),
        _rows,
        rarity=2.5,
        across_rows=True,
    ),
    Mistake(
        "weights_clamped_symmetric",
        "weights",
        "the weights' smallest value is read as the next one: -128 as -127",
        "w = buffer.view(np.int8)  # as it is",
        "const int8_t *w;",
        lambda case, w: np.maximum(w, integer_type(case.layer.weights.dtype).qmin + 1),
        _smallest_weight,
        rarity=2.5,
    ),
    Mistake(
        "weights_as_in_out",
        "weights",
        "the weights are read as [in, out]; a .tflite stores them [out, in]",
        "w = w.reshape(units, depth); acc = x @ w.T",
        "w[unit * depth + k]",
        _weights_as_in_out,
        _not_trivial,
        rarity=1.5,
        seen=(TF_44215,),
    ),
    Mistake(
        "weights_as_uint8",
        "weights",
        "the weights' bytes are read as uint8",
        "w = buffer.view(np.int8)",
        "const int8_t *w;  /* not uint8_t */",
        lambda _case, w: low_bits(w, 8, signed=False),
        _int8_weights,
    ),
    Mistake(
        "weights_reversed",
        "weights",
        "each unit's weights are taken in reverse order, as np.convolve does; a layer correlates",
        "acc = x @ w.T  # np.correlate, not np.convolve",
        "acc += x[k] * w[unit * depth + k];",
        lambda _case, w: w[:, ::-1],
        _deep,
        rarity=2.5,
        seen=(SO_CONVOLVE,),
    ),
    Mistake(
        "weights_nibbles_swapped",
        "weights",
        "the two int4 weights of a byte are taken in the wrong order; the low half comes first",
        "w = np.stack([b & 15, b >> 4], axis=-1).reshape(units, depth)",
        "w = (k & 1) ? byte >> 4 : byte & 15;",
        _swap_nibbles,
        _int4_weights,
        seen=(QUARK_30,),
    ),
    Mistake(
        "weights_int4_unsigned",
        "weights",
        "int4 weights are not sign-extended",
        "w = ((b & 15) ^ 8) - 8",
        "int8_t w = (int8_t)(byte << 4) >> 4;",
        lambda _case, w: w & 15,
        _int4_weights,
        seen=(ORT_QNN_728,),
    ),
    Mistake(
        "weights_int4_excess_8",
        "weights",
        "int4 weights are read as a nibble minus 8; they are two's complement",
        "w = ((b & 15) ^ 8) - 8",
        "int8_t w = (int8_t)(byte << 4) >> 4;",
        lambda _case, w: (w & 15) - 8,
        _int4_weights,
        rarity=2.5,
        seen=(ONE_BIT_572,),
    ),
    Mistake(
        "weights_int4_sign_magnitude",
        "weights",
        "int4 weights are read as sign and magnitude; they are two's complement",
        "w = ((b & 15) ^ 8) - 8",
        "int8_t w = (int8_t)(byte << 4) >> 4;",
        _sign_magnitude,
        _int4_weights,
        rarity=3,
    ),
)
