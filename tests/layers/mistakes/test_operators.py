"""Mistakes in operators without weights: what plain NumPy code with them prints."""

import numpy as np
import pytest

from bench.user_layers import model_of
from lab.cases.operators import Case, Operand
from lastbit.layers.mistakes import STAGES
from lastbit.layers.mistakes.operators import (
    OPERATOR_MISTAKES,
    OPERATOR_NAMES,
    operator_mistakes,
    output_of_operator,
)
from lastbit.model.tflite import load

RNG = np.random.default_rng(6)
A, B = (RNG.integers(-128, 128, (50, 40)).astype(np.int8) for _ in range(2))
IMAGES = RNG.integers(-128, 128, (3, 8, 8, 3)).astype(np.int8)
LOGITS = RNG.integers(-128, 128, (60, 10)).astype(np.int8)


def one_operator(name, outputs=(1, 40), scale=0.12, zero=3, **options):
    operands = [Operand((1, 40), "int8", s, z) for s, z in ((0.05, -7), (0.081, 20))]
    operands = operands[: 2 if name in ("SUB", "MUL") else 1]
    made = Case(name, operands, [Operand(outputs, "int8", scale, zero)], [], options, 2)
    return load(made.content())


def made(model, inputs, *names):
    return output_of_operator(model, model.operators[0], inputs, names)


def stored(value):
    return np.clip(value, -128, 127).astype(np.int8)


def of_add():
    (sa, za), (sb, zb), so, zo = (np.float32(0.05), -7), (np.float32(0.081), 20), np.float64(np.float32(0.12)), 3
    a, b = A.astype(np.float64), B.astype(np.float64)
    left, right = (a - za) * np.float64(sa), (b - zb) * np.float64(sb)
    real = (left + right) / so
    rounded = np.trunc(real + np.copysign(0.5, real))
    return {
        (): stored(rounded + zo),
        ("rounding_truncated",): stored(np.trunc(real) + zo),
        ("rounding_floor",): stored(np.floor(real) + zo),
        ("output_wraps",): (rounded + zo).astype(np.int64).astype(np.int8),
        ("add_without_rescaling",): stored(a + b),
        ("scales_ignored",): stored((a - za) + (b - zb) + zo),
        ("output_zero_point_missing",): stored(rounded),
        ("each_operand_rounded", "ties_half_even"): stored(np.rint(left / so) + np.rint(right / so) + zo),
        ("second_zero_point_missing", "rounding_floor"): stored(
            np.floor((left + b * np.float64(sb)) / so) + zo
        ),
    }  # fmt: skip


@pytest.mark.parametrize("names", list(of_add()), ids=" ".join)
def test_an_add_is_what_numpy_prints(names):
    np.testing.assert_array_equal(made(model_of("add"), [A, B], *names), of_add()[names])


def test_a_pool_is_what_loops_print():
    model = model_of("pool")
    seen = [
        [IMAGES[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].astype(float).reshape(3, -1, 3) for j in range(4)]
        for i in range(4)
    ]
    total = np.stack([np.stack([part.sum(axis=1) for part in row], 1) for row in seen], 1)
    count = np.asarray([[part.shape[1] for part in row] for row in seen])[None, :, :, None]
    np.testing.assert_array_equal(
        made(model, [IMAGES], "divided_by_full_window", "rounding_floor"), stored(np.floor(total / 9))
    )
    np.testing.assert_array_equal(made(model, [IMAGES], "rounding_truncated"), stored(np.trunc(total / count)))
    assert (made(model, [IMAGES], "padding_same_wrong_side") != made(model, [IMAGES])).mean() > 0.5


def test_a_softmax_is_what_numpy_prints():
    model = model_of("softmax")
    powers = np.exp((LOGITS.astype(np.float64) - 5) * np.float64(np.float32(0.07)))
    share = powers / powers.sum(axis=1, keepdims=True)
    for names, value in {
        ("rounding_truncated",): np.trunc(share * 256) - 128,
        ("softmax_times_255",): np.rint(share * 255) - 128,
        ("output_zero_point_missing",): np.rint(share * 256),
    }.items():
        np.testing.assert_array_equal(made(model, [LOGITS], *names), stored(value), err_msg=str(names))


def test_every_mistake_changes_some_output():
    silent = dict.fromkeys(OPERATOR_MISTAKES)
    pool = {"filter_height": 3, "filter_width": 3, "stride_h": 2, "stride_w": 2, "padding": "SAME"}
    biggest = Case(
        "MAX_POOL_2D", [Operand((1, 8, 8, 3), "int8", 0.09, -20)], [Operand((1, 4, 4, 3), "int8", 0.09, -20)], [],
        {**pool, "fused_activation_function": "RELU"}, 2,
    )  # fmt: skip
    dark = np.minimum(IMAGES, -90)
    for model, inputs in (
        (model_of("add"), [A, B]),
        (model_of("pool"), [IMAGES]),
        (model_of("pool"), [IMAGES // 16]),
        (load(biggest.content()), [dark]),
        (one_operator("SOFTMAX", scale=1 / 256, zero=-128, beta=2.0), [A]),
        (one_operator("MUL", scale=0.05, fused_activation_function="NONE"), [A, B]),
    ):
        right = made(model, inputs)
        for mistake in operator_mistakes(model, model.operators[0]):
            if (made(model, inputs, mistake.name) != right).any():
                silent.pop(mistake.name, None)
    assert not silent


def test_they_are_told_like_those_of_layers():
    for name, entry in OPERATOR_MISTAKES.items():
        mistake = entry.mistake
        assert mistake.name == name
        assert mistake.stage in STAGES
        assert set(entry.operators) <= set(OPERATOR_NAMES)
        assert not mistake.why.endswith(".")
        assert "\n" not in mistake.why + mistake.fix_numpy + mistake.fix_c
    model = model_of("fc")
    assert operator_mistakes(model, model.operators[0]) == []
