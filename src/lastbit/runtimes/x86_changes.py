"""What XNNPACK's delegate did otherwise on x86-64 in versions that came before LiteRT 2.3.0."""

from __future__ import annotations

from .base import Family, Refusal, Refused, Rule
from .change import Change
from .variant import key_of

__all__ = ["X86_CHANGES"]

_IGNORED = "float32-half_even/weights_zero_point_ignored"
_OLD_DELEGATE = "float32-half_even-saturate"
_OLD_DELEGATE_28 = "float32-half_even-saturate/acc28"
_OLD_DELEGATE_IGNORING = "float32-half_even-saturate/weights_zero_point_ignored"
# Of int4 weights the delegate of most versions takes those with a scale for each unit only.
_DELEGATED_HYBRID = tuple(
    key_of("FULLY_CONNECTED", f"float32 x {variant}")
    for variant in ("int8 -> float32 per_tensor", "int8 -> float32 per_channel", "int4 -> float32 per_channel")
)
_AWAY = "float32_bias_half_away"
_FLOAT_CONVOLUTIONS = (
    key_of("DEPTHWISE_CONV_2D", "float32 unquantized"),
    *(key_of("CONV_2D", f"float32 unquantized{g}") for g in ("", " grouped")),
)
_ONE_TAP = Refused(Refusal.NOT_EXACT, "not exact: in which order windows of one tap are summed up is not modelled")
_INVERTED = "hybrid-qd8-scale_inverted-fma-bound_first"

