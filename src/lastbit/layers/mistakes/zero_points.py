"""Mistakes in the zero points of the input and the weights.

Functions: `input_zero_point` (case, x) -> (x, zero point still to be subtracted); `weights_zero_point` (case, w) -> (w,
zero point still to be subtracted).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...arith.fixedpoint import low_bits
from ...ops.dense.eight_bit import PreparedDense
from ...ops.products.window_layer import WindowLayer
from .base import Mistake
from .taps import windows_of
from .threads import (
    ARM_COMPUTE_1033,
    CMSIS_5_1394,
    EXECUTORCH_20655,
    NETRON_1221,
    SO_PURE_PYTHON,
    TF_51853,
    TILELANG_2947,
)

__all__ = ["IN_IMAGE", "ZERO_POINTS"]


def _zx(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point != 0


def _zw(prepared: PreparedDense) -> bool:
    return prepared.layer.weights_zero_point != 0


def _differs_from_zy(prepared: PreparedDense) -> bool:
    return prepared.layer.input_zero_point != prepared.layer.output_zero_point


def _centred_beyond_int8(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.name == "int8" and _zx(prepared)


def _centred_beyond_uint8(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.name == "uint8" and _zx(prepared)


def _not_the_usual_end(prepared: PreparedDense) -> bool:
    return prepared.layer.input.dtype.name == "int8" and prepared.layer.input_zero_point != -128


def _centred_weights_beyond_uint8(prepared: PreparedDense) -> bool:
    return prepared.layer.weights.dtype.name == "uint8" and _zw(prepared)


def _centred_weights_beyond_int8(prepared: PreparedDense) -> bool:
    return prepared.layer.weights.dtype.name == "int8" and _zw(prepared)


_ZERO_POINTS: tuple[Mistake, ...] = (
    Mistake(
        "input_zero_point_missing",
        "input_zero_point",
        "the input's zero point is not subtracted",
        "acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T + bias",
        "acc += (x[k] - zx) * (w[k] - zw);",
        lambda case, x: (x, 0),
        _zx,
        rarity=1,
        seen=(SO_PURE_PYTHON,),
    ),
    Mistake(
        "input_zero_point_added",
        "input_zero_point",
        "the input's zero point is added; it is subtracted (kernels add input_offset, which is minus the zero point)",
        "acc = (x.astype(np.int32) - zx) @ (w.astype(np.int32) - zw).T + bias",
        "acc += (x[k] - zx) * (w[k] - zw);  /* input_offset = -zx */",
        lambda case, x: (x, -case.zx),
        _zx,
        rarity=1,
        seen=(ARM_COMPUTE_1033, NETRON_1221),
    ),
    Mistake(
        "input_zero_point_twice",
        "input_zero_point",
        "the input's zero point is subtracted twice: folded into the bias and again in the sum",
        "acc = x.astype(np.int32) @ w.T + (bias - zx * w.astype(np.int32).sum(axis=1))",
        "acc = folded_bias; acc += x[k] * w[k];  /* zx is in folded_bias already */",
        lambda case, x: (x, 2 * case.zx),
        _zx,
    ),
    Mistake(
        "input_zero_point_is_outputs",
        "input_zero_point",
        "the output's zero point is used for the input",
        "zx = input_details['quantization_parameters']['zero_points'][0]",
        "const int32_t zx = input->params.zero_point;",
        lambda case, x: (x, case.zy),
        _differs_from_zy,
    ),
    Mistake(
        "input_minus_zero_point_wraps_int8",
        "input_zero_point",
        "x - zx is calculated in int8 and wraps",
        "x.astype(np.int32) - zx",
        "(int32_t)x[k] - zx",
        lambda case, x: (low_bits(x - case.zx, 8), 0),
        _centred_beyond_int8,
        rarity=1.2,
        seen=(EXECUTORCH_20655,),
    ),
    Mistake(
        "input_minus_zero_point_saturates_int8",
        "input_zero_point",
        "x - zx is saturated to int8; it needs 9 bits",
        "x.astype(np.int32) - zx",
        "(int16_t)x[k] - zx  /* not a saturating int8 subtraction */",
        lambda case, x: (np.clip(x - case.zx, -128, 127), 0),
        _centred_beyond_int8,
        rarity=2.5,
    ),
    Mistake(
        "input_minus_zero_point_wraps_uint8",
        "input_zero_point",
        "x - zx is calculated in uint8 and wraps",
        "x.astype(np.int32) - zx",
        "(int32_t)x[k] - zx",
        lambda case, x: (low_bits(x - case.zx, 8, signed=False), 0),
        _centred_beyond_uint8,
        rarity=1.2,
        seen=(TILELANG_2947,),
    ),
    Mistake(
        "input_zero_point_taken_as_minus_128",
        "input_zero_point",
        "-128 is taken for the input's zero point (an input offset of 128); each layer has its own",
        "zx = input_details['quantization_parameters']['zero_points'][0]",
        "const int32_t input_offset = -input->params.zero_point;",
        lambda case, x: (x, -128),
        _not_the_usual_end,
        rarity=2.5,
        seen=(CMSIS_5_1394,),
    ),
    Mistake(
        "weights_zero_point_missing",
        "weights_zero_point",
        "the weights' zero point is not subtracted",
        "(w.astype(np.int32) - zw)",
        "(w[k] - zw)",
        lambda case, w: (w, 0),
        _zw,
        rarity=1.5,
        seen=(SO_PURE_PYTHON, TF_51853),
    ),
    Mistake(
        "weights_zero_point_added",
        "weights_zero_point",
        "the weights' zero point is added; it is subtracted",
        "(w.astype(np.int32) - zw)",
        "(w[k] - zw)  /* filter_offset = -zw */",
        lambda case, w: (w, -case.zw),
        _zw,
    ),
    Mistake(
        "weights_minus_zero_point_wraps_uint8",
        "weights_zero_point",
        "w - zw is calculated in uint8 and wraps",
        "w.astype(np.int32) - zw",
        "(int32_t)w[k] - zw",
        lambda case, w: (low_bits(w - case.zw, 8, signed=False), 0),
        _centred_weights_beyond_uint8,
        rarity=1.5,
        seen=(TILELANG_2947,),
    ),
    Mistake(
        "weights_minus_zero_point_wraps_int8",
        "weights_zero_point",
        "w - zw is calculated in int8 and wraps",
        "w.astype(np.int32) - zw",
        "(int32_t)w[k] - zw",
        lambda case, w: (low_bits(w - case.zw, 8), 0),
        _centred_weights_beyond_int8,
    ),
)

_IN_THE_IMAGE = (
    "input_zero_point_missing",
    "input_zero_point_added",
    "input_zero_point_twice",
    "input_zero_point_is_outputs",
    "input_zero_point_taken_as_minus_128",
)


def _beside_padding(mistake: Mistake) -> Mistake:
    """The same mistake in a convolution whose padding is skipped, or put in after the zero point was subtracted."""
    return replace(
        mistake,
        name=f"{mistake.name}_in_image",
        why=f"{mistake.why}; the padding adds nothing",
        applies=lambda prepared: mistake.applies(prepared) and _pads(prepared),
        needs_images=True,
        skips_padding=True,
    )


def _pads(prepared: PreparedDense) -> bool:
    layer = prepared.layer
    return isinstance(layer, WindowLayer) and windows_of(layer.convolution).pads


_IN_IMAGES = {mistake.name: _beside_padding(mistake) for mistake in _ZERO_POINTS if mistake.name in _IN_THE_IMAGE}

ZERO_POINTS: tuple[Mistake, ...] = (*_ZERO_POINTS, *_IN_IMAGES.values())

IN_IMAGE: dict[str, str] = {name: mistake.name for name, mistake in _IN_IMAGES.items()}
"""A mistake in the input's zero point -> the same where a convolution's padding adds nothing."""
