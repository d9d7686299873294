"""What a span of versions does otherwise than today's runtime: one statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .base import Family, Refused, Rule
from .derive import ByGranularity, of_granularity
from .variant import Key, Variant, key_of

__all__ = ["Change", "dense_rules"]


@dataclass(frozen=True)
class Change:
    """What a span of versions does otherwise than today's.

    Attributes:
        runtime: the runtime it is about, without a version.
        spans: first and last version of each span, as names have them; one span for each distribution.
        what: what is other, in words.
        rules: the rules that hold there; None where the delegate does not take the variant.
        declines: see `Runtime.declines`.
        written_in_part: see `Runtime.written_in_part`.
        ignores: see `Runtime.ignores`.
    """

    runtime: str
    spans: tuple[tuple[str, str], ...]
    what: str
    rules: Mapping[Key, Rule | Refused | None] = field(default_factory=dict)
    declines: frozenset[str] = frozenset()
    written_in_part: frozenset[Variant] = frozenset()
    ignores: frozenset[str] = frozenset()


def dense_rules(rules: ByGranularity, kernel: Family, *variants: str) -> dict[Key, Rule | Refused | None]:
    """One of two rules for each variant, by its granularity."""
    return {key_of("FULLY_CONNECTED", v): Rule(of_granularity(rules, Variant.parse(v)), kernel) for v in variants}