X86_CHANGES: tuple[Change, ...] = (
    Change(
        ("litert-xnnpack", "litert-xnnpack-avx2"),
        (("1.4.0", "1.4.0"),),
        "MEAN and SUM are rounded half away, with the zero point in it",
        {key_of(op, f"{t}->{t}"): Rule(_AWAY, Family.XNNPACK) for op in ("MEAN", "SUM") for t in ("int8", "uint8")},
    ),
    Change(
        ("litert-xnnpack", "litert-xnnpack-avx2"),
        (("1.4.0", "1.4.0"),),
        "float32 convolutions of one tap are summed up in two lanes, or four without fused multiply-adds",
        dict.fromkeys(_FLOAT_CONVOLUTIONS, _ONE_TAP),
    ),
    Change(
        ("litert-xnnpack",),
        (("1.0.0", "2.1.4"), ("tf2.16.2", "tf2.21.0")),
        "the delegate takes int8 layers whose weights have a zero point and ignores it: wrong results",
        {key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(_IGNORED, Family.XNNPACK)},
    ),
    Change(
        ("litert-xnnpack",),
        (("tf2.12.1", "tf2.15.1"),),
        "the delegate adds the zero point in saturating 16-bit lanes and clamps last; it takes no per-channel layers, "
        "and none whose activation leaves one value; it ignores a zero point of int8 weights",
        {
            key_of("FULLY_CONNECTED", "int8 per_tensor"): Rule(_OLD_DELEGATE, Family.XNNPACK),
            key_of("FULLY_CONNECTED", "int8 per_channel"): None,
            key_of("FULLY_CONNECTED", "uint8 per_tensor"): Rule(_OLD_DELEGATE, Family.XNNPACK),
            key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(
                _OLD_DELEGATE_IGNORING, Family.XNNPACK
            ),
        },
        declines=frozenset({"one_value"}),
    ),
    Change(
        ("litert-xnnpack", "litert-xnnpack-avx2"),
        (("tf2.12.1", "tf2.12.1"),),
        "the delegate takes no uint8",
        {key_of("FULLY_CONNECTED", "uint8 per_tensor"): None},
    ),
    Change(
        ("litert-xnnpack",),
        (("tf2.16.2", "tf2.16.2"),),
        "the delegate takes per-channel layers without a bias only",
        declines=frozenset({"per_channel_bias"}),
    ),
    Change(
        ("litert-xnnpack", "litert-xnnpack-avx2"),
        (("1.4.0", "2.1.6"),),
        "the delegate ignores the input of convolutions with padding SAME and a stride larger than the window, where "
        "the windows end before the image does: the output is the bias, wrong results",
        ignores=frozenset({"input_between_strides"}),
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.0.0", "1.0.1"), ("tf2.17.1", "tf2.18.1")),
        "hybrid rows are multiplied with the inverse of the rounded scale; since 1.1 with 255 over the row's range",
        dict.fromkeys(_DELEGATED_HYBRID, Rule(_INVERTED, Family.XNNPACK)),
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.1.1", "1.3.0"), ("tf2.19.1", "tf2.19.1")),
        "hybrid rows with a minus infinity get the lowest zero point where weights are int4, and the output has the "
        "sign of the weight that meets it",
        {
            key_of("FULLY_CONNECTED", f"float32 x int4 -> float32 {granularity}"): Rule(
                "hybrid-qd8-nan_takes_low-fma-bound_first", Family.XNNPACK
            )
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.0.0", "1.0.1"), ("tf2.15.1", "tf2.18.1")),
        "float32 layers of fewer than 16 units are summed up in four lanes, without fused multiply-adds",
        {key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-fma-or-four_lanes", Family.XNNPACK)},
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("tf2.12.1", "tf2.12.1"),),
        "float32 layers take NaN to the lower bound",
        {key_of("FULLY_CONNECTED", "float32 unquantized"): Rule("float32-fma-bias_first-bound_first", Family.XNNPACK)},
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.0.0", "2.1.4"), ("tf2.16.2", "tf2.21.0")),
        "the delegate takes int8 layers whose weights have a zero point and ignores it: wrong results",
        {key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(_OLD_DELEGATE_IGNORING, Family.XNNPACK)},
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.0.0", "2.1.3"), ("tf2.18.1", "tf2.21.0")),
        "the delegate takes hybrid layers with one weights scale and int8 weights that have a zero point, and ignores "
        "it: wrong results",
        ignores=frozenset({"hybrid_zero_point"}),
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("tf2.17.1", "tf2.17.1"),),
        "the delegate fails to prepare hybrid layers of one unit with int8 weights",
        declines=frozenset({"hybrid_one_unit"}),
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.0.0", "1.2.0"), ("tf2.17.1", "tf2.19.1")),
        "the delegate fails to prepare hybrid layers with int4 weights of one scale and even depth",
    ),
    Change(
        ("litert-xnnpack", "litert-xnnpack-avx2"),
        (("1.3.0", "2.1.4"), ("tf2.20.0", "tf2.21.0")),
        "of int4 weights the delegate takes those with a scale for each unit only",
        declines=frozenset({"int4_one_scale"}),
    ),
    Change(
        ("litert-xnnpack",),
        (("1.3.0", "1.4.0"), ("tf2.20.0", "tf2.20.0")),
        "with int4 weights the delegate adds the zero point in saturating 16-bit lanes and clamps last",
        {
            key_of("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule(_OLD_DELEGATE_28, Family.XNNPACK)
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("1.3.0", "1.4.0"), ("tf2.20.0", "tf2.20.0")),
        "with int4 weights the delegate has the accumulator's upper 28 bits, adds the zero point in saturating 16-bit "
        "lanes and clamps last",
        {
            key_of("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule(_OLD_DELEGATE_28, Family.XNNPACK)
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("tf2.12.1", "tf2.15.1"),),
        "the delegate takes no hybrid and no per-channel layers, and none whose activation leaves one value; it "
        "ignores a zero point of int8 weights",
        {
            key_of("FULLY_CONNECTED", "int8 per_channel"): None,
            key_of("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(
                _OLD_DELEGATE_IGNORING, Family.XNNPACK
            ),
            **{
                key_of("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): None
                for weights in ("int8", "int4")
                for granularity in ("per_tensor", "per_channel")
            },
        },
        declines=frozenset({"one_value"}),
    ),
    Change(
        ("litert-xnnpack-avx2",),
        (("tf2.16.2", "tf2.16.2"),),
        "the delegate takes no hybrid layers, and of per-channel ones those without a bias only",
        {
            key_of("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): None
            for weights in ("int8", "int4")
            for granularity in ("per_tensor", "per_channel")
        },
        declines=frozenset({"per_channel_bias"}),
    ),
)
