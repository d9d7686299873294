"""One property of one table: for every rule, vector = exact = the five steps = step tables = compiled code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lastbit.engines.jit.matmul import available
from lastbit.layers.differences import ends_of
from lastbit.model.types import DTYPES
from lastbit.rules.requantize.exact import exact_requantize
from lastbit.rules.requantize.fold import prepare_requantize, with_float_bias
from lastbit.rules.requantize.forms import Float
from lastbit.rules.requantize.step_tables import step_tables
from lastbit.rules.requantize.table import RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.verbs.explain.deciding_step import STEPS, RequantSide, five_steps

INT8, INT16 = (next(d for d in DTYPES.values() if d.name == name) for name in ("int8", "int16"))
COMPILED = available()

scales = st.one_of(
    st.integers(-20, 6).map(lambda k: np.float32(2.0**k)),
    st.builds(lambda n, k: np.float32(n * 2.0**-k), st.integers(1, 200), st.integers(0, 24)),
    st.floats(2.0**-20, 64, width=32).map(np.float32),
)


def accumulators(bits):
    """Around zero, at powers of two, anywhere, and the register's ends."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    near = st.builds(
        lambda k, d, s: s * (2**k) + d, st.integers(0, bits - 2), st.integers(-2, 2), st.sampled_from([-1, 1])
    )
    anywhere = st.one_of(st.integers(-70000, 70000), near, st.integers(low, high))
    ends = st.sampled_from([low, low + 1, -1, 0, 1, high - 1, high])
    return st.lists(st.one_of(anywhere, anywhere, ends).map(lambda v: max(low, min(high, v))), min_size=1, max_size=12)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
@settings(max_examples=50, deadline=None)
@given(
    sx=scales,
    sw=scales,
    sy=scales,
    zy=st.integers(-128, 127),
    activation=st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
    bias=st.integers(-(2**31), 2**31 - 1),
    data=st.data(),
)
def test_every_reader_says_the_same(rule, sx, sw, sy, zy, activation, bias, data):
    accs = data.draw(accumulators(rule.sums.bits))
    weights_scale = np.asarray([sw], np.float32)
    params = prepare_requantize(
        rule,
        input_scale=sx,
        weights_scale=weights_scale,
        output_scale=sy,
        output_zero_point=zy,
        activation=activation,
        dtype=INT16 if rule.sums.bits == 64 else INT8,
    )
    form = rule.requantize
    # Beyond, only a left shift would be left, and no kernel is claimed there.
    assume(isinstance(form, Float) or int(params.shift[0]) in form.shifts)
    params = with_float_bias(params, np.asarray([bias]), sx, weights_scale)
    steps = requantize(np.asarray(accs)[:, None], params)
    check_exact(params, accs, steps, sx, sw, sy, bias)
    outputs = steps["output"][:, 0].astype(np.int64)
    (table,) = step_tables(params, min(accs), max(accs), max_runs=1 << 12)
    if table is not None:
        assert table.at(np.asarray(accs)).tolist() == outputs.tolist()
    if COMPILED:
        found = compiled(params, accs, sx, weights_scale)
        assert found is None or found.tolist() == outputs.tolist()


def check_exact(params, accs, steps, sx, sw, sy, bias):
    own = 0 if params.bias is None else bias
    for i, acc in enumerate(accs):
        found = exact_requantize(
            params.rule,
            acc,
            input_scale=Fraction(float(sx)),
            weights_scale=Fraction(float(sw)),
            output_scale=Fraction(float(sy)),
            ends=ends_of(params),
            bias=own,
        )
        for step in found:
            if step.name in steps:
                assert Fraction(steps[step.name][i, 0].item()) == step.value, (acc, step)
            elif step.name in ("effective_scale", "multiplier", "shift"):
                assert Fraction(getattr(params, step.name)[0].item()) == step.value, step
        assert {"acc_scaled", "output"} <= {step.name for step in found}
        side = RequantSide.of(params, 0)
        # What explanations of differences are made of: five steps that every rule has.
        assert five_steps(acc, (float(sx), float(sw), float(sy)), (side,) * len(STEPS))[-1] == found[-1].value


def compiled(params, accs, sx, weights_scale):
    """What the engine's code makes of accumulators; None where it leaves a layer's shift to NumPy."""
    from lastbit.engines.jit import matmul as jit_matmul
    from lastbit.engines.jit.slots import form_slots

    slots = form_slots(params, sx, weights_scale)
    if slots is None:
        return None
    starts = np.asarray(accs) if params.bias is None else np.asarray(accs) - params.bias
    # Zero weights: the sums are what they begin with, and each unit has another one.
    weights = np.zeros((len(accs), 1), np.int8)
    slots = {name: np.broadcast_to(value, len(accs)) for name, value in slots.items()}
    epilogue = jit_matmul.Epilogue(params, slots)
    layer = jit_matmul.pack(weights, bias=starts, epilogue=epilogue, acc_bits=params.rule.sums.bits)
    return jit_matmul.dense(np.ones((1, 1), np.int8), layer)[0].astype(np.int64)
