"""A name for a hybrid rule that the table has no line of."""

from __future__ import annotations

from ..base import text_of_fields
from .forms import HybridRule

__all__ = ["canonical_name"]


def canonical_name(rule: HybridRule) -> str:
    """The rule's fields, one behind the other."""
    return f"hybrid/{text_of_fields(rule)}"
