"""What lines of the tables of operators' rules are made of, where several share it."""

from __future__ import annotations

from collections.abc import Mapping

from ..requantize.forms import TwoRoundings
from .forms import Centered, Factor
from .rule import Output, StagedRule

__all__ = [
    "ADDED",
    "AWAY",
    "BOTH_CENTERED",
    "CENTERED",
    "EIGHT_BIT",
    "FLOOR_UP",
    "RATIO_32",
    "RATIO_64",
    "UP",
    "Rules",
    "named",
]

Rules = Mapping[str, StagedRule]

EIGHT_BIT = ("int8", "uint8")
AWAY = TwoRoundings("wrap32", "half_up", "half_away", 0, "wrap32")
UP = TwoRoundings("wrap32", "half_up", "half_up", 0, "wrap32")
FLOOR_UP = TwoRoundings("wrap32", "floor", "half_up", 1, "wrap32")
CENTERED = Centered("centered")
BOTH_CENTERED = (Centered("centered_1", 1), Centered("centered_2", 2))
RATIO_32 = Factor(32, ("s_1",), ("s_y",))
RATIO_64 = Factor(64, ("s_1",), ("s_y",))
ADDED = Output("acc_scaled", "wrap32")


def named(*rules: StagedRule) -> Rules:
    """Name -> rule."""
    return {rule.name: rule for rule in rules}
