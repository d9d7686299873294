"""A rule of an operator around dense layers in words: its stages in one line of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from ..base import ChannelGroups, ElementGroups
from ..requantize.forms import TwoRoundings
from .fold import leaves
from .forms import (
    Affine,
    Centered,
    Combined,
    CountDivision,
    Factor,
    Fixed16,
    FixedBits,
    FloatRounded,
    FloatScaled,
    FusedAffine,
    Halved,
    HighProduct,
    Largest,
    Product15,
    Quantity,
    Quotient,
    Rescaled,
    ScaledBack,
    Shifted,
    ShiftedRight,
    Stage,
    Total,
    Weighted,
)
from .rule import (
    Choice,
    Condition,
    HeightAndWidth,
    InnerGroups,
    NotNegative,
    Output,
    PowersOfTwo,
    RealOutput,
    Staged,
    StagedRule,
)

__all__ = ["condition_text", "equation", "equations", "factor_text", "output_text", "stage_text"]

_QUANTITIES: dict[Quantity, str] = {
    "s_1": "s_1",
    "s_2": "s_2",
    "s_y": "s_y",
    "alpha": "alpha",
    "count": "count",
    "one_by_count": "(1/count)",
    "twice_larger": "(2 max(s_1, s_2))",
    "headroom": "2^H",
    "one_by_128": "1/128",
    "three_by_2_15": "(3/32768)",
}


def equations(rules: Mapping[str, StagedRule]) -> dict[str, str]:
    """Name -> rule in one line of text."""
    return {name: equation(rule) for name, rule in rules.items()}


def equation(rule: StagedRule) -> str:
    """The rule in one line of text; of the second rule of a choice, what differs from the first."""
    return _text(rule, None)


def _text(rule: StagedRule, first: Staged | None) -> str:
    match rule:
        case Staged():
            known = () if first is None else first.stages
            parts = [stage_text(stage) for stage in rule.stages if stage not in known]
            parts += [output_text(rule.output)] if first is None or rule.output != first.output else []
            parts += [] if rule.symmetric_int16 else ["int16 with any zero point"]
            return ";  ".join(parts)
        case Choice():
            then = _text(rule.then, first)
            return f"{condition_text(rule.when)}: {then};  else: {_text(rule.otherwise, first or leaves(rule)[0])}"
        case never:
            assert_never(never)


def condition_text(when: Condition) -> str:
    """Which elements, channels or scales follow the first rule of a choice."""
    match when:
        case ElementGroups(elements):
            return f"whole groups of {elements} elements of a sample"
        case InnerGroups():
            return _inner_text(when)
        case NotNegative(of):
            return f"where {of} >= 0"
        case HeightAndWidth(from_end):
            return "over height and width" if from_end else "over height and width, written as 1 and 2"
        case PowersOfTwo():
            return "where all scales are powers of two and pot_scale_int16 is set"
        case ChannelGroups(channels):
            return f"whole groups of {channels} channels"
        case never:
            assert_never(never)


def _inner_text(when: InnerGroups) -> str:
    sides = {"yes": ", one input a single element", "no": ", no input a single element", "either": ""}[when.one_element]
    shapes = "" if when.broadcast else ", shapes equal"
    return f"{' and '.join(when.types)}, whole groups of {when.elements} of an inner loop{sides}{shapes}"


def factor_text(factor: Factor) -> str:
    """A factor in symbols, with its precision."""

    def product(quantities: tuple[Quantity, ...]) -> str:
        return "*".join(_QUANTITIES[quantity] for quantity in quantities)

    below = product(factor.by)
    below = f"({below})" if len(factor.by) > 1 else below
    then = "".join(f"*{_QUANTITIES[quantity]}" for quantity in factor.then)
    return f"{product(factor.times)}/{below}{then} in float{factor.bits}"


def stage_text(stage: Stage) -> str:
    """A stage: what it writes, and from what."""
    match stage:
        case Centered(step, operand, register):
            value = f"x_{operand} - z_{operand}"
            return f"{step} = {value if register == 'wide' else f'{register}({value})'}"
        case Rescaled():
            return _rescaled_text(stage)
        case Combined(step, (first, second), how, register):
            value = f"{first} * {second}" if how == "product" else f"{first} + {second} (SUB: -)"
            return f"{step} = {value if register == 'wide' else f'{register}({value})'}"
        case Weighted(step, total, (first, second), (one, two), bits):
            made = f"m_1 = {factor_text(one)}, m_2 = {factor_text(two)}, the larger with {bits + 1} bits"
            return f"{total} = m_1 * {first} + m_2 * {second},  {step} = ({total} + 2^(R-1)) >> R,  {made}"
        case Total(step, centered):
            return f"{step} = sum of {'x - zx' if centered else 'x'}"
        case CountDivision(step, of, tie):
            return f"{step} = round_{tie}({of} / count)"
        case Largest(step):
            return f"{step} = max(x)"
        case Quotient(step, bits, by, flush):
            value = "x / s_y" if by == "division" else "x * (1/s_y)"
            return f"{step} = {value} in float{bits}{', subnormals are 0' if flush else ''}"
        case FloatScaled(step, of, factor):
            return f"{step} = float32({of}) * m,  m = {factor_text(factor)}"
        case Affine(step, of, offset):
            moved = "- zx*m*count" if offset == "input" else "+ (zy - count*zx*m)"
            return f"{step} = {of} {moved} in float32"
        case FusedAffine(step, of, offset, factor):
            moved = "-zx*m*count" if offset == "input" else "fma(-count*zx, m, zy)"
            return f"{step} = fma({of}, m, {moved}) in float32,  m = {factor_text(factor)}"
        case _:
            return _later_text(stage)


def _later_text(stage: FloatRounded | Shifted | Fixed16 | Halved | Product15 | ScaledBack) -> str:
    match stage:
        case FloatRounded(step, of, tie, limit, out_of_range):
            value = of if limit == "none" else f"min({of}, 32767)"
            rounded = f"round_{tie}({value})"
            return f"{step} = {rounded if out_of_range in ('never', 'int32_min') else f'{out_of_range}({rounded})'}"
        case Shifted(step, of, bits):
            return f"{step} = {of} << {bits}"
        case Fixed16(step, of, factor, shift):
            more = "" if shift == "applied" else ", without its shift R"
            return f"{step} = ({of} * q15 + 2^14) >> 15 in 16 bits{more},  q15 from {factor_text(factor)}"
        case Halved(step, of):
            return f"{step} = ({of} + 2^15) >> 1"
        case Product15(step, (first, second), rounding):
            return f"{step} = {'trunc' if rounding == 'truncated' else rounding}({first} * {second} / 2^15)"
        case ScaledBack(step, of, _, tie):
            return f"{step} = round_{tie}({of} / 2^R)"
        case never:
            assert_never(never)


def _rescaled_text(stage: Rescaled) -> str:
    value = f"({stage.of} << H)" if stage.headroom else stage.of
    made = f"q and shift from {factor_text(stage.factor)}"
    match stage.form:
        case TwoRoundings(high="floor", tie=tie):
            text = f"round_{tie}((({value} << L) * q >> 31) / 2^R), R 1 or more"
        case TwoRoundings(tie=tie):
            if tie == "half_up":
                text = f"(SRDHM({value} << L, q) + 2^(R-1)) >> R"
            else:
                text = f"round_{tie}(SRDHM({value} << L, q) / 2^R)"
        case HighProduct(shift):
            text = f"SRDHM({value} >> R, q)" if shift == "before" else f"SRDHM({value}, q) >> R"
        case FixedBits(bits):
            text = f"({value} * q + 2^{bits - 1}) >> {bits}"
            made = f"q = round_half_even(2^{bits} * {factor_text(stage.factor)})"
        case ShiftedRight(tie):
            text, made = f"round_{tie}({value} / 2^R)", f"2^-R = {factor_text(stage.factor)}"
        case never:
            assert_never(never)
    if stage.headroom:
        made += ", H = 20 (int16: 15)"
    if stage.count_in_multiplier:
        made += ", q * 2^k / count rounded down, k bits the count's"
    if stage.negative == "multiplier":
        made += ", q with the factor's sign"
    return f"{stage.step} = {text},  {made}"


def output_text(output: Output | RealOutput) -> str:
    """The last stage."""
    match output:
        case RealOutput(of, way):
            value = "x" if of == "input" else of
            match way:
                case "difference":
                    return f"y = float32({value}) * s_x in float32"
                case "product_plus_offset":
                    return f"y = float32({value}) * s_x + (-zx * s_x), three float32 roundings"
                case "fused_plus_offset":
                    return f"y = fma(float32({value}), s_x, -zx * s_x) in float32"
                case "widened":
                    return f"y = float32({value}); exact"
                case never:
                    assert_never(never)
        case Output():
            return _integer_output_text(output)
        case never_output:
            assert_never(never_output)


def _integer_output_text(output: Output) -> str:
    value = "x" if output.of == "input" else output.of
    value = value if output.keep == "wide" else f"{output.keep}({value})"
    match output.add:
        case "nothing":
            total = value
        case "rounded_offset":
            total = f"{value} + zy - round_half_away(zx*s_1/s_y)"
        case "wide" | "wrap32":
            total = f"zy + {value}"
        case "wrap16" | "saturate16":
            total = f"{output.add}(zy + {value})"
        case never:
            assert_never(never)
    match output.domain:
        case "output":
            bounds = "" if output.bounds == "half_away" else f", bounds {output.bounds}"
            return f"y = clamp({total}){bounds}"
        case "input":
            return f"y = {total} clamped to [zx, zx + round_half_away(bound / s_x)]; s_y and zy are ignored"
        case never_domain:
            assert_never(never_domain)
