"""The names of the files that make up a data set: their order, and which are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...model.errors import InputError

__all__ = ["check_numbers", "natural"]


def natural(name: str) -> list[Any]:
    """A key that sorts shard_10 behind shard_9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class _Numbered:
    """A name with a number, and perhaps how many there are: head, number, and tail."""

    head: str
    number: int
    width: int
    count: int | None
    tail: str

    @classmethod
    def parse(cls, name: str) -> _Numbered | None:
        found = re.fullmatch(r"(.*?)([0-9]+)(?:([-_]of[-_])([0-9]+))?([^0-9]*)", name)
        if found is None:
            return None
        head, number, between, count, tail = found.groups()
        return cls(head, int(number), len(number), int(count) if count else None, f"{between or ''}{count or ''}{tail}")

    def name(self, number: int) -> str:
        return f"{self.head}{number:0{self.width}d}{self.tail}"


def check_numbers(folder: str, names: Sequence[str]) -> None:
    """Refuse a numbered row of names of which some are missing: shards that were not copied."""
    found = [parsed for parsed in map(_Numbered.parse, names) if parsed is not None]
    if len(found) != len(names) or len({(entry.head, entry.tail) for entry in found}) != 1:
        return  # names that are no numbered row
    one, numbers = found[0], {entry.number for entry in found}
    low, high = min(numbers), max(numbers)
    joint = ", "
    if one.count is None:
        # A row begins with 0 or 1, unless its numbers are something else, such as years.
        begins_late = len(names) > 1 and 1 < low <= max(len(names), 9)
        wanted = range(1 if begins_late else low, high + 1)
    elif {0, one.count} & numbers:
        wanted = range(one.count) if 0 in numbers else range(1, one.count + 1)
    else:  # it may begin with 0 or with 1: one end is missing in any case
        wanted, joint = range(one.count + 1), " or "
    missing = sorted(set(wanted) - numbers)
    if missing:
        shown = joint.join(one.name(n) for n in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"{folder}: found {len(names)} shards, {one.name(low)} to {one.name(high)}, but not {shown}. Put it there, "
            "or rename the others."
        )
