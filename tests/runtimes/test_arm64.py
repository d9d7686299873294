"""Dense layers on ARM64 against what LiteRT printed there (under qemu-aarch64): lab/record/arm64.py."""

from dataclasses import replace

import numpy as np
import pytest

from lastbit.model.errors import OracleMissingError, UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.dense.gemv_or_gemm import PreparedByRows, for_rows
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import installed, open_oracle
from lastbit.runtimes import RUNTIMES, Refused, get_runtime
from lastbit.runtimes.variant import key_of

pytest.importorskip("lab.reach.time_machine")
from tests.support.arm64_recorded import ARM64, Recorded, runtime_of

RECORDED = Recorded("dense_arm64")
LISTING, arrays, model_of, ours = RECORDED.listing, RECORDED.arrays, RECORDED.model_of, RECORDED.ours


@pytest.mark.parametrize("name", sorted(LISTING["printed"]))
def test_equals_what_was_printed(name):
    runtime = runtime_of(name)
    compared = 0
    for number, found, delegated in RECORDED.printed(name):
        mine = ours(number, runtime)
        if isinstance(found, str):
            assert mine is None, (number, found)
            continue
        if mine is None:
            if (number, runtime) in RECORDED.inexact:
                assert runtime.partition("@")[0].endswith("-neon")
                continue
            variant = LISTING["cases"][number]["variant"]
            assert isinstance(get_runtime(runtime).rules.get(key_of("FULLY_CONNECTED", variant)), Refused), (
                number,
                variant,
            )
            continue
        outputs, kernel = mine
        np.testing.assert_array_equal(outputs, found, err_msg=f"case {number} {LISTING['cases'][number]}")
        assert (kernel == "xnnpack") == delegated, number
        compared += outputs.size
    assert compared > 9000


@pytest.mark.parametrize("runtime", ARM64)
def test_x86_64_is_another_arithmetic(runtime):
    """The golden set separates each runtime on ARM64 from the same one on x86-64.

    The reference kernels part only where the scaled accumulator leaves int32; the evidence has that per-channel too.
    """
    x86 = runtime.partition("-arm64")[0].replace("builtin", "builtin-x86")
    differing, seen = set(), set()
    for number, case in enumerate(LISTING["cases"]):
        here, there = ours(number, runtime), ours(number, x86)
        if here is not None and there is not None:
            seen.add(case["variant"])
            if not np.array_equal(here[0], there[0]):
                differing.add(case["variant"])
    never_leave_int32 = {
        "int8 per_channel",
        "int8 x int4 -> int8 per_channel",
        "int16 x int4 -> int16 per_channel no_bias",
    }
    unseparated = never_leave_int32 if "reference" in runtime else set()
    if runtime == "litert-xnnpack-arm64-sme":
        unseparated = {"int8 per_tensor"}  # it saturates where x86-64 has INT32_MIN, which no layer of the file shows
    assert {"int8 per_tensor", "int8 per_channel", "uint8 per_tensor"} <= seen
    assert seen - differing == unseparated


def dense_8bit(weights, dtype, zero_point, rows=2):
    """A layer of given stored weights under an operator version that the wheels for ARM64 know."""
    graph = dense_subgraph(
        np.asarray(weights, dtype),
        input_quant=quant([1.0], [zero_point]),
        weights_quant=quant([2e-4], [128 if dtype == "uint8" else 0]),
        output_quant=quant([1.0], [zero_point]),
        bias=None,
        input_shape=(rows, np.shape(weights)[1]),
        input_dtype=dtype,
        weights_dtype=dtype,
    )
    return load(write(replace(graph, operators=(replace(graph.operators[0], version=4),))))


@pytest.mark.parametrize(("dtype", "lowest", "other"), [("int8", -128, 5), ("uint8", 0, 128)])
def test_without_dot_products_pairs_of_the_lowest_weights_are_refused(dtype, lowest, other):
    """The sum of two products of -128 overflows 16 bits there: where weights allow it, nothing is claimed."""
    zero_point = 128 if dtype == "uint8" else 0
    weights = np.full((3, 31), other)
    weights[1, [2, 11]] = lowest  # not eight columns apart
    apart = dense_8bit(weights, dtype, zero_point)
    weights[1, 10] = lowest
    pair = dense_8bit(weights, dtype, zero_point)
    for runtime in ("litert-builtin-arm64-neon", "litert-xnnpack-arm64-neon"):
        prepare_operator(apart, apart.operators[0], runtime)
        if dtype == "uint8" and "xnnpack" in runtime:  # sums of 32 bits
            prepare_operator(pair, pair.operators[0], runtime)
            continue
        with pytest.raises(UnsupportedError, match=r"1 pairs of weights in 1 units \(first: 1\)"):
            prepare_operator(pair, pair.operators[0], runtime)
    for runtime in ("litert-reference-arm64-neon", "litert-builtin-arm64", "litert-xnnpack-arm64-dotprod"):
        prepare_operator(pair, pair.operators[0], runtime)


def test_batch_1_and_more_differ_without_a_delegate():
    """The same row alone and beside another one: two kernels, two roundings."""
    for runtime in ("litert-builtin-arm64", "litert-builtin-portable"):
        found = 0
        for number in range(len(LISTING["cases"])):
            model = model_of(number)
            try:
                prepared = prepare_operator(model, model.operators[0], runtime)
            except UnsupportedError:
                continue
            layer = getattr(prepared, "layer", None)
            if not isinstance(prepared, PreparedByRows) or layer.keep_num_dims or prepared.one_row is prepared.several:
                continue
            row = layer.rows(arrays()[f"{number}/x"][0])[:1]
            alone = prepared.evaluate([row])["output"]
            together = prepared.evaluate([np.concatenate([row, row])])["output"]
            assert for_rows(prepared, 1).rule != for_rows(prepared, 2).rule
            np.testing.assert_array_equal(together[0], together[1])
            found += not np.array_equal(alone[0], together[0])
        assert found >= 10


@pytest.mark.parametrize("runtime", ARM64)
def test_oracle_is_missing_on_another_machine(runtime):
    assert RUNTIMES[runtime].platform.startswith("ARM64")
    if installed(runtime) is None:
        with pytest.raises(OracleMissingError, match=r"aarch64|not installed"):
            open_oracle(runtime)
