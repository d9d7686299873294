"""A rule in words: its equation, its lines in NumPy and in C, its steps in sentences."""

from __future__ import annotations

from typing import assert_never

from ..base import (
    ChannelGroups,
    Either,
    ElementGroups,
    IntegerRule,
    OneRow,
    Pairs,
    ScaleProduct,
    Scales,
    ThreeByThree,
    Whole,
    Window,
)
from .forms import Add, Float, OneRounding, Requantize, Tie, TwoRoundings

__all__ = [
    "choice_equation",
    "equation",
    "first_rounding_text",
    "last_rounding_text",
    "last_tie",
    "lines",
    "multiplier_text",
    "only_tie",
    "scale_text",
]

_FACTORS: dict[ScaleProduct, str] = {
    "dd": "s_x*s_w/s_y in float64",
    "fd": "s_x*s_w/s_y in float32 then float64",
    "ff": "s_x*s_w/s_y in float32",
    "given": "the caller",
}


def equation(rule: IntegerRule) -> str:
    """The rule in one line of text."""
    parts = []
    match rule.sums.products:
        case Whole():
            pass
        case Pairs() as pairs:
            parts.append(_pairs_text(pairs))
        case never:
            assert_never(never)
    if rule.sums.weights_zero_point == "ignored":
        parts.append("acc = sum (x - zx) * w + bias, as if zw were 0")
    match rule.scales.weights_scale:
        case "own":
            pass
        case "first":
            parts.append("s_w = the first unit's, for all units")
        case "zero":
            parts.append("s_w = 0 where weights have more than one scale")
        case "one":
            parts.append("s_w = 1 where weights have more than one scale")
        case never_scale:
            assert_never(never_scale)
    if rule.sums.bits < 32:
        parts.append(f"acc wraps to {rule.sums.bits} bits")
    wide = ",  acc has 64 bits" if rule.sums.bits == 64 else ""
    return ";  ".join([*parts, f"{_requantize_text(rule)}{wide}"])


def _pairs_text(pairs: Pairs) -> str:
    apart = "" if pairs.partner == 1 else f" {pairs.partner} places apart"
    whole = "" if pairs.last_group == "paired" else f" in whole groups of {2 * pairs.partner}"
    added = f"{pairs.overflow}(x0*w0 + x1*w1)"
    return f"acc = sum over pairs{apart}{whole} of {added}, x as uint8, w as int8, then zero points and bias"


def choice_equation(choice: Either) -> str:
    """Both rules of a choice in one line."""
    match choice.when:
        case OneRow(units, depth):
            when, rest = f"one row, {units} units or more and depth {depth} or more", "else"
        case ChannelGroups(channels):
            when, rest = f"whole groups of {channels} channels", "the rest"
        case ElementGroups(elements):
            when, rest = f"whole groups of {elements} elements of a sample", "the rest"
        case Window(taps, or_pixels):
            when = "where every output channel sees one input channel that no other sees and the window has "
            pixels = ", and where it has one tap, with stride 1 and without groups" if or_pixels else ""
            when, rest = f"{when}{taps} taps or fewer{pixels}", "else"
        case ThreeByThree(channels):
            when = "3 x 3 taps, strides of 1 or 2, padding of 0 or 1, one output for each channel, whole groups of "
            when, rest = f"{when}{channels} channels, factors below 1", "else"
        case never:
            assert_never(never)
    return f"{when}: {equation(choice.then)};  {rest}: {equation(choice.otherwise)}"


def _requantize_text(rule: IntegerRule) -> str:
    form, fixed = rule.requantize, f"q and shift from {_FACTORS[rule.scales.product]}"
    match form:
        case Float():
            return _float_text(form, rule.scales.product)
        case TwoRoundings():
            return f"{_two_text(form)},  {fixed}"
        case OneRounding():
            return f"{_one_text(form)},  {fixed}"
        case never:
            assert_never(never)


