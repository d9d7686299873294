"""Every rule of requantization in C gives what the definition gives, on ties, bounds and ends of the register."""

import contextlib
import subprocess

import numpy as np
import pytest

from lab.reach.c_programs import COMPILERS, STRICT, compiler
from lastbit.model.types import INT8, INT16
from lastbit.rules.base import IntegerRule, Scales, Sums, Unsupported
from lastbit.rules.requantize.fold import prepare_requantize
from lastbit.rules.requantize.forms import Float, Meaningless
from lastbit.rules.requantize.table import RULES
from lastbit.rules.requantize.vector import requantize
from lastbit.verbs.export.c99.helpers import HELPERS
from lastbit.verbs.export.c99.library import Library
from lastbit.verbs.export.c99.requantize import requantizer
from lastbit.verbs.export.c99.text import array, integer
from lastbit.verbs.export.rivals import candidates
from tests.support.every_form import every_form

SCALES = np.asarray([0.5, 0.25, 2.0**-9, 0.0019, 3.7e-4, 0.83, 1.9, 2.0**-33], np.float32)
WRITTEN = {
    name: rule
    for name, rule in RULES.items()
    if not isinstance(rule.requantize, Float) or rule.requantize.bias == "in_acc"
}


def params_of(rule, dtype):
    return prepare_requantize(
        rule,
        input_scale=np.float32(1),
        weights_scale=SCALES,
        output_scale=np.float32(1),
        output_zero_point=-7 if dtype is INT8 else 0,
        activation="NONE" if dtype is INT8 else "RELU",
        dtype=dtype,
    )


def every_form_once():
    """Every combination of values, for 32 bits and where it allows them for 64."""
    found = []
    for form in every_form()[0]:
        if isinstance(form, Float) and form.bias != "in_acc":
            continue
        for bits in (32, 64):
            with contextlib.suppress(Meaningless):
                rule = IntegerRule(
                    "unnamed", Sums(bits), Scales("ff" if isinstance(form, Float) else "dd"), form, "half_away"
                )
                found.append(params_of(rule, INT8))
    return found


def accumulators(params):
    if params.rule.name == "unnamed":
        return candidates(params, len(SCALES), np.random.default_rng(21))[::121]
    return candidates(params, len(SCALES), np.random.default_rng(20))[:: 5 if params.dtype is INT8 else 7]


def program(chosen):
    """One program that calls every rule's function on its accumulators and prints how many are wrong."""
    library, calls, data = Library(), [], []
    for number, params in enumerate(chosen):
        acc = accumulators(params)
        made = requantizer(params, library)
        wanted = requantize(acc, params)["output"]
        one, two = made.names
        pieces = {"acc": (np.int64, acc), "wanted": (np.int32, wanted)}
        pieces |= {one: (made.factors[0].dtype, made.factors[0]), two: (np.int32, made.factors[1])}
        data += [
            array(f"{name}_{number}", np.dtype(kind), values.astype(kind)) for name, (kind, values) in pieces.items()
        ]
        ends = f"{integer(params.activation_min)}, {integer(params.activation_max)}"
        data.append(
            f"static const {made.structure} q_{number} = {{{one}_{number}, {two}_{number}, 0, 0, 0, "
            f"{params.output_zero_point}, {ends}}};"
        )
        cast = "" if params.rule.sums.bits == 64 else "(int32_t)"
        channels = made.factors[0].size
        data.append(
            f"static int32_t wrong_{number}(void) {{\n  int32_t bad = 0;\n"
            f"  for (int32_t i = 0; i < {acc.size}; i++) {{\n"
            f"    bad += {made.function}({cast}acc_{number}[i], {one}_{number}[i % {channels}], "
            f"{two}_{number}[i % {channels}], &q_{number}) != wanted_{number}[i];\n  }}\n  return bad;\n}}"
        )
        calls.append(f'  printf("%ld\\n", (long)wrong_{number}());')
    head = ["#include <stdint.h>", "#include <stdio.h>", *library.parts, *data]
    return "\n".join([*head, "int main(void) {", *calls, "  return 0;\n}", ""])


@pytest.mark.parametrize("name", ["gcc", "clang", "g++"])
def test_every_rule_gives_what_the_definition_gives(name, tmp_path):
    if (why := compiler(name)) is not None:
        pytest.skip(why)
    chosen = [params_of(rule, dtype) for rule in WRITTEN.values() for dtype in (INT8, INT16)]
    chosen += every_form_once()
    assert len(chosen) > 200
    (tmp_path / "rules.c").write_text(program(chosen), encoding="ascii")
    undefined = ("-fsanitize=undefined", "-fno-sanitize-recover=all") if name == "gcc" else ()
    command = [*COMPILERS[name], *STRICT, "-O1", *undefined, str(tmp_path / "rules.c"), "-o", str(tmp_path / "rules")]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "rules"], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["0"] * len(chosen)
    assert sum(accumulators(params).size for params in chosen) > 30_000


def test_a_rule_that_c_does_not_have_is_refused_and_not_replaced():
    rest = {name: rule for name, rule in RULES.items() if name not in WRITTEN}
    assert rest
    for rule in rest.values():
        with pytest.raises(Unsupported, match="bias"):
            requantizer(params_of(rule, INT8), Library())


FUSED = """\
#include <math.h>
#include <stdint.h>
#include <stdio.h>
HELPER
static uint32_t state = 1;
static float drawn(int32_t few) {
  state = state * 1664525u + 1013904223u;
  const int32_t bits = (int32_t)(state >> 8) & (few ? 0xff0007 : 0xffffff);
  state = state * 1664525u + 1013904223u;
  return (state >> 31 ? -1.0f : 1.0f) * ldexpf((float)(bits | 0x800000), (int32_t)((state >> 16) % 40u) - 44);
}
int main(void) {
  int32_t wrong = 0, fused = 0;
  for (int32_t i = 0; i < 1000000; i++) {
    /* Every fourth: 1 - tiny on the middle between two floats, which a double takes for the middle itself. */
    const int32_t middle = i % 4 == 3;
    const float tiny = ldexpf((float)(i % 61 + 1), -23);
    const float a = middle ? 1.0f + tiny : drawn(i % 2), b = middle ? 1.0f - tiny : drawn(i % 2), product = a * b;
    const float sum = i % 3 ? drawn(i % 2) : -product + (i % 5 ? ldexpf(product, -24) : 0.0f);
    const float c = middle ? (i % 8 == 3 ? 1.0f : -1.0f) * (16777216.0f + (float)(2 * (i % 1000))) : sum;
    volatile float rounded = product;
    rounded = rounded + c;
    wrong += fused_multiply_add(a, b, c) == fmaf(a, b, c) ? 0 : 1;
    fused += rounded == fmaf(a, b, c) ? 0 : 1;
  }
  printf("%d %d\\n", (int)wrong, fused > 100000);
  return 0;
}
"""


def test_the_fused_product_is_that_of_the_c_library(tmp_path):
    if (why := compiler("gcc")) is not None:
        pytest.skip(why)
    path = tmp_path / "fused.c"
    helpers = "\n".join(HELPERS[name].text for name in ("rounded_sum", "fused_multiply_add"))
    path.write_text(FUSED.replace("HELPER", helpers), encoding="ascii")
    command = [
        *COMPILERS["gcc"],
        "-D_GNU_SOURCE",
        "-O2",
        "-ffp-contract=off",
        str(path),
        "-o",
        str(tmp_path / "fused"),
        "-lm",
    ]
    subprocess.run(command, check=True)
    assert subprocess.run([tmp_path / "fused"], check=True, capture_output=True, text=True).stdout == "0 1\n"
