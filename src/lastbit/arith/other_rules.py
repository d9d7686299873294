"""The requantization rules of runtimes other than LiteRT and TensorFlow Lite Micro, beside `requantize.RULES`."""

from __future__ import annotations

from .cpu_rules import CPU_RULES, CPU_RULES_INT16
from .requantize import RULES, RequantRule
from .rules_int16 import RULES_INT16

__all__ = ["EVERY_RULE", "EVERY_RULE_INT16", "OTHER_RULES", "OTHER_RULES_INT16"]

OTHER_RULES: dict[str, RequantRule] = {
    rule.name: rule
    for rule in (
        RequantRule(
            "q31-single_wrap-half_up/dd",
            "dd",
            "q31_single_wrap",
            "half_away",
            "v = wrap32(acc * q >> (30-shift));  y = clamp(zy + (wrap32(v + 1) >> 1)),  "
            "q and shift from s_x*s_w/s_y in float64",
        ),
        RequantRule(
            "float32-clip-half_even",
            "ff",
            "float32_clip",
            "half_even_then_zero_point",
            "y = clamp(zy + round_half_even(max(min(float32(acc) * m, qmax - zy), qmin - zy))),  "
            "m = s_x*s_w/s_y in float32",
        ),
        RequantRule(
            "float32-bias_fused-half_even",
            "ff",
            "float32_bias_fused",
            "half_away",
            "y = clamp(zy + round_half_even(fma(b, 1/s, float32(acc - bias)) * m)),  b = float32(bias) * s,  "
            "s = s_x*s_w,  m = s/s_y, all float32",
        ),
        # What fbgemm's source says of the per-tensor kernel; no build that was run does it.
        RequantRule(
            "float32-bias_by_reciprocal-half_even",
            "ff",
            "float32_bias_reciprocal",
            "half_away",
            "y = clamp(zy + round_half_even((float32(acc - bias) + b * (1/s)) * m)),  b = float32(bias) * s,  "
            "s = s_x*s_w,  m = s/s_y, all float32",
        ),
        RequantRule(
            "float32-bias_by_division-half_even",
            "ff",
            "float32_bias_division",
            "half_away",
            "y = clamp(zy + round_half_even((float32(acc - bias) + b / s) * m)),  b = float32(bias) * s,  "
            "s = s_x*s_w,  m = s/s_y, all float32",
        ),
    )
}

EVERY_RULE: dict[str, RequantRule] = {**RULES, **OTHER_RULES, **CPU_RULES}
"""All rules of 8-bit layers together: rivals of each other."""

OTHER_RULES_INT16: dict[str, RequantRule] = {
    rule.name: rule
    for rule in (
        RequantRule(
            "q15_wrap-half_up/dd",
            "dd",
            "q15_wrap",
            "half_away",
            "v = wrap32(acc * q15 >> (14-shift));  y = clamp(zy + (wrap32(v + 1) >> 1)),  "
            "q15 = min((q + 2^15) >> 16, 0x7fff),  q and shift from s_x*s_w/s_y in float64,  acc has 64 bits",
            acc_bits=64,
        ),
    )
}

EVERY_RULE_INT16: dict[str, RequantRule] = {**RULES_INT16, **OTHER_RULES_INT16, **CPU_RULES_INT16}
"""The same for int16 activations."""