def _float_text(form: Float, scale_product: ScaleProduct) -> str:
    kind = f"float{form.bits}"
    match form.bias:
        case "in_acc":
            product = f"{kind}(acc) * m"
        case "fused":
            product = f"fma(b, 1/s, {kind}(acc - bias)) * m"
        case "reciprocal":
            product = f"({kind}(acc - bias) + b * (1/s)) * m"
        case "division":
            product = f"({kind}(acc - bias) + b / s) * m"
        case never:
            assert_never(never)
    match form.limit:
        case "none":
            pass
        case "upper_bound":
            product = f"min({product}, hi - zy)"
        case "type":
            product = f"max(min({product}, qmax - zy), qmin - zy)"
        case never_limit:
            assert_never(never_limit)
    rounded = f"round_{form.tie}({product})"
    if form.out_of_range in ("saturate32", "saturate16"):
        rounded = f"{form.out_of_range}({rounded})"
    usual: Add = "wide"
    match form.out_of_range:
        case "int32_min":
            usual = "wrap32" if form.bias == "in_acc" else "wide"
        case "saturate16":
            usual = "saturate16"
        case "saturate32" | "never":
            pass
        case never_range:
            assert_never(never_range)
    total = _sum_text(rounded, form.add, usual)
    match form.clamp_order:
        case "bounds":
            output = f"y = clamp({total})"
        case "type_then_low":
            output = f"y = max(lo, saturate({total}))"
        case never_order:
            assert_never(never_order)
    made = _FACTORS[scale_product]
    if form.bias != "in_acc":
        how = "all float32" if scale_product == "ff" else f"{made.removeprefix('s_x*s_w/s_y ')}, else all float32"
        return f"{output},  b = float32(bias) * s,  s = s_x*s_w,  m = s/s_y, {how}"
    same = (form.bits == 32) == (scale_product == "ff")
    return f"{output},  m = {made if same else f'{kind}({made})'}"


def _sum_text(value: str, add: Add, usual: Add) -> str:
    """A value plus the zero point; its register where that is not the usual one."""
    return f"zy + {value}" if add == usual else f"{add}(zy + {value})"


def _two_text(form: TwoRoundings) -> str:
    left = "L" if form.least_right == 0 else "(shift + R)"
    shifted = f"{form.left}(acc << {left})"
    match form.high:
        case "half_up":
            high = f"({shifted} * q + 2^30) >> 31"
        case "floor":
            high = f"floor({shifted} * q / 2^31)"
        case never:
            assert_never(never)
    right = "" if form.least_right == 0 else ",  R = max(-shift, 1)"
    # With a right shift of one at least, no sum can wrap.
    usual: Add = "wrap32" if form.least_right == 0 else form.add
    match form.tie:
        case "half_up":
            rounded = "((v + 2^(R-1)) >> R)"
        case "half_away" | "half_even":
            rounded = f"round_{form.tie}(v / 2^R)"
        case never_tie:
            assert_never(never_tie)
    return f"v = {high}{right};  y = clamp({_sum_text(rounded, form.add, usual)})"


def _one_text(form: OneRounding) -> str:
    whole, q = form.multiplier_bits, "q" if form.multiplier_bits == 31 else "q15"
    made = "" if whole == 31 else ",  q15 = min((q + 2^15) >> 16, 0x7fff)"
    usual_counts = "modulo_64" if whole == 15 and not form.kept_bit else "plain"
    if form.counts != usual_counts:
        made += ",  shift counts modulo 64" if form.counts == "modulo_64" else f",  shift <= {whole}"
    if form.kept_bit:
        total = _sum_text("(wrap32(v + 1) >> 1)", form.add, "wrap32")
        return f"v = wrap32(acc * {q} >> ({whole - 1}-shift));  y = clamp({total}){made}"
    rounded = f"((acc * {q} + 2^({whole - 1}-shift)) >> ({whole}-shift))"
    match form.result:
        case "wide":
            pass
        case "wrap32":
            rounded = f"wrap32{rounded}" if form.add == "wide" else rounded
        case never:
            assert_never(never)
    return f"y = clamp({_sum_text(rounded, form.add, 'wrap32')}){made}"


def scale_text(scales: Scales) -> str:
    """How the effective scale is calculated."""
    taken = "" if scales.weights_scale == "own" else f", with the weights scale {scales.weights_scale}"
    match scales.product:
        case "dd":
            return f"all float64{taken}"
        case "fd":
            return f"product float32, quotient float64{taken}"
        case "ff":
            return f"all float32{taken}"
        case "given":
            return f"a given multiplier and shift{taken}"
        case never:
            assert_never(never)


