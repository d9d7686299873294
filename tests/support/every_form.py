"""Every form that the fields allow, and layers whose accumulators are hard for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from lastbit.model.types import INT8, INT16, UINT8, GivenFactor, integer_type
from lastbit.rules.base import Bounds, IntegerRule, ScaleProduct, Scales, Sums
from lastbit.rules.requantize.fold import RequantParams, prepare_requantize, with_float_bias
from lastbit.rules.requantize.forms import Float, Meaningless, OneRounding, Requantize, TwoRoundings, values_of

UNITS = 24
ROWS = 440
"""So that a layer has more than 10,000 accumulators."""

SX, SY = np.float32(0.75), np.float32(0.75)


@cache
def every_form() -> tuple[tuple[Requantize, ...], tuple[str, ...]]:
    """All combinations of values that mean something, and why the others mean nothing."""
    forms: list[Requantize] = []
    refused: list[str] = []
    for kind in (Float, TwoRoundings, OneRounding):
        for values in itertools.product(*values_of(kind).values()):
            try:
                forms.append(kind(*values))
            except Meaningless as error:
                refused.append(str(error))
    return tuple(forms), tuple(refused)


def rules_of(form: Requantize) -> Iterator[IntegerRule]:
    """A form with every precision of the scales, every tie rule of the bounds, and every accumulator that it allows."""
    for product, bounds, bits in itertools.product(get_args(ScaleProduct), get_args(Bounds), (28, 32, 64)):
        try:
            yield IntegerRule("unnamed", Sums(bits), Scales(product), form, bounds)
        except Meaningless:
            continue


@cache
def weights_scales(form: Requantize) -> npt.NDArray[np.float32]:
    """Scales of 24 units: powers of two, so that ties are exact; others; and three whose results leave registers."""
    rng = np.random.default_rng(11)
    powers = np.ldexp(1.0, [-20, -12, -9, -8, -6, -3, -1, 0, 1, 2, 5, 9])
    others = np.ldexp(rng.uniform(1, 2, 9), rng.integers(-14, 4, 9))
    # What leaves 32 bits, and nearly the largest and the smallest factor that a multiplier and a shift can write.
    far = np.ldexp([1.37, 1.93, 1.81], [12, 30, -30])
    scales = np.concatenate([powers, others, far]).astype(np.float32)
    scales.flags.writeable = False
    return scales


def given_factor(params: RequantParams, rng: np.random.Generator) -> GivenFactor:
    """Multipliers that no scale makes, with the scales' shifts; a small one has more shift, so that outputs differ."""
    ends = [0, 1, 2, 3, 2**29, 2**30 - 1, 2**30, 2**30 + 1, 2**31 - 2, 2**31 - 1]
    some = np.int64(2) ** rng.integers(1, 31, UNITS - len(ends))
    multiplier = np.concatenate([ends, rng.integers(some, 2 * some)])
    less = 31 - np.frexp(np.maximum(multiplier, 1).astype(np.float64))[1]
    shift = rng.permutation(params.shift) + np.where(rng.random(UNITS) < 0.7, less, 0)
    return GivenFactor(multiplier, np.clip(shift, -31, 30))


def layer(rule: IntegerRule, seed: int) -> RequantParams:
    """A layer of 24 units, with ties, both ends of the output's type, and an activation."""
    rng = np.random.default_rng(seed)
    dtype = integer_type(INT16 if rule.sums.bits == 64 else (INT8, UINT8)[seed % 2])
    zero_point = int(rng.choice([dtype.qmin, -3 if dtype.qmin < 0 else 3, dtype.qmax, 0]))
    scales = weights_scales(rule.requantize)
    params = prepare_requantize(
        rule,
        input_scale=SX,
        weights_scale=scales,
        output_scale=SY,
        output_zero_point=zero_point,
        activation=("NONE", "RELU", "RELU6")[seed % 3],
        dtype=dtype,
    )
    if rule.scales.product == "given":
        given = given_factor(params, rng)
        return replace(params, effective_scale=given.factor, multiplier=given.multiplier, shift=given.shift)
    bias = rng.integers(-(2**18), 2**18, UNITS)
    return with_float_bias(params, bias, SX, scales)


def accumulators(params: RequantParams, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Accumulators `[rows, units]` at ties, at the register's ends, where results overflow, and between."""
    bits = params.rule.sums.bits
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    factor = np.maximum(np.broadcast_to(params.effective_scale.astype(np.float64), (UNITS,)), 2.0**-62)
    qmin, qmax = params.dtype.qmin or 0, params.dtype.qmax or 0
    whole = rng.integers(qmin - 2, qmax + 3, (120, UNITS)) - params.output_zero_point
    bias = 0 if params.bias is None else params.bias
    ties = np.floor((whole + 0.5) / factor) + rng.integers(-1, 3, whole.shape) + bias
    powers = np.ldexp(1.0, rng.integers(28, 34, (60, UNITS))) * rng.choice([-1, 1], (60, UNITS))
    beyond = np.rint(powers / factor) + rng.integers(-2, 3, powers.shape)
    ends = np.broadcast_to(np.asarray([0, 1, -1, 2, -2])[:, None], (5, UNITS))
    real = np.concatenate([ties, beyond])
    found = np.clip(real, float(-(2.0**62)), float(2.0**62)).astype(np.int64)
    register = np.broadcast_to(np.asarray([lowest, lowest + 1, highest - 1, highest])[:, None], (4, UNITS))
    some = rng.integers(-(2**20), 2**20, (100, UNITS))
    rest = rng.integers(lowest, highest, (ROWS - 289, UNITS), endpoint=True)
    return np.clip(np.concatenate([found, ends, register, some, rest]), lowest, highest)


def one_unit(params: RequantParams, unit: int) -> RequantParams:
    """A layer's constants for one of its units, `[1]`."""
    taken: dict[str, Any] = {
        name: value[unit : unit + 1]
        for name, value in vars(params).items()
        if isinstance(value, np.ndarray) and value.size > 1
    }
    return replace(params, **taken)


def legal_units(params: RequantParams) -> npt.NDArray[np.int64]:
    """The units whose shift kernels of this form are made for."""
    form = params.rule.requantize
    if isinstance(form, Float):
        return np.arange(UNITS)
    return np.flatnonzero([int(shift) in form.shifts for shift in np.broadcast_to(params.shift, (UNITS,))])
