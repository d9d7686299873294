"""Convolutions and sums of images by NumPy: the same as the reference, in every runtime's rules and in small blocks."""

from dataclasses import replace

import numpy as np
import pytest

from lab.cases.convolutions import convolutions, far_convolutions, windows
from lab.cases.elementwise import binaries
from lastbit.engines import image_blocks
from lastbit.engines.image_blocks import image_function
from lastbit.engines.quick_requantize import constant_channels, finisher
from lastbit.engines.scratch import Scratch, ScratchPool
from lastbit.model.errors import UnsupportedError
from lastbit.model.types import INT8
from lastbit.ops.prepare import prepare_operator
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.forms import Float, TwoRoundings
from lastbit.rules.requantize.table import EIGHT_BIT
from lastbit.rules.requantize.vector import requantize

RUNTIMES = ("litert-xnnpack", "litert-xnnpack-avx2", "litert-builtin-x86", "litert-reference", "tflm")


def cases(dtype, seed=3):
    rng = np.random.default_rng(seed)
    yield from convolutions(rng, 12, dtype)
    if dtype != "uint8":
        yield from convolutions(rng, 6, dtype, grouped=True)
    if dtype == "int8":
        yield from windows(rng, 10, dtype)
    if dtype != "int16":
        yield from far_convolutions(rng, 4, dtype)


def held(case, runtime):
    """How many outputs were compared; 0 where the runtime refuses or there is no function."""
    model = case.model()
    try:
        entry = prepare_operator(model, model.operators[0], runtime)
    except UnsupportedError:
        return 0
    function = image_function(entry, ScratchPool())
    if function is None:
        return 0
    wanted = entry.evaluate(case.values)["output"]
    np.testing.assert_array_equal(function(case.values, 1), wanted, strict=True)
    return wanted.size


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_convolution_is_the_references(runtime, dtype):
    compared = sum(held(case, runtime) for case in cases(dtype))
    assert compared > 3000 or (runtime, dtype) == ("tflm", "uint8")


@pytest.mark.parametrize("block", [1, 500])
def test_blocks_of_rows_and_images_are_put_together(monkeypatch, block):
    monkeypatch.setattr(image_blocks, "_BLOCK", block)
    assert sum(held(case, "litert-builtin-x86") for case in cases("int8", 8)) > 3000


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_sums_of_two_arrays_are_the_references(dtype):
    compared = 0
    for case in binaries(np.random.default_rng(5), ("ADD", "SUB", "MUL"), 60, dtype):
        case = case if case.inputs[0].data is None and case.inputs[1].data is None else None
        if case is None or case.inputs[0].shape != case.inputs[1].shape:
            continue
        big = grown(case)
        compared += held(big, "litert-builtin-x86") + held(big, "litert-xnnpack-avx2")
    assert compared > 40_000


def grown(case):
    """The same with arrays of 64 by 64."""
    shape, rng = (1, 64, 64), np.random.default_rng(1)
    values = [
        rng.choice(np.arange(np.iinfo(x.dtype).min, np.iinfo(x.dtype).max + 1), shape).astype(x.dtype)
        for x in case.values
    ]
    inputs = [replace(operand, shape=shape) for operand in case.inputs]
    return replace(case, inputs=inputs, outputs=[replace(case.outputs[0], shape=shape)], values=values)


# Those of layers whose bias or factor is made otherwise have no such passes.
WITH_SCALES = [
    name
    for name, rule in EIGHT_BIT.items()
    if rule.scales.product != "given" and not (isinstance(rule.requantize, Float) and rule.requantize.bias != "in_acc")
]


