"""Every operator LastBit computes; what there is to know of one stands in its file, in `ENTRIES`."""

from __future__ import annotations

from .entry import OperatorEntry, OperatorGroup
from .table import FILES

__all__ = ["OPERATORS", "OPERATOR_GROUPS", "OperatorEntry"]

_ENTRIES = {name: entry for file in FILES for name, entry in file.items()}

OPERATOR_GROUPS: dict[str, dict[str, OperatorEntry]] = {
    group.value: {name: entry for name, entry in sorted(_ENTRIES.items()) if entry.group is group}
    for group in OperatorGroup
}
"""Every operator, as docs/operators.md groups them."""

OPERATORS: dict[str, OperatorEntry] = {
    name: entry for group in OPERATOR_GROUPS.values() for name, entry in group.items()
}
"""Name -> operator."""
