"""Every combination of values in words: lines of NumPy and C that are run, LaTeX, and the five steps of explain."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lastbit.arith.fixedpoint import reduce_multiplier
from lastbit.layers.differences import ends_of
from lastbit.model.types import DTYPES
from lastbit.rules.requantize.exact import exact_requantize
from lastbit.rules.requantize.forms import Float
from lastbit.rules.requantize.latex import rounding_lines
from lastbit.rules.requantize.overflow import without_overflow
from lastbit.rules.requantize.table import RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.rules.requantize.words import last_tie, lines
from lastbit.verbs.explain.deciding_step import STEPS, RequantSide, find_cause, five_steps
from tests.support.every_form import (
    SX,
    SY,
    UNITS,
    accumulators,
    every_form,
    layer,
    legal_units,
    rules_of,
    weights_scales,
)

FORMS, _ = every_form()
WIDE = 2**29


def plain(form):
    """The form on an int32 accumulator, in a layer of ordinary factors, without zero point and clamp."""
    rule = next(rule for rule in rules_of(form) if rule.sums.bits == 32 and rule.scales.product == "ff")
    params = layer(rule, 0)
    int32 = next(d for d in DTYPES.values() if d.name == "int32")
    return replace(params, output_zero_point=0, activation_min=-WIDE, activation_max=WIDE, dtype=int32)


def ordinary(params):
    """Accumulators that leave no register: of 10,000 and more, those whose result is far from every end."""
    rng = np.random.default_rng(2)
    factor = np.broadcast_to(params.effective_scale.astype(float), (UNITS,))
    most = np.minimum(2000 / np.maximum(factor, 1e-9), 2.0**20)
    accs = rng.integers(-most, most + 1, (440, UNITS))
    halves = np.floor((rng.integers(-900, 900, (60, UNITS)) + 0.5) / factor)
    accs[:60] = np.clip(halves, -most, most)
    units = [u for u in legal_units(params) if factor[u] < 64 and most[u] >= 8]
    return accs, units


def test_the_numpy_line_of_each_form_is_what_the_form_computes():
    compared = 0
    for form in FORMS:
        params = plain(form)
        accs, units = ordinary(params)
        steps = requantize(accs, params)
        scales = weights_scales(form)
        s = np.float32(SX) * scales
        for unit in units:
            shift = int(np.broadcast_to(params.shift, UNITS)[unit])
            given = {
                "np": np, "acc": accs[:, unit], "zy": 0, "m": params.effective_scale[unit], "shift": shift,
                "q": int(np.broadcast_to(params.multiplier, UNITS)[unit]), "L": max(shift, 0), "R": max(-shift, 0),
                "s": s[unit], "bias": None if params.bias is None else params.bias[unit : unit + 1],
            }  # fmt: skip
            exec(lines(form)[0], given)
            wanted = steps["output"][:, unit]
            same = given["y"] == wanted
            if isinstance(form, Float) and (form.bias == "fused" or form.limit == "type"):
                # NumPy has no fused multiply-add: its float32 of a float64 is another one at ties. And a form that
                # limits to the type is compared within it.
                same |= np.abs(given["y"] - wanted) <= (form.bias == "fused")
            assert same.all(), (form, unit, lines(form)[0])
            compared += wanted.size
    assert compared > 10_000 * len(FORMS) / 3


C_NAMES = {"q16": "int64_t q16 = (q + 32768) >> 16;", "h": "int32_t h = 0;", "S": "int32_t S;", "v": ""}


def c_function(number, form):
    """A C function of the form's line: one unit's accumulators to outputs."""
    line = lines(form)[1]
    if isinstance(form, Float):
        kind = "float" if form.bits == 32 else "double"
        declared = "" if "float v =" in line else "double v; (void)v;"
        constants = f"{kind} m[1] = {{({kind})factor}}; float s = (float)s_real; int32_t bias[1] = {{bias_of}};"
    else:
        kind, declared = "int64_t", "int32_t h; int64_t v; (void)h; (void)v;"
        constants = "int32_t S = shift < 0 ? -shift : 1; int64_t q16 = (q + 32768) >> 16; (void)S; (void)q16;"
        line = line.replace("S = max(-shift, 1); ", "")
        if "h = 1 <<" in line:  # the first half of this fix is shown by its words only
            shifted = "shift + S" if form.least_right else "L"
            nudge = " + (1LL << 30)" if form.high == "half_up" else ""
            line = f"v = (int32_t)((((int64_t)acc << ({shifted})) * q{nudge}) >> 31); {line}"
        line = line.replace("(int64_t)(acc <<", "((int64_t)acc <<")
    accumulator = "int64_t" if not isinstance(form, Float) else "int32_t"
    return f"""
