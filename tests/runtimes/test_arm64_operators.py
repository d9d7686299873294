"""Operators beside dense layers on ARM64 against what LiteRT 2.3.0 printed there, under qemu-aarch64."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from lab.record.recorded_operators import read_golden
from lastbit.model.errors import Refusal
from lastbit.ops import OPERATORS
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare
from lastbit.runtimes import cpus
from lastbit.runtimes.machine import ARM64
from tests.support.places import GOLDEN

NAMES = sorted(cpu.name for cpu, _ in cpus() if cpu.machines == ARM64)


@cache
def recorded():
    fingerprints, cases = read_golden(GOLDEN / "operators_arm64.npz")
    return fingerprints, list(cases)


def joined(arrays):
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def test_the_file_names_the_interpreters():
    fingerprints, _ = recorded()
    assert sorted(fingerprints) == NAMES
    assert {entry["version"] for entry in fingerprints.values()} == {"2.3.0"}


@pytest.mark.parametrize("runtime", NAMES)
def test_every_recorded_output_is_the_interpreters(runtime):
    compared = Counter()
    for model, inputs, outcomes in recorded()[1]:
        prepared, op, outcome = prepare(model, runtime), model.operators[0], outcomes[runtime]
        if isinstance(outcome, str):
            assert prepared.refusals, f"{op.name} {op.options}: the interpreter {outcome}, LastBit does not"
            continue
        if prepared.refusals:
            assert prepared.refused[0].kind is Refusal.NOT_EXACT, prepared.refusals
            continue
        found = joined(output_values(op, prepared.operators[0].evaluate(inputs)).values())
        assert found == joined(outcome), f"{op.name} {op.options}"
        compared[op.name] += len(found)
    assert len(compared) >= 21


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
