"""What a span of versions does otherwise than today's runtime: one statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .base import Family, Refusal, Refused, Rule
from .derive import Q15, UP_AWAY, ByGranularity, of_granularity
from .table_parts import INT16_BIASES, INT16_GRANULARITIES, int16_variant
from .variant import Key, Variant, key_of

__all__ = [
    "BEFORE_FLOAT64",
    "BEYOND_WEIGHTS",
    "INT16_NO_BIAS",
    "LOST",
    "PER_CHANNEL_INT16",
    "Change",
    "dense_rules",
    "hybrid_of",
    "int16_in_fixed_point",
]


@dataclass(frozen=True)
class Change:
    """What a span of versions does otherwise than today's.

    Attributes:
        runtimes: the names that it is about, without a version: kinds of CPU of one interpreter.
        spans: first and last version of each span, as names have them; one span for each distribution.
        what: what is other, in words.
        rules: the rules that hold there; None where the delegate does not take the variant.
        declines: see `Runtime.declines`.
        written_in_part: see `Runtime.written_in_part`.
        ignores: see `Runtime.ignores`.
    """

    runtimes: tuple[str, ...]
    spans: tuple[tuple[str, str], ...]
    what: str
    rules: Mapping[Key, Rule | Refused | None] = field(default_factory=dict)
    declines: frozenset[str] = frozenset()
    written_in_part: frozenset[Variant] = frozenset()
    ignores: frozenset[str] = frozenset()


def dense_rules(rules: ByGranularity, kernel: Family, *variants: str) -> dict[Key, Rule | Refused | None]:
    """One of two rules for each variant, by its granularity."""
    return {key_of("FULLY_CONNECTED", v): Rule(of_granularity(rules, Variant.parse(v)), kernel) for v in variants}


def int16_in_fixed_point(
    kernel: Family, *granularities: str, biases: tuple[str, ...] = INT16_BIASES
) -> dict[Key, Rule | Refused | None]:
    """Gemmlowp's two roundings on 32 bits where the bias says so, else a multiplier of 16 bits on 64."""
    rules: dict[Key, Rule | Refused | None] = {}
    for weights in ("int8", "int4"):
        for granularity in granularities:
            for bias in biases:
                key = int16_variant(weights, granularity, bias)
                both = UP_AWAY if bias == "int32_bias_type" else Q15
                rules[key] = Rule(of_granularity(both, key[1]), kernel)
    return rules


def hybrid_of(kernel: Family, int8: str, int4: str, granularity: str) -> dict[Key, Rule | Refused | None]:
    """Rules of hybrid layers of one granularity."""
    return {
        key_of("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): Rule(rule, kernel)
        for weights, rule in (("int8", int8), ("int4", int4))
    }


PER_CHANNEL_INT16 = tuple(int16_variant(w, "per_channel", b)[1] for w in ("int8", "int4") for b in INT16_BIASES)
INT16_NO_BIAS = tuple(f"int16 x int8 -> int16 {g} no_bias" for g in INT16_GRANULARITIES)
LOST = "hybrid weights with a scale for each unit are multiplied with the scale 0: the output is the bias"
BEYOND_WEIGHTS = Refused(
    Refusal.NOT_EXACT,
    "not exact: this version reads every byte of int4 weights as one weight; for the second half of the units it reads "
    "beyond the weights' end, and what it prints depends on what lies there in the file",
)
BEFORE_FLOAT64 = (("1.0.0", "1.2.0"), ("tf2.12.1", "tf2.19.1"), ("tflite2.14.0", "tflite2.14.0"))
