"""Operators beside dense layers on ARM64 against what LiteRT 2.3.0 printed there, under qemu-aarch64."""

from functools import cache

import pytest

from lab.record.recorded_operators import read_golden
from lastbit.ops import OPERATORS
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare
from lastbit.runtimes import cpus
from lastbit.runtimes.machine import ARM64
from tests.support.operators_recorded import compared_with, joined
from tests.support.places import GOLDEN

NAMES = sorted(cpu.name for cpu, _ in cpus() if cpu.machines == ARM64)


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
