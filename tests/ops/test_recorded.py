"""The operators around dense layers against recorded interpreters, and every rival rule refuted."""

import json
from collections import defaultdict
from functools import cache

import numpy as np
import pytest

from lab.cases.dense import RUNTIMES
from lastbit.model.errors import UnsupportedError
from lastbit.ops import OPERATORS
from lastbit.ops.base import output_values
from lastbit.ops.prepare import choose_rule
from lastbit.runtimes import Rule, cpus, get_runtime
from lastbit.runtimes.machine import ARM64
from tests.support.operators_recorded import compared_with, joined
from tests.support.places import GOLDEN

# One for each CPU that recorded.
FILES = sorted(GOLDEN.glob("operators.*.npz"))
# They part at accumulators below -2^31 when scaled.
UNTOLD = {"float32-half_even", "float32-half_even-saturate", "float32-half_even/by_window"}


def followed(arm64):
    """Operator and rule, of what runtimes follow on ARM64, or elsewhere."""
    there = {cpu.name for cpu, _ in cpus() if (cpu.machines == ARM64) is arm64}
    rules = ((key[0], rule) for name in there for key, rule in get_runtime(name).rules.items())
    return {(operator, rule.name) for operator, rule in rules if isinstance(rule, Rule)}


# Recorded before ARM64's rules were known; what parts those from x86-64's is in lab/evidence.
ON_ARM64_ONLY = followed(True) - followed(False)
OLDER_ONLY = {("MEAN", "float32_bias_half_away"), ("SUM", "float32_bias_half_away")}
"""What the delegate of LiteRT 1.4.0 follows and no runtime of today; operators_versions.npz has its outputs."""
IN_GROUPS_ONLY = {("ADD", "float32/ordered_zeros"), ("SUB", "float32/ordered_zeros")}
"""What ARM64 does in whole groups of four alone; lab/collect/chosen.py has the zeros that refute it."""
ARM64_NAMES = {rule for _, rule in followed(True)} - {rule for _, rule in followed(False)}


# Hybrid convolutions: with groups no window is taken for a dense layer's; with one scale for all channels both have the
# same rule; no depthwise window is deep enough for sums of weights to leave 16 bits.
SAME_HYBRID = (
    ("CONV_2D", "grouped", {"hybrid-qd8-fma/images", "hybrid-qd8-fma-bound_first/images"}),
    ("CONV_2D", "per_tensor", {"hybrid-int8-scales_first/images", "hybrid-int8-weights_first/images"}),
    ("DEPTHWISE_CONV_2D", "", {"hybrid-int8-scales_first/images", "hybrid-int8-scales_first/depthwise"}),
)


def untold(runtime, operator, variant, rules):
    """Whether no output can tell these two rules apart, or none that does was recorded."""
    if any(operator == name and part in variant and rules == same for name, part, same in SAME_HYBRID):
        return True
    if not rules <= UNTOLD:
        # Of 47,657 outputs that lab/collect/operators.py compared on an Arrow Lake, 730 tell them apart. What was
        # recorded on emulated CPUs has none.
        emulated = runtime in ("litert-xnnpack-avx512", "litert-xnnpack-avxvnni")
        where = emulated and operator == "DEPTHWISE_CONV_2D" and "uint8" in variant
        return where and any("float64" in rule for rule in rules)
    if "uint8" in variant:
        return True  # no zero point is negative, so nothing wraps
    if (operator, variant) == ("CONV_2D", "int8 per_channel") and "float32-half_even" in rules:
        return True  # what has a depthwise kernel has one unit here, and so one scale
    # The file of AVX2 has no such window of many taps, or with channels that share an input channel.
    return runtime == "litert-xnnpack-avx2" and "float32-half_even/by_window" in rules


@cache
def golden():
    """Every recorded case."""
    from lab.record.recorded_operators import read_golden

    return [case for path in FILES for case in read_golden(path)[1]]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_recorded_output_is_the_interpreters(runtime):
    compared = compared_with(golden(), runtime)
    assert len(compared) >= 21
    assert min(compared.values()) > 10, compared


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_rival_rule_is_refuted_by_a_recorded_output(runtime):
    refuted, seen = defaultdict(int), set()
    for model, inputs, outcomes in golden():
        op = model.operators[0]
        entry = OPERATORS[op.name]
        # Where values are only moved, rules differ in what they refuse: see tests/ops/moves.
        if isinstance(outcomes.get(runtime, ""), str) or len(entry.rules) == 1 or not entry.reads_scales:
            continue
        try:
            rule = choose_rule(model, op, get_runtime(runtime))
        except UnsupportedError:
            continue
        if runtime.startswith("litert-xnnpack") and rule.kernel != "xnnpack":
            continue  # the builtin kernels' own test
        own = rule.name
        # One kernel takes a bias of 64 bits and none, another one a bias of 32 bits, whatever the options say of it.
        variant = (
            str(entry.variant(model, op)).replace("int32_bias_type", "int32_bias").replace("no_bias", "int64_bias")
        )
        for rival in entry.rules:
            if rival in ARM64_NAMES or (op.name, rival) in ON_ARM64_ONLY | OLDER_ONLY | IN_GROUPS_ONLY:
                continue
            key = (op.name, variant, own, rival)
            if rival == own or refuted[key] or untold(runtime, op.name, variant, {own, rival}):
                continue
            try:
                found = joined(output_values(op, entry.prepare(model, op, rival).evaluate(inputs)).values())
            except (UnsupportedError, ZeroDivisionError):
                continue
            seen.add(key)
            refuted[key] += found != joined(outcomes[runtime])
    alive = {key for key in seen if not refuted[key]}
    assert not alive, sorted(alive)
    assert len(seen) > 30


def test_the_golden_file_names_the_interpreters():
    recorded = set()
    for path in FILES:
        with np.load(path) as archive:
            fingerprints = json.loads(str(archive["fingerprints"]))
        recorded |= set(fingerprints)
        for runtime, fingerprint in fingerprints.items():
            assert fingerprint["version"] in get_runtime(runtime).oracle
    assert recorded == set(RUNTIMES)
