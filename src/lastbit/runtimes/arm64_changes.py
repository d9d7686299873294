"""What XNNPACK's delegate did otherwise on ARM64 in versions that came before LiteRT 2.3.0."""

from __future__ import annotations

from .base import Family, Rule
from .change import Change
from .derive import hybrid_rules
from .variant import key_of

__all__ = ["ARM64_CHANGES"]

_OLD_DELEGATE_IGNORING = "float32-half_even-saturate/weights_zero_point_ignored"
_I8MM = "litert-xnnpack-arm64"
_ARM64_RUNTIMES = (_I8MM, "litert-xnnpack-arm64-dotprod", "litert-xnnpack-arm64-neon")
_ARM64_SPANS = (("1.4.0", "2.0.2"),)
ARM64_CHANGES: tuple[Change, ...] = (
    Change(
        _ARM64_RUNTIMES,
        _ARM64_SPANS,
        "the delegate takes layers whose weights have a zero point and ignores it, where they are int8 (in hybrid "
        "layers those with one scale) or int4 with a scale for each unit: wrong results",
        {key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(_OLD_DELEGATE_IGNORING, Family.XNNPACK)},
        ignores=frozenset({"int4_zero_points", "hybrid_zero_point"}),
    ),
    Change(
        _ARM64_RUNTIMES,
        _ARM64_SPANS,
        "of int4 weights the delegate takes those with a scale for each unit only",
        declines=frozenset({"int4_one_scale"}),
    ),
    Change(
        (_I8MM,),
        _ARM64_SPANS,
        "the input of a hybrid layer is rounded half even in whole groups of eight values of a row, then half away; "
        "2.3.0 rounds all of it half away",
        hybrid_rules(Family.XNNPACK, "hybrid-kleidiai-unfused", "hybrid-kleidiai-unfused"),
    ),
)
