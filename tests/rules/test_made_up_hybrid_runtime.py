"""Hybrid and float32 rules that no table has, in a runtime handed to the verbs as an object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit import explain, inspect, run, vectors
from lastbit.engines.jit.matmul import available
from lastbit.engines.plan import ChainStep
from lastbit.layers.differences import same_bits
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.rules.base import Pairs
from lastbit.rules.floats.table import FLOAT_CHOICES, FLOAT_RULES
from lastbit.rules.floats.table import line_of as float_line
from lastbit.rules.hybrid.forms import HybridRule
from lastbit.rules.hybrid.table import FUSED, HYBRID_RULES, QD8, SSE_ASYMMETRIC, SSE_SYMMETRIC, UNFUSED, line_of
from lastbit.rules.requantize.table import CHOICES, CHOICES_AROUND_DENSE, RULES
from lastbit.runtimes.base import Family, Rule, Runtime
from lastbit.runtimes.variant import key_of
from lastbit.verbs.compare.verb import compare
from tests.support.every_hybrid import every_finish, every_float, hard_rows

FINISHES = [finish for finish in every_finish() if finish not in {rule.finish for rule in HYBRID_RULES.values()}]
RULES_SEEN = [
    line_of(HybridRule("?", rows, asymmetric, finish, loops=loops, pairs=pairs))
    for (rows, asymmetric), finish, (loops, pairs) in zip(
        [(QD8, QD8), (SSE_SYMMETRIC, SSE_ASYMMETRIC)] * 6,
        FINISHES[::190],
        [("none", None), ("by_size", Pairs(1, "saturate16")), ("pairs", Pairs(4, "wrap16", "alone"))] * 4,
        strict=False,
    )
]
FLOATS_SEEN = [rule for rule in every_float()[0] if rule not in FLOAT_RULES.values()][::7]


def made_up(arithmetic, variant):
    rule = Rule(arithmetic.name, Family.CMSIS_NN, arithmetic)
    rules = {
        key_of("FULLY_CONNECTED", f"{variant} {kind}"): rule for kind in ("per_tensor", "per_channel", "unquantized")
    }
    return Runtime("made-up", "a runtime of this test", "none", "any", rules)


def layer(weights_type, depth=18, units=5):
    rng = np.random.default_rng(3)
    real = weights_type == "float32"
    weights = rng.normal(size=(units, depth)) if real else rng.integers(-7, 8, (units, depth))
    if not real:
        weights[:, ::3] = -128
    graph = dense_subgraph(
        weights.astype(np.float32 if real else np.int8),
        input_quant=None,
        weights_quant=None if real else quant(rng.uniform(0.002, 0.01, units)),
        output_quant=None,
        bias=rng.normal(size=units).astype(np.float32),
        activation="RELU6",
        input_dtype="float32",
        weights_dtype=weights_type,
        output_dtype="float32",
        bias_dtype="float32",
    )
    return load(write(graph))


def same_everywhere(model, runtime, x):
    wanted = run(model, x, runtime).output
    for engine in ("numpy", "jit"):
        assert same_bits(lastbit.build(model, runtime, engine=engine)(x), wanted).all(), engine
    return wanted


def test_no_two_families_of_rules_share_a_name():
    tables = (RULES, CHOICES, CHOICES_AROUND_DENSE, HYBRID_RULES, FLOAT_RULES, FLOAT_CHOICES)
    rules = [(name, rule) for table in tables for name, rule in table.items()]
    assert len(dict(rules)) == len(set(rules))  # one choice may stand in the tables of dense layers and of operators
    assert all(rule.name == name for table in tables for name, rule in table.items())


@pytest.mark.parametrize("rule", RULES_SEEN, ids=lambda rule: rule.name[:60])
def test_every_verb_takes_a_hybrid_rule_that_no_table_has(rule):
    assert rule.name not in HYBRID_RULES
    model, runtime = layer("int8"), made_up(rule, "float32 x int8 -> float32")
    x = hard_rows(18)[::3]
    wanted = same_everywhere(model, runtime, x)
    for row in range(3):
        explanation = explain(model, x, at=(row, 1), runtime=runtime)
        assert same_bits(np.float32(explanation.output), wanted[row, 1]).all()
        assert explanation.as_dict()["rule"] == rule.name
        assert "".join(explanation.as_dict()["equation"].split()) in "".join(str(explanation).split())
    assert vectors(model, runtime, oracle=False).layers[0].rule == rule.name
    assert compare(model, runtime, "litert-xnnpack", oracles=False).as_dict()["layers"]


@pytest.mark.skipif(not available(), reason="needs Numba")
@pytest.mark.parametrize(
    "rule",
    [
        HybridRule("?", QD8, QD8, replace(FUSED, clamp="bound_first_if_any")),
        HybridRule("?", SSE_SYMMETRIC, SSE_ASYMMETRIC, replace(UNFUSED, zeros="multiplied", clamp="value_first")),
        HybridRule("?", SSE_ASYMMETRIC, SSE_ASYMMETRIC, replace(UNFUSED, clamp="bound_first")),
        HybridRule("?", QD8, QD8, replace(UNFUSED, int4="upper_28", int4_clamp="maximum")),
    ],
)
def test_compiled_code_has_rules_of_known_values_that_no_table_has(rule):
    model, runtime = layer("int8"), made_up(line_of(rule), "float32 x int8 -> float32")
    build = lastbit.build(model, runtime, engine="jit")
    x = hard_rows(18)
    wanted = run(model, x, runtime).output
    assert same_bits(build(x), wanted).all()
    assert isinstance(build.steps[0], ChainStep) == (rule.finish.int4 != "upper_28" or rule.finish.fused)


@pytest.mark.parametrize("rule", [float_line(rule) for rule in FLOATS_SEEN], ids=lambda rule: rule.name)
def test_every_verb_takes_a_float32_rule_that_no_table_has(rule):
    assert rule.name not in FLOAT_RULES
    model, runtime = layer("float32"), made_up(rule, "float32")
    same_everywhere(model, runtime, np.nan_to_num(hard_rows(18)[::4], posinf=1, neginf=-1))
    assert inspect(model).as_dict()["operators"]


def test_a_rule_of_another_family_is_refused():
    model = layer("float32")
    with pytest.raises(UnsupportedError, match="the rule is for integers"):
        run(model, np.zeros((1, 18), np.float32), made_up(RULES["float64-half_away"], "float32"))
