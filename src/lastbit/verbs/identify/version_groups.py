"""Older versions of the runtimes, grouped by what they make of one model: which of them calculate it alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...model.errors import UnsupportedError
from ...model.graph import Model, Operator
from ...ops.prepare import choose_rule, prepare_operator
from ...runtimes import RUNTIMES, Runtime, get_runtime
from ...runtimes.versions import versions_run

__all__ = ["VersionGroup", "spans", "version_groups"]

Signature = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class VersionGroup:
    """Versions of one runtime that follow the same rules for the operators asked about.

    Attributes:
        runtime: the one to calculate with: today's where it is in the group, else the newest version.
        versions: the versions that were run, as names have them, oldest first by distribution.
    """

    runtime: Runtime
    versions: tuple[str, ...]


def version_groups(model: Model, operators: Sequence[Operator]) -> list[VersionGroup]:
    """Every runtime of today, and the older versions that calculate these operators otherwise.

    Args:
        model: the model.
        operators: those of its operators that count.

    Returns:
        In the order of `RUNTIMES`; after each runtime of today the groups of older versions that differ from it.
        Versions that refuse an operator, or were never compared with it, are left out.
    """
    groups = []
    for base in RUNTIMES.values():
        found: dict[Signature | None, list[str]] = {_signature(model, operators, base): []}
        today = next(iter(found))
        for version in versions_run(base.name):
            signature = _signature(model, operators, get_runtime(f"{base.name}@{version}"))
            if signature is not None:
                found.setdefault(signature, []).append(version)
        for signature, versions in found.items():
            if signature != today:
                # The distribution's own versions have no letters before them.
                newest = [version for version in versions if version[0].isdigit()] or versions
                groups.append(VersionGroup(get_runtime(f"{base.name}@{newest[-1]}"), tuple(versions)))
            else:
                groups.append(VersionGroup(base, tuple(versions)))
    return groups


def _signature(model: Model, operators: Sequence[Operator], runtime: Runtime) -> Signature | None:
    """The rule and kernel of each operator; None where one is refused."""
    rules = []
    for op in operators:
        try:
            if op.name == "FULLY_CONNECTED":  # a version may refuse the layer itself
                entry = prepare_operator(model, op, runtime)
                rules.append((entry.rule, entry.kernel))
            else:
                rule = choose_rule(model, op, runtime)
                rules.append((rule.name, rule.kernel))
        except UnsupportedError:
            return None
    return tuple(rules)


def spans(versions: Sequence[str]) -> str:
    """Versions in words: the first and the last of each distribution, in which all between were run and agree.

    >>> spans(["1.0.0", "1.0.1", "1.2.0", "tf2.12.1"])
    '1.0.0 to 1.2.0, tf2.12.1'
    """
    by_prefix: dict[str, list[str]] = {}
    for version in versions:
        by_prefix.setdefault(version.rstrip("0123456789."), []).append(version)
    return ", ".join(some[0] if len(some) == 1 else f"{some[0]} to {some[-1]}" for some in by_prefix.values())
