"""The requantization rules that only other CPUs or older versions follow, beside `requantize.RULES`."""

from __future__ import annotations

from dataclasses import replace

from .requantize_types import RequantRule, ScaleProduct

__all__ = ["CPU_RULES", "CPU_RULES_INT16"]

_FLOOR_UP = "v = floor({left} * q / 2^31),  R = max(-shift, 1);  y = clamp(zy + ((v + 2^(R-1)) >> R))"
_WORDS: dict[ScaleProduct, str] = {"dd": "float64", "fd": "float32 then float64", "ff": "float32"}

CPU_RULES: dict[str, RequantRule] = {
    rule.name: rule
    for rule in (
        RequantRule(
            "float64-half_away-saturate",
            "dd",
            "float64_saturate",
            "half_away",
            "y = clamp(wrap32(zy + saturate32(round_half_away(float64(acc) * m)))),  m = s_x*s_w/s_y in float64",
        ),
        RequantRule(
            "float32-half_even-saturate",
            "ff",
            "float32_saturate",
            "half_even",
            "y = clamp(zy + saturate16(round_half_even(float32(acc) * m))),  m = s_x*s_w/s_y in float32",
        ),
        *(
            RequantRule(
                f"q31-floor-half_up/{product}",
                product,
                "q31_floor_up_wrap",
                "half_away",
                f"{_FLOOR_UP.format(left='wrap32(acc << (shift + R))')},  q and shift from s_x*s_w/s_y in "
                f"{_WORDS[product]}",
            )
            for product in ("fd", "dd")
        ),
        RequantRule(
            "q31-floor-half_up-saturate/ff",
            "ff",
            "q31_floor_up_saturate",
            "half_even",
            f"{_FLOOR_UP.format(left='saturate32(acc << (shift + R))')},  q and shift from s_x*s_w/s_y in float32",
        ),
        RequantRule(
            "q31-half_up-half_away-saturate/fd",
            "fd",
            "q31_up_away_saturate",
            "half_away",
            "v = (saturate32(acc << L) * q + 2^30) >> 31;  y = clamp(zy + round_half_away(v / 2^R)),  "
            "q and shift from s_x*s_w/s_y in float32 then float64",
        ),
    )
}

_SATURATING = CPU_RULES["float64-half_away-saturate"]

CPU_RULES_INT16: dict[str, RequantRule] = {
    _SATURATING.name: _SATURATING,
    f"{_SATURATING.name}/acc64": replace(
        _SATURATING,
        name=f"{_SATURATING.name}/acc64",
        equation=f"{_SATURATING.equation},  acc has 64 bits",
        acc_bits=64,
    ),
    **{name: rule for name, rule in CPU_RULES.items() if rule.form == "q31_floor_up_wrap"},
}
"""Those that layers with int16 activations could follow."""