def multiplier_text(form: Requantize) -> str:
    """What the accumulator is multiplied with."""
    match form:
        case Float():
            return f"float{form.bits} factor"
        case TwoRoundings():
            return "31-bit multiplier and shift"
        case OneRounding():
            return f"{form.multiplier_bits}-bit multiplier and shift"
        case never:
            assert_never(never)


def first_rounding_text(form: Requantize) -> str:
    """What is rounded before the last rounding."""
    match form:
        case Float(bias="in_acc"):
            rounded = "product" if form.bits == 64 else "acc and product"
            return f"{rounded} rounded to float{form.bits}, half_even"
        case Float():
            way = "bias added in one fused step" if form.bias == "fused" else f"bias added in float{form.bits}"
            return f"{way}, sum and product rounded to float{form.bits}, half_even"
        case TwoRoundings(high="half_up"):
            return "high_mul rounded half_up"
        case TwoRoundings():
            return "high_mul rounded down"
        case OneRounding():
            return "exact product"
        case never:
            assert_never(never)


def last_rounding_text(form: Requantize) -> str:
    """The tie rule of the last rounding."""
    return f"rounds {last_tie(form)}"


def last_tie(form: Requantize) -> Tie:
    """The tie rule of the last rounding."""
    match form:
        case Float() | TwoRoundings():
            return form.tie
        case OneRounding():
            return "half_up"
        case never:
            assert_never(never)


def only_tie(form: Requantize) -> Tie | None:
    """The same for the forms that round an integer or a float once, else None."""
    return None if isinstance(form, TwoRoundings) and form.high == "half_up" else last_tie(form)


def lines(form: Requantize) -> tuple[str, str]:
    """The right line in NumPy and in C, for values that leave no register.

    L and R are the left and the right shift, max(shift, 0) and max(-shift, 0); `1 << R >> 1` is half of 2^R, and 0
    where R is 0.
    """
    match form:
        case Float():
            return _FLOAT_LINES[form.bits, form.tie] if form.bias == "in_acc" else _bias_lines(form)
        case TwoRoundings(high="floor", least_right=1, tie="half_up"):
            return _one_line(31)  # rounded down, and then half up by one bit more: one rounding
        case TwoRoundings():
            return _two_lines(form)
        case OneRounding():
            return _one_line(form.multiplier_bits)
        case never:
            assert_never(never)


# What the accumulator is in NumPy and in C for a float of so many bits.
_FLOAT_LINES: dict[tuple[int, Tie], tuple[str, str]] = {
    (32, "half_even"): (
        "y = zy + np.rint(acc.astype(np.float32) * m)  # m is float32; ties to even",
        "y = zy + (int32_t)rintf((float)acc * m[unit]);  /* ties to even */",
    ),
    (32, "half_away"): (
        "v = acc.astype(np.float32) * m; y = zy + np.trunc(v + np.copysign(np.float64(0.5), v))  # m is float32",
        "y = zy + (int32_t)roundf((float)acc * m[unit]);  /* ties away from zero */",
    ),
    (32, "half_up"): (
        "v = acc.astype(np.float32) * m; y = zy + np.floor(v + np.float64(0.5))  # m is float32; ties up",
        "y = zy + (int32_t)floor((double)((float)acc * m[unit]) + 0.5);  /* ties up */",
    ),
    (64, "half_even"): (
        "y = zy + np.rint(acc * m)  # float64; ties to even",
        "y = zy + (int32_t)rint((double)acc * m[unit]);  /* ties to even */",
    ),
    (64, "half_away"): (
        "v = acc * m; y = zy + np.trunc(v + np.copysign(0.5, v))  # float64; ties away from zero",
        "y = zy + (int32_t)round((double)acc * m[unit]);  /* ties away from zero */",
    ),
    (64, "half_up"): (
        "v = acc * m; y = zy + np.floor(v) + (v - np.floor(v) >= 0.5)  # float64; ties up",
        "v = (double)acc * m[unit]; y = zy + (int32_t)floor(v) + (v - floor(v) >= 0.5);  /* ties up */",
    ),
}


