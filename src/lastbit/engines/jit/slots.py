"""The constants of each unit that a form's code reads: one slot for each, laid out vector by vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from ...arith.fixedpoint import reduce_multiplier
from ...rules.base import Unsupported
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.forms import Float, OneRounding, TwoRoundings
from ...rules.requantize.vector import left_shift
from .forms import READER, code_of

__all__ = ["form_scalars", "form_slots", "slot_bytes"]

Slots = dict[str, npt.NDArray[Any]]


def slot_bytes(slots: Mapping[str, str], lanes: int) -> tuple[dict[str, int], int]:
    """Where each slot of one vector of units begins, and how many bytes all take."""
    offsets, position = {}, 0
    for name, kind in slots.items():
        offsets[name] = position
        position += lanes * int(kind[1])
    return offsets, position


def form_scalars(params: RequantParams, acc_bits: int) -> npt.NDArray[np.int32]:
    """The scalars of one layer: int32, one for each of `unit.SCALARS`."""
    dtype, zy = params.dtype, params.output_zero_point
    floats = np.asarray([params.activation_max - zy, dtype.qmin - zy, dtype.qmax - zy], np.float32)
    whole = [zy, params.activation_min, params.activation_max, dtype.qmax]
    unused = 32 - acc_bits if acc_bits < 32 else 0
    return np.asarray([*whole, *floats.view(np.int32).tolist(), unused, 0], np.int64).astype(np.int32)


def form_slots(
    params: RequantParams, input_scale: np.float32 | None = None, weights_scale: npt.NDArray[np.float32] | None = None
) -> Slots | None:
    """A layer's constants for its form, `[1]` or `[out]` each, without the bias.

    Args:
        params: the folded constants.
        input_scale: s_x, for the form that adds a real-valued bias.
        weights_scale: s_w, in the same way.

    Returns:
        Slot -> values; None where a shift in it is not covered, or the scales are not there.

    Raises:
        Unsupported: there is no code for a value of the form.
    """
    form, bits = params.rule.requantize, params.rule.sums.bits
    code_of(form, bits == 64)
    if bits < 32 and not (isinstance(form, Float) and form.bias == "in_acc"):
        raise Unsupported(READER, "Sums.bits", bits)
    match form:
        case Float():
            return _float_slots(form, params, input_scale, weights_scale)
        case TwoRoundings():
            return _two_slots(form, params)
        case OneRounding():
            return _one_slots(form, params)
        case never:
            assert_never(never)


def _float_slots(
    form: Float,
    params: RequantParams,
    input_scale: np.float32 | None,
    weights_scale: npt.NDArray[np.float32] | None,
) -> Slots | None:
    slots: Slots = {"factor": np.asarray(params.effective_scale, np.float32 if form.bits == 32 else np.float64)}
    match form.bias:
        case "in_acc":
            return slots
        case "fused":
            if params.bias is None or input_scale is None or weights_scale is None:
                return None
            scales = np.float32(input_scale) * weights_scale.astype(np.float32)
            return slots | {"bias_real": params.bias.astype(np.float32) * scales, "reciprocal": np.float32(1) / scales}
        case "reciprocal" | "division":
            if params.float_bias is None:
                return None
            return slots | {"bias_float": params.float_bias.astype(np.float32)}
        case never:
            assert_never(never)


def _two_slots(form: TwoRoundings, params: RequantParams) -> Slots | None:
    right = np.maximum(-params.shift, form.least_right)
    left = left_shift(form, params.shift)
    if (left > 31).any() or (right > 31).any():
        return None
    return {
        "multiplier": params.multiplier,
        "left": left,
        "right": right,
        "right_less_one": np.maximum(right - 1, 0),
        "shifts": (right > 0).astype(np.int64),
        "shifts_mask": -(right > 0).astype(np.int64),
    }


def _one_slots(form: OneRounding, params: RequantParams) -> Slots | None:
    multiplier = params.multiplier if form.multiplier_bits == 31 else reduce_multiplier(params.multiplier)
    count = form.multiplier_bits - form.kept_bit - params.shift
    half = np.int64(1) << ((count - 1) & 63)
    match form.counts:
        case "plain":
            if (count < 0).any() or (count > 63).any():
                return None
            half = np.where(count > 0, half, 0)
        case "modulo_64":
            count = count & 63
        case never:
            assert_never(never)
    nudge = np.zeros_like(count) if form.kept_bit else half
    if params.rule.sums.bits == 64:
        return {"multiplier": multiplier, "nudge": nudge, "count": count}
    # 2^63 as an int64 wraps to its negative; so does the sum, as the vector code's does.
    sign = np.uint64(2**63) >> count.astype(np.uint64)
    return {
        "multiplier": multiplier,
        "nudge": (nudge.astype(np.uint64) + np.uint64(2**63)).astype(np.int64),
        "count": count,
        "sign_bit": (sign & np.uint64(0xFFFFFFFF)).astype(np.uint32).astype(np.int64),
    }
