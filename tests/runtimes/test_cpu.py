"""Kinds of CPU: one value in a runtime's file, and what differs is stated there alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lastbit
from lastbit import diagnose, explain, prepare, run, thresholds, vectors
from lastbit.rules.base import NEIGHBOURS
from lastbit.runtimes import INTERPRETERS, RUNTIMES, Refused, Rule, cpus
from lastbit.runtimes.base import Family
from lastbit.runtimes.cpu import Cpu, Interpreter, Mode, with_products
from lastbit.runtimes.machine import X86_64
from lastbit.runtimes.variant import Variant, key_of
from lastbit.verbs.compare.verb import compare
from lastbit.verbs.inspect.verb import inspect
from tests.support.models import make_dense_model

INT8 = tuple(Variant("int8", "int8", "int8", granularity) for granularity in ("per_tensor", "per_channel"))
WHOLE = Cpu(
    name="made-up",
    title="a runtime of this test",
    platform="any",
    sources=("this test",),
    rules={("FULLY_CONNECTED", variant): Rule("q31-half_up-half_away/dd", Family.CMSIS_NN) for variant in INT8},
)


def made_up(products):
    """A runtime with a second kind of CPU, which is one value."""
    paired = Cpu(
        name="made-up-pairs",
        title="the same in pairs",
        platform="a CPU of this test",
        sources=("this test",),
        machines=X86_64,
        like="made-up",
        products=products,
        in_products=INT8,
    )
    return Interpreter(Mode("none", "", "", ("none", "-")), (WHOLE, paired)).runtimes["made-up-pairs"]


@pytest.mark.parametrize("per_channel", [False, True])
def test_every_verb_takes_a_cpu_that_adds_products_of_a_rule_in_pairs_as_no_runtime_does(per_channel):
    """Fixed point on saturating pairs: the pairs of ONNX Runtime and fbgemm go with float32 only."""
    runtime, model = made_up(NEIGHBOURS), make_dense_model(depth=8, per_channel=per_channel)
    [rule] = {rule.name: rule for rule in runtime.rules.values()}.values()
    assert rule.name not in {r.name for other in RUNTIMES.values() for r in other.rules.values() if isinstance(r, Rule)}
    x = np.random.default_rng(1).choice(np.int8([-128, 127]), (9, 8))
    outputs = run(model, x, runtime).output
    assert (outputs != run(model, x, "tflm").output).any()
    for engine in ("numpy", "jit"):
        assert np.array_equal(lastbit.build(model, runtime, engine=engine)(x), outputs)
    assert prepare(model, runtime).operators[0].rule == rule.name
    assert any("saturate" in note for note in prepare(model, runtime).operators[0].notes)
    assert explain(model, x, at=(0, 1), runtime=runtime).output == outputs[0, 1]
    assert (
        inspect(model, runtimes=[runtime]).as_dict()["operators"][0]["coverage"]["made-up-pairs"]["rule"] == rule.name
    )
    # Which accumulators an input reaches does not follow from sums of products: the two verbs about them say so.
    assert "can saturate in 16 bits" in thresholds(model, runtime).as_dict()["not_covered"][0]["reason"]
    assert "can saturate in 16 bits" in vectors(model, runtime, oracle=False).layers[0].refusal
    assert "differs" in str(compare(model, runtime, "tflm", oracles=False))
    assert "made-up-pairs" in str(diagnose(model, x, outputs, runtime=runtime))


def test_what_is_not_stated_of_a_kind_is_as_on_the_kind_that_it_is_like():
    runtimes = Interpreter(
        Mode("none", "", "", ("none", "-")),
        (
            replace(WHOLE, fallback="tflm", declines=frozenset({"one_value"})),
            replace(WHOLE, name="b", like="made-up", rules={}),
        ),
    ).runtimes
    assert runtimes["b"] == replace(runtimes["made-up"], name="b")


def test_products_of_a_choice_are_added_so_in_both_of_its_rules():
    both = with_products(Rule("q31-by_rows-single/fd", Family.BUILTIN), NEIGHBOURS)
    assert isinstance(both, Rule)
    assert both.arithmetic.then.sums.products == both.arithmetic.otherwise.sums.products == NEIGHBOURS


def test_kinds_of_cpu_are_told_apart_by_what_they_need():
    """No two runtimes of one interpreter in one mode are for the same CPU."""
    for interpreter in INTERPRETERS:
        needs = [
            (machine, vectors)
            for cpu in interpreter.cpus
            if cpu.mode is None
            for machine in cpu.machines or ("any",)
            for vectors in cpu.vectors or ("any",)
        ]
        assert len(needs) == len(set(needs)), interpreter.cpus[0].name
    assert [cpu.name for cpu, _ in cpus()] == list(RUNTIMES)


def test_a_refusal_stays_whatever_products_are():
    refused = RUNTIMES["onnxruntime"].rules[key_of("FULLY_CONNECTED", "int8 x int4 -> int8 per_tensor")]
    assert isinstance(refused, Refused)
    assert with_products(refused, NEIGHBOURS) is refused