void f{number}(int64_t n, const int64_t *accs, int64_t *out, double factor, double s_real, int32_t bias_of,
               int64_t q, int32_t shift) {{
  const int unit = 0; int32_t zy = 0; int32_t L = shift > 0 ? shift : 0, R = shift < 0 ? -shift : 0;
  (void)unit; (void)L; (void)R; (void)factor; (void)s_real; (void)bias_of; (void)q;
  {constants}
  for (int64_t i = 0; i < n; ++i) {{ {accumulator} acc = ({accumulator})accs[i]; int64_t y; {declared}
    {line}
    out[i] = y; }}
}}"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_c_line_of_each_form_is_what_the_form_computes(tmp_path):
    source = tmp_path / "lines.c"
    source.write_text("#include <stdint.h>\n#include <math.h>\n" + "".join(map(c_function, range(len(FORMS)), FORMS)))
    library = tmp_path / "lines.so"
    # No fused multiply-adds but where the line says so, as the kernels are compiled.
    flags = ["-O1", "-std=gnu11", "-ffp-contract=off", "-shared", "-fPIC", "-w"]
    subprocess.run(["cc", *flags, str(source), "-o", str(library), "-lm"], check=True)
    functions = ctypes.CDLL(str(library))
    for number, form in enumerate(FORMS):
        params = plain(form)
        accs, units = ordinary(params)
        steps = requantize(accs, params)
        s = np.float32(SX) * weights_scales(form)
        for unit in units[::3]:
            column, out = np.ascontiguousarray(accs[:, unit]), np.zeros(len(accs), np.int64)
            getattr(functions, f"f{number}")(
                ctypes.c_int64(len(accs)), column.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_double(float(params.effective_scale[unit])), ctypes.c_double(float(s[unit])),
                ctypes.c_int32(0 if params.bias is None else int(params.bias[unit])),
                ctypes.c_int64(int(np.broadcast_to(params.multiplier, UNITS)[unit])),
                ctypes.c_int32(int(np.broadcast_to(params.shift, UNITS)[unit])),
            )  # fmt: skip
            assert np.array_equal(out, steps["output"][:, unit].astype(np.int64)), (form, unit, lines(form)[1])


def exact_of(params, acc, unit):
    scales = (SX, weights_scales(params.rule.requantize)[unit], SY)
    input_scale, weights_scale, output_scale = (Fraction(float(scale)) for scale in scales)
    return exact_requantize(
        params.rule, acc, input_scale=input_scale, weights_scale=weights_scale, output_scale=output_scale,
        ends=ends_of(params), bias=0 if params.bias is None else int(params.bias[unit]),
    )  # fmt: skip


def test_latex_of_each_form_has_its_numbers_and_its_tie_rule():
    rng = np.random.default_rng(8)
    words = {"half_up": "half up", "half_away": "half away", "half_even": "half even"}
    for number, form in enumerate(FORMS):
        for rule in rules_of(form):
            if rule.bounds != "half_away" or rule.scales.product != "dd":
                continue
            params = layer(rule, number)
            accs = accumulators(params, rng)
            unit = int(rng.choice(legal_units(params)))
            acc = int(accs[int(rng.integers(0, 180)), unit])
            steps = {step.name: step for step in exact_of(params, acc, unit)}
            text = "\n".join(rounding_lines(rule, steps, ends_of(params)))
            assert f"= {int(steps['acc_scaled'].value)} " in text, (rule, text)
            assert words[last_tie(form)] in text
            assert text.count("{") == text.count("}")


def test_five_steps_of_each_form_end_at_its_output_and_the_cause_decides():
    rng = np.random.default_rng(9)
    causes = set()
    for number, form in enumerate(FORMS):
        for rule in rules_of(form):
            if rule.bounds == "half_even" or rule.sums.bits == 28:
                continue
            params = layer(rule, number)
            name = "q31-half_up-half_away/dd" if rule.sums.bits == 32 else "q15-half_up/fd"
            other = layer(RULES[name], number)
            accs = accumulators(params, rng)[:180]
            ours, theirs = (requantize(accs, p)["output"].astype(np.int64) for p in (params, other))
            units = np.intersect1d(legal_units(params), legal_units(other))
            differing = np.argwhere((ours != theirs) & np.isin(np.arange(UNITS), units))
            for row, unit in [*differing[:2], (0, units[0])]:
                acc = int(accs[row, unit])
                scales = float(SX), float(weights_scales(form)[unit]), float(SY)
                here, there = (RequantSide.of(p, int(unit)) for p in (params, other))
                assert five_steps(acc, scales, (here,) * 5)[-1] == ours[row, unit], (rule, acc)
                if ours[row, unit] != theirs[row, unit]:
                    cause = find_cause(acc, scales, here, there)
                    assert (cause.here[-1], cause.there[-1]) == (ours[row, unit], theirs[row, unit])
                    causes.add(cause.step)
                    assert all(here.way(step) for step in STEPS)
    assert causes == set(STEPS)


def test_forms_that_differ_in_overflow_only_are_one_form_without_it():
    for form in FORMS:
        params, one = plain(form), plain(without_overflow(form))
        accs, units = ordinary(params)
        if isinstance(form, Float) and form.limit == "type":
            continue  # the layer here is an int32, which has no such limit
        found = [requantize(accs, p)["output"][:, units] for p in (params, one)]
        assert np.array_equal(*found), form
    kinds = {without_overflow(form) for form in FORMS}
    assert len(kinds) < len(FORMS) / 5
    assert reduce_multiplier(0) == 0