@pytest.mark.parametrize("name", WITH_SCALES)
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_few_passes_give_what_the_rule_gives(name, activation):
    """At ties, both ends, and accumulators beside the largest that is stated, of scales from tiny to 200."""
    rule, rng = EIGHT_BIT[name], np.random.default_rng(len(name))
    for largest in (300, 70_000, 2**22 - 1, 2**23, 2**31 - 1, 2**40):
        factors = np.concatenate([2.0 ** -np.arange(0, 12), np.exp(rng.uniform(-12, np.log(200), 20))])
        factors = factors if largest < 2**32 else np.ldexp(factors, -30)
        params = prepare_requantize(
            rule,
            input_scale=np.float32(1),
            weights_scale=factors.astype(np.float32),
            output_scale=np.float32(1),
            output_zero_point=int(rng.choice([-128, -3, 127])),
            activation=activation,
            dtype=INT8,
        )
        acc = rng.integers(-largest, largest + 1, (400, len(factors)))
        ties = np.clip(np.rint((rng.integers(-140, 140, acc.shape) + 0.5) / factors), -largest, largest)
        acc = np.where(rng.random(acc.shape) < 0.6, ties, acc).astype(np.int64)
        acc[:2] = [[-largest], [largest]]
        check_finish(params, acc, largest)


def check_finish(params, acc, largest):
    """Sums of two places in a row, to which a bias is added, against the rule's own steps."""
    bias = np.random.default_rng(2).integers(-largest // 8, largest // 8 + 1, acc.shape[1])
    sums = np.clip(acc - bias, -largest, largest)
    kind = np.float32 if largest < 2**24 else np.float64
    most = np.full(len(bias), 2 * largest if largest < 2**40 else largest)
    wanted = requantize(sums + bias, params)["output"]
    found = np.empty_like(wanted)
    finisher(params, bias, most, 2)(sums.astype(kind).reshape(len(acc) // 2, -1), found, Scratch())
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("tie", ["half_up", "half_away"])
@pytest.mark.parametrize("largest", [2**19, 2**20, 2**22 - 1])
def test_products_one_bit_below_a_whole_number_stay_below_it(tie, largest):
    """The high half is rounded by 31 bits: what float64 does not hold to the last of them is rounded up."""
    found = [(a, (2**30 - 1) * pow(a, -1, 2**31) % 2**31) for a in range(1, 250, 2)]
    acc, multiplier = (np.array(column, np.int64) for column in zip(*(x for x in found if x[1] >= 2**30), strict=True))
    rule = next(
        r
        for r in EIGHT_BIT.values()
        if isinstance(r.requantize, TwoRoundings)
        and r.requantize.tie == tie
        and r.requantize.high == "half_up"
        and not r.requantize.least_right
    )
    params = prepare_requantize(
        rule,
        input_scale=np.float32(1),
        weights_scale=np.ones(len(acc), np.float32),
        output_scale=np.float32(1),
        output_zero_point=3,
        activation="NONE",
        dtype=INT8,
    )
    for right in (0, 1):
        shifted = replace(params, multiplier=multiplier, shift=np.full(len(acc), -right))
        sums = np.stack([acc, -acc])
        wanted, out = requantize(sums, shifted)["output"], np.empty(sums.shape, np.int8)
        finisher(shifted, np.zeros(len(acc), np.int64), np.full(len(acc), largest), 2)(
            sums.astype(np.float32).reshape(1, -1), out, Scratch()
        )
        np.testing.assert_array_equal(out, wanted)
    assert len(acc) > 50


def test_a_channel_of_one_output_is_told_by_its_ends():
    """Channel 0 is far below the range, 1 crosses a step, 2 is 0 with a large bias, 3 could overflow."""
    rule = EIGHT_BIT["q31-half_up-half_up/dd"]
    params = prepare_requantize(
        rule,
        input_scale=np.float32(1),
        weights_scale=np.array([0.75, 2.0**-6, 2.0**-30, 4], np.float32),
        output_scale=np.float32(1),
        output_zero_point=3,
        activation="NONE",
        dtype=INT8,
    )
    low, high = np.array([-5000, -10, 2**30, 2**29]), np.array([-1000, 60, 2**30 + 50, 2**30])
    changed, constant, fixed = constant_channels(params, low, high)
    assert constant.tolist() == [True, False, True, False]
    made = requantize(np.array([fixed[0], 60, fixed[1], 0]), changed)["output"]
    assert made.tolist() == requantize(np.array([-2000, 60, 2**30 + 7, 0]), params)["output"].tolist()
