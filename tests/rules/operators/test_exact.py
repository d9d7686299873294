"""Every rule of operators around dense layers that is made of stages: the two readers, at ties, ends and overflow.

Real interpreters decide which rule is right (tests/ops/test_recorded.py, tests/ops/elements/test_activations.py). Here
the two arithmetics must agree step by step, over every rule of the table and both sides of every choice.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lastbit.rules.operators.exact import ElementInput, exact_steps
from lastbit.rules.operators.fold import Constants, Scale, factor_value, leaves, rescalings
from lastbit.rules.operators.forms import (
    Centered,
    Factor,
    Fixed16,
    FixedBits,
    Largest,
    Quotient,
    Rescaled,
    ScaledBack,
    ShiftedRight,
    Total,
)
from lastbit.rules.operators.rule import (
    Choice,
    NotNegative,
    Output,
    RealOutput,
    Staged,
)
from lastbit.rules.operators.table import STAGED_RULES
from lastbit.rules.operators.vector import Calculator
from lastbit.rules.operators.words import equation
from lastbit.rules.requantize.forms import Meaningless, TwoRoundings

RATIO = Factor(32, ("s_1",), ("s_y",))
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
LINES = [(operator, name) for operator, rules in STAGED_RULES.items() for name in rules]
ELEMENTS = 60


def stages_of(rule, kind):
    return [stage for leaf in leaves(rule) for stage in leaf.stages if isinstance(stage, kind)]


def scale_of(rng, dtype):
    low, high = RANGES[dtype]
    value = 2.0 ** int(rng.integers(-8, 2)) if rng.random() < 0.5 else float(np.exp(rng.uniform(-5, 1)))
    zero = 0 if dtype == "int16" else int(rng.choice([low, high, (low + high + 1) // 2, rng.integers(low, high + 1)]))
    return Scale(np.float32(value), zero, low, high)


def constants_of(rule, operator, rng, dtype):
    """Scales that a kernel of this rule takes."""
    while True:
        given = tuple(scale_of(rng, dtype) for _ in range(2))
        to = scale_of(rng, dtype)
        if any(stages_of(rule, ShiftedRight)):
            given = tuple(Scale(np.float32(2.0 ** -int(rng.integers(0, 9))), 0, *RANGES[dtype]) for _ in range(2))
            to = Scale(np.float32(1), 0, *RANGES[dtype])
        bounds = np.sort(rng.integers(to.qmin, to.qmax + 1, 2)) if rng.random() < 0.5 else (to.qmin, to.qmax)
        alpha = np.float32(rng.choice([0.1, -0.25, 0.5, 0.0, -1.3]))
        made = Constants(
            given, to, *map(int, bounds), subtract=operator == "SUB", alpha=alpha, count=int(rng.integers(1, 40))
        )
        factors = [abs(float(factor_value(stage.factor, made))) for stage in rescalings(rule)]
        doubled = [factor_value(stage.factor, made) for stage in rescalings(rule) if "headroom" in stage.factor.by]
        swish = [factor_value(stage.factor, made) for stage in stages_of(rule, Fixed16 | ScaledBack)]
        if all(factor < 2.0**14 for factor in factors) and all(f < 1 for f in doubled) and all(f < 0.5 for f in swish):
            return made


def given_of(rule, constants, rng, dtype):
    """Arrays of elements, and the members of each reduction."""
    low, high = RANGES[dtype]
    if stages_of(rule, Total | Largest):
        members = [
            np.asarray(rng.choice([low, high, int(rng.integers(low, high + 1))], constants.count), np.int64)
            for _ in range(ELEMENTS)
        ]
        total = np.asarray([part.sum() for part in members])
        largest = np.asarray([part.max() for part in members])
        return {"total": total, "count": np.asarray(constants.count), "largest": largest}, members
    if stages_of(rule, Quotient):
        scale = float(constants.output.scale)
        ties = (rng.integers(-300, 300, ELEMENTS) + 0.5) * scale
        wide = rng.normal(size=ELEMENTS) * 10.0 ** rng.uniform(-40, 38, ELEMENTS)
        x = np.where(rng.random(ELEMENTS) < 0.6, ties, wide)
        x[:5] = [np.nan, np.inf, -np.inf, -0.0, 1e-45]
        return {"input_1": x.astype(np.float32)}, None
    sides = [rng.integers(low, high + 1, ELEMENTS) for _ in range(2)]
    for side, scale in zip(sides, constants.inputs, strict=True):
        side[:4] = [low, high, scale.zero_point, max(low, scale.zero_point - 1)]
    rng.shuffle(sides[1])
    return {"input_1": sides[0], "input_2": sides[1]}, None


def types_of(rule):
    return [t for t in (rule.types or ("int8", "uint8", "int16")) if t in RANGES]


@pytest.mark.parametrize(("operator", "name"), LINES, ids=lambda value: value)
def test_both_arithmetics_agree_step_by_step(operator, name):
    rule, compared = STAGED_RULES[operator][name], 0
    for seed in range(12):
        rng = np.random.default_rng([seed, len(name)])
        for dtype in types_of(rule):
            constants = constants_of(rule, operator, rng, dtype)
            given, members = given_of(rule, constants, rng, dtype)
            met = rng.random(ELEMENTS) < 0.5
            steps = Calculator(rule, constants)(given, lambda when, met=met: met)
            for place in range(0, ELEMENTS, 1 if place_is_special(rule) else 3):
                element = ElementInput(
                    tuple(given[key][place].item() for key in ("input_1", "input_2") if key in given),
                    () if members is None else tuple(members[place].tolist()),
                    lambda when, here=bool(met[place]): here,
                )
                named = {step.name: step for step in exact_steps(rule, constants, element)}
                for step, values in steps.items():
                    value = np.broadcast_to(values, (ELEMENTS,))[place].item()
                    if math.isfinite(value) and step in named:
                        assert Fraction(value) == named[step].value, (step, seed, dtype, place, constants)
                        compared += 1
                assert {"output"} <= set(named)
    assert compared > 100 or name == "float16_widen"


def place_is_special(rule):
    """Rules from float32 have their special values in the first places."""
    return bool(stages_of(rule, Quotient))


@pytest.mark.parametrize(("operator", "name"), LINES, ids=lambda value: value)
def test_names_are_of_one_rule_and_words_tell_rules_apart(operator, name):
    rules = STAGED_RULES[operator]
    assert rules[name].name == name
    equal = [other for other, rule in rules.items() if rule == rules[name]]
    assert equal == [name]
    assert len({equation(rule) for rule in rules.values()}) == len(rules)


def test_stages_read_what_was_written():
    for rules in STAGED_RULES.values():
        for rule in rules.values():
            for leaf in leaves(rule):
                written: set[str] = set()
                for stage in leaf.stages:
                    of = getattr(stage, "of", ())
                    assert set([of] if isinstance(of, str) else of) <= written
                    written |= {stage.step} | ({stage.total} if hasattr(stage, "total") else set())
                assert leaf.output.of in written | {"input"}


def test_a_choice_by_sign_asks_the_value_itself():
    """A slope below zero is another one, whatever conditions are said to hold."""
    rule = STAGED_RULES["LEAKY_RELU"]["q31_half_up_half_away/float32"]
    assert isinstance(rule, Choice)
    assert isinstance(rule.when, NotNegative)
    side = Scale(np.float32(1), 0, -128, 127)
    constants = Constants((side,), side, -128, 127, alpha=np.float32(0.5))
    outputs = [int(exact_steps(rule, constants, ElementInput((x,)))[-1].value) for x in (-3, -1, 0, 1, 3)]
    assert outputs == [-1, 0, 0, 1, 3]  # the high half is rounded half up
    assert (
        Calculator(rule, constants)({"input_1": np.asarray([-3, -1, 0, 1, 3])}, lambda when: False)["output"].tolist()
        == outputs
    )


@pytest.mark.parametrize(
    ("operator", "name", "values", "wanted"),
    [
        # (1 + 2) / 2 and (-1 - 2) / 2: a tie that goes away from zero.
        ("AVERAGE_POOL_2D", "mean_half_away", (1, 2), 2),
        ("AVERAGE_POOL_2D", "mean_half_away", (-1, -2), -2),
        ("MAX_POOL_2D", "maximum/half_away", (-7, 3, 2), 3),
    ],
)
def test_reductions_by_hand(operator, name, values, wanted):
    side = Scale(np.float32(1), 0, -128, 127)
    constants = Constants((side,), side, -128, 127, count=len(values))
    steps = exact_steps(STAGED_RULES[operator][name], constants, ElementInput((), values))
    assert steps[-1].value == wanted


def test_forms_are_spelled_out_by_hand():
    """A field that is wrong would fool both readers: a few lines of the table once more."""
    q8 = STAGED_RULES["QUANTIZE"]["q8_half_up"]
    assert isinstance(q8, Staged)
    assert isinstance(q8.stages[0], Centered)
    assert q8.stages[1].form == FixedBits(8)
    side, to = Scale(np.float32(0.5), 0, -128, 127), Scale(np.float32(1), 3, -128, 127)
    steps = {s.name: s.value for s in exact_steps(q8, Constants((side,), to, -128, 127), ElementInput((5,)))}
    shown = ("centered", "multiplier_of_acc_scaled", "acc_scaled", "output")
    assert [steps[step] for step in shown] == [5, 128, 3, 6]
    widened = STAGED_RULES["DEQUANTIZE"]["float16_widen"]
    assert isinstance(leaves(widened)[0].output, RealOutput)
    assert exact_steps(widened, Constants((), None), ElementInput((1.5,)))[-1].value == Fraction(3, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rescaled("y", "x", RATIO, TwoRoundings("saturate32", "half_up", "half_up", 0, "wrap32")),
        lambda: Rescaled("y", "x", RATIO, TwoRoundings("wrap32", "floor", "half_up", 0, "wrap32")),
        lambda: Rescaled("y", "x", RATIO, FixedBits(8), count_in_multiplier=True),
        lambda: Output("y", "nothing", keep="saturate16"),
        lambda: Output("y", "wrap32", domain="input"),
    ],
)
def test_what_means_nothing_is_refused_with_a_reason(make):
    with pytest.raises(Meaningless, match=r": .{30,}"):
        make()
