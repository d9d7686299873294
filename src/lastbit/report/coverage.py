"""Coverage: which of the operators that were asked about were compared. Verdicts and exit codes count all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..model.errors import OracleError, UnsupportedError
from ..model.graph import Operator
from .blocks import Text

__all__ = ["Coverage", "kinds_text"]

_DIFFERS = 1
# Kinds of operators that the sentence names.
_KINDS_SHOWN = 4


@dataclass(frozen=True)
class Coverage:
    """Which operators were asked about, and which of them were not compared.

    Attributes:
        asked: every operator that the question is about.
        gaps: index of each operator that was not compared -> why.
    """

    asked: tuple[Operator, ...]
    gaps: Mapping[int, str]

    @classmethod
    def joined(cls, parts: Mapping[str, Coverage]) -> Coverage:
        """The coverage of several runtimes together: an operator is compared where no runtime leaves it out.

        Args:
            parts: runtime -> what it covers.
        """
        asked: dict[int, Operator] = {}
        why: dict[int, dict[str, list[str]]] = {}
        for runtime, part in parts.items():
            asked.update((op.index, op) for op in part.asked)
            for index, reason in part.gaps.items():
                why.setdefault(index, {}).setdefault(reason, []).append(runtime)
        told = {
            index: "; ".join(
                reason if len(names) == len(parts) else f"{', '.join(names)}: {reason}"
                for reason, names in reasons.items()
            )
            for index, reasons in sorted(why.items())
        }
        return cls(tuple(asked[index] for index in sorted(asked)), told)

    @property
    def missing(self) -> tuple[Operator, ...]:
        """The operators that were not compared."""
        return tuple(op for op in self.asked if op.index in self.gaps)

    @property
    def compared(self) -> int:
        """How many operators were compared."""
        return len(self.asked) - len(self.missing)

    @property
    def complete(self) -> bool:
        """Whether there was something to compare, and all of it was compared."""
        return bool(self.asked) and not self.missing

    def exit_code(self, *, differs: bool, died: bool = False, allow_gaps: bool = False) -> int:
        """What the command line ends with.

        Args:
            differs: whether anything that was compared differs.
            died: whether a real interpreter that was asked is missing, crashed or took too long.
            allow_gaps: end with 0 where some operators were compared, are equal, and others were not compared.

        Returns:
            1 where something differs; else 4 where an interpreter died; else 3 where nothing was compared, or where
            an operator was not; else 0.
        """
        if differs:
            return _DIFFERS
        if died:
            return OracleError.exit_code
        if not self.compared or (self.missing and not allow_gaps):
            return UnsupportedError.exit_code
        return 0

    def sentence(self) -> str:
        """How many operators of how many were compared; the kinds of those that were not.

        >>> conv, add = Operator(0, "CONV_2D", 1, (), ()), Operator(1, "ADD", 1, (), ())
        >>> Coverage((conv, add), {1: "not covered yet"}).sentence()
        'NOT COMPARED: 1 of 2 operators (1 ADD). No statement about the whole model.'
        >>> Coverage((conv, add), {}).sentence()
        'Compared: 2 of 2 operators.'
        """
        missing, total = len(self.missing), len(self.asked)
        noun = "operator" if total == 1 else "operators"
        if not total:
            return "NOT COMPARED: there is no operator to compare. No statement about the whole model."
        if not missing:
            return f"Compared: {total} of {total} {noun}."
        kinds = kinds_text(op.name for op in self.missing)
        return f"NOT COMPARED: {missing} of {total} {noun} ({kinds}). No statement about the whole model."

    def block(self) -> Text:
        """The sentence as a report's last line; a gap is a warning."""
        return Text(self.sentence(), "" if self.complete else "warning")

    def as_dict(self) -> dict[str, Any]:
        """The coverage as plain data."""
        return {
            "operators": len(self.asked),
            "compared": self.compared,
            "not_compared": [
                {"operator": op.index, "name": op.name, "why": self.gaps[op.index]} for op in self.missing
            ],
            "not_compared_kinds": dict(Counter(op.name for op in self.missing).most_common()),
            "complete": self.complete,
        }


def kinds_text(names: Iterable[str]) -> str:
    """Kinds of operators with how many there are of each, the most frequent first."""
    kinds = Counter(names).most_common()
    shown = [f"{count} {name}" for name, count in kinds[:_KINDS_SHOWN]]
    return ", ".join([*shown, *(["..."] if len(kinds) > _KINDS_SHOWN else [])])
