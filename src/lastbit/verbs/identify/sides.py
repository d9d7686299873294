"""What a search has in common for a whole model and for one layer: runtimes of one arithmetic, and their verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...layers.differences import Difference, compare_arrays
from ...model.errors import InputError
from ...model.types import Array
from ...runtimes import Refused
from .report import Candidate
from .version_groups import VersionGroup

__all__ = ["Side", "candidates_of", "difference", "standing"]


@dataclass(eq=False)
class Side:
    """Runtimes that calculate the numbers asked about in the same way.

    Attributes:
        members: the runtimes.
        refused: why they cannot, else None.
        difference: how what they print differs from the numbers, as far as it was compared.
        worked: the first element that excludes them, worked out.
    """

    members: list[VersionGroup] = field(default_factory=list)
    refused: Refused | None = None
    difference: Difference | None = None
    worked: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The runtimes' names."""
        return tuple(member.runtime.name for member in self.members)


def candidates_of(sides: Sequence[Side], order: Sequence[VersionGroup]) -> tuple[Candidate, ...]:
    """Every runtime with the verdict on its side, in the order in which they were asked about."""
    found = {
        member.runtime.name: Candidate(member.runtime, side.difference, side.refused, side.worked, member.versions)
        for side in sides
        for member in side.members
    }
    return tuple(found[group.runtime.name] for group in order)


def standing(sides: Sequence[Side]) -> list[Side]:
    """The sides that reproduce everything that was compared."""
    return [side for side in sides if side.difference is not None and not side.difference]


def difference(ours: Array, given: Array, where: str) -> Difference:
    """The numbers compared with one runtime's output; their shape may differ, their size may not.

    Raises:
        InputError: the sizes differ.
    """
    if ours.size != given.size:
        raise InputError(
            f"found {given.size} numbers of shape {list(given.shape)} for {where}; "
            f"wanted {ours.size} of shape {list(ours.shape)}"
        )
    return compare_arrays(given.reshape(ours.shape), ours)