def _bias_lines(form: Float) -> tuple[str, str]:
    """Those of forms that add the bias as a real value; s is s_x * s_w of the unit."""
    rounded, rounded_c = {
        "half_even": ("np.rint(v)", "rintf(v)"),
        "half_away": ("np.trunc(v + np.copysign(np.float64(0.5), v))", "roundf(v)"),
        "half_up": ("np.floor(v + np.float64(0.5))", "floor((double)v + 0.5)"),
    }[form.tie]
    match form.bias:
        case "division" | "reciprocal":
            back = "/ s" if form.bias == "division" else "* (1 / s)"
            start = f"(acc - bias).astype(np.float32) + bias.astype(np.float32) * s {back}"
            start_c = f"(float)(acc - bias[unit]) + (float)bias[unit] * s {back}"
        case "fused":
            start = "np.float32((acc - bias).astype(np.float32) + np.float64(bias.astype(np.float32) * s) * (1 / s))"
            start_c = "fmaf((float)bias[unit] * s, 1 / s, (float)(acc - bias[unit]))"
        case "in_acc":
            raise AssertionError(form)
        case never:
            assert_never(never)
    return (
        f"v = ({start}) * m; y = zy + {rounded}  # s = s_x * s_w, m = s / s_y: float32",
        f"float v = ({start_c}) * m[unit]; y = zy + (int32_t){rounded_c};  /* float s = s_x * s_w[unit] */",
    )


def _two_lines(form: TwoRoundings) -> tuple[str, str]:
    if form.least_right == 0 and form.high == "half_up":
        high, high_c = "((acc << L) * q + (1 << 30)) >> 31", "((int64_t)(acc << L) * q + (1LL << 30)) >> 31"
        name, more = "R", ""
    else:
        nudge, nudge_c = (" + (1 << 30)", " + (1LL << 30)") if form.high == "half_up" else ("", "")
        shifted = "(acc << (shift + S))" if form.least_right else "(acc << L)"
        high, high_c = f"({shifted} * q{nudge}) >> 31", f"((int64_t){shifted} * q{nudge_c}) >> 31"
        name, more = ("S", "S = max(-shift, 1); ") if form.least_right else ("R", "")
    made, made_c = f"{more}v = {high}", f"{more}v = (int32_t)({high_c})"
    half = f"(1 << {name} >> 1)"
    match form.tie:
        case "half_up":
            both = "  # int64; both steps half up" if form.high == "half_up" else "  # int64"
            rounded = f"(v + {half}) >> {name}"
            return f"{made}; y = zy + ({rounded}){both}", f"{made_c}; y = zy + ({rounded});"
        case "half_away":
            away = f"np.sign(v) * ((np.abs(v) + {half}) >> {name})"
            what = "rounded half up" if form.high == "half_up" else "rounded down"
            where = "" if not form.least_right else f"  {more.strip()[:-1]}"
            return (
                f"{made}; y = zy + {away}  # int64",
                f"h = 1 << {name} >> 1; y = zy + (v < 0 ? -((h - v) >> {name}) : (v + h) >> {name});"
                f"  /* v: the high half, {what}{where} */",
            )
        case "half_even":
            # Exact: a float64 holds every int32.
            return (
                f"{made}; y = zy + np.rint(v / 2.0**{name})  # v is int64; ties to even",
                f"{made_c}; y = zy + (int32_t)rint(ldexp(v, -{name}));  /* ties to even */",
            )
        case never:
            assert_never(never)


def _one_line(bits: int) -> tuple[str, str]:
    if bits == 15:
        return (
            "q16 = (q + 2**15) >> 16; y = zy + ((acc * q16 + (1 << (14 - shift))) >> (15 - shift))  # int64",
            "y = zy + (int32_t)((acc * q16 + (1LL << (14 - shift))) >> (15 - shift));  /* int64_t acc */",
        )
    return (
        "y = zy + ((acc * q + (1 << (30 - shift))) >> (31 - shift))  # int64; one rounding, half up",
        "y = zy + (int32_t)(((int64_t)acc * q + (1LL << (30 - shift))) >> (31 - shift));",
    )
