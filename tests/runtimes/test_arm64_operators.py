"""Operators beside dense layers on ARM64 against what LiteRT 2.3.0 printed there, under qemu-aarch64."""

from collections import Counter
from functools import cache

import pytest

from lab.cases.separating_products import FAR, LARGE, ONE, THREE, Kind, layer
from lab.record.recorded_operators import read_golden
from lastbit.ops import OPERATORS
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.runtimes import RUNTIMES, Rule, cpus, find_rule
from lastbit.runtimes.evidence import evidence_of
from lastbit.runtimes.machine import ARM64
from lastbit.runtimes.variant import Variant
from lastbit.verbs.runtimes.operators import operator_cell
from tests.support.operators_recorded import compared_with, joined
from tests.support.places import GOLDEN

NAMES = sorted(cpu.name for cpu, _ in cpus() if cpu.machines == ARM64)


LEAST = 20_000
"""Outputs compared, for each operator and its types that a runtime is exact in."""

# Rules of layers that LiteRT refuses whatever else is in them, and LastBit in words: int4 weights with a zero point.
INT4_ZERO_POINTS = {
    ("FULLY_CONNECTED", f"int16 x int4 -> int16 per_tensor weights_zero_point {bias}")
    for bias in ("int64_bias", "int32_bias", "int32_bias_type", "no_bias")
}


@cache
def recorded():
    found = [read_golden(path) for path in sorted(GOLDEN.glob("operators_arm64*.npz"))]
    return [fingerprints for fingerprints, _ in found], [case for _, cases in found for case in cases]


def test_each_file_names_the_interpreters():
    for fingerprints in recorded()[0]:
        assert sorted(fingerprints) == NAMES
        assert {entry["version"] for entry in fingerprints.values()} == {"2.3.0"}


@pytest.mark.parametrize("runtime", NAMES)
def test_every_recorded_output_is_the_interpreters(runtime):
    compared = compared_with(recorded()[1], runtime)
    assert all(runtime in outcomes for _, _, outcomes in recorded()[1])
    assert len(compared) >= 23


@pytest.mark.parametrize(
    ("operator", "runtime", "x86"),
    [
        ("CONV_2D", "litert-builtin-arm64", "litert-builtin-x86"),
        ("CONV_2D", "litert-xnnpack-arm64", "litert-xnnpack"),
        ("MUL", "litert-xnnpack-arm64", "litert-xnnpack"),
    ],
)
def test_x86_64_is_another_arithmetic(operator, runtime, x86):
    """The file refutes the rules of x86-64 where ARM64 has others."""
    refuted = 0
    for model, inputs, outcomes in recorded()[1]:
        op, outcome = model.operators[0], outcomes[runtime]
        entry = prepare(model, x86).operators.get(0)
        if op.name != operator or isinstance(outcome, str) or entry is None:
            continue
        assert entry.rule in OPERATORS[op.name].rules
        refuted += joined(output_values(op, entry.evaluate(inputs)).values()) != joined(outcome)
    assert refuted


@cache
def stated():
    """Every operator and variant that a table or the evidence of any ARM64 runtime names."""
    tables = {(operator, str(variant)) for runtime in NAMES for operator, variant in RUNTIMES[runtime].rules}
    return sorted(tables | {(row.operator, row.variant) for runtime in NAMES for row in evidence_of(runtime)})


@pytest.mark.parametrize("runtime", NAMES)
def test_each_operator_and_its_types_that_are_exact_have_20_000_outputs(runtime):
    exact = Counter()
    for operator, variant in stated():
        cell = operator_cell(operator, variant, runtime)
        if cell.status == "exact":
            # A shape is written as int32 or int64, whatever the input's values are: both count together.
            types = Variant.parse(variant).input if operator == "SHAPE" else variant
            exact[operator, types] += cell.outputs
    assert len(exact) > 250
    assert {key: outputs for key, outputs in exact.items() if outputs < LEAST} == {}


@pytest.mark.parametrize("runtime", NAMES)
def test_a_rule_that_nothing_was_compared_of_is_of_what_the_interpreter_refuses(runtime):
    for operator, variant in stated():
        cell = operator_cell(operator, variant, runtime)
        assert cell.mismatches == 0
        rule = find_rule(RUNTIMES[runtime], operator, Variant.parse(variant), declined=False)
        if isinstance(rule, Rule) and cell.status != "exact" and (operator, variant) not in INT4_ZERO_POINTS:
            assert cell.status == "refused", (operator, variant, cell.reason)


@pytest.mark.parametrize(
    ("kind", "wraps"),
    [
        (Kind("CONV_2D", "int8", 1, ONE), False),
        (Kind("CONV_2D", "int8", 3, ONE, per_channel=True), True),
        (Kind("CONV_2D", "int8", 2, ONE, stride=2), True),
        (Kind("CONV_2D", "int8", 2, THREE), True),
    ],
)
def test_with_sme_a_convolution_over_pixels_with_one_scale_saturates_in_16_bits(kind, wraps):
    case = layer(kind, LARGE[1], FAR, -3)
    model = case.model()
    output = prepare_operator(model, model.operators[0], "litert-xnnpack-arm64-sme").evaluate(case.values)["output"]
    # What LiteRT 2.3.0 printed under qemu-aarch64 -cpu max: accumulators of 2^30, -2^30 .. 3, -3, 0, 0, times 200.
    far = [127, 127] * 4 if wraps else [127, -128] * 4
    assert (output == [*far, 127, -128, 127, -128, 127, -128, -3, -3]).all()
