"""Runtimes as older versions calculated them: `litert-reference@1.2`, `litert-xnnpack@tf2.14`, `tflm@20240129`.

What changed when is stated in each interpreter's file, by hand; what each was seen to do is in version_facts.json,
written by lab/collect/version_facts.py. A rule is offered for a version only if the interpreter of that version was run
and the rule reproduced every output; everything else is refused and says so. A version that was never run is not
guessed at, even between two that agree.

Names: the version of ai-edge-litert or tflite-micro (its date) stands alone, that of TensorFlow after `tf`, that of
tflite-runtime after `tflite`. A version may be cut short (`1.2`, `tf2.14`, `20240129`) where all that begin so agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from ..model.errors import RuntimeNameError
from .base import Refusal, Refused, Rule, Runtime
from .change import Change
from .litert_builtin import LITERT_BUILTIN
from .litert_reference import LITERT_REFERENCE
from .litert_xnnpack import LITERT_XNNPACK
from .tflm import TFLM
from .variant import Key, Variant, key_of

__all__ = [
    "CHANGES",
    "VERSION",
    "Change",
    "Stated",
    "order_of",
    "stated_for",
    "stated_runtime",
    "version_facts",
    "version_words",
    "versioned_runtime",
    "versions_run",
]

CHANGES: tuple[Change, ...] = (
    *LITERT_REFERENCE.changes,
    *LITERT_BUILTIN.changes,
    *LITERT_XNNPACK.changes,
    *TFLM.changes,
)

DISTRIBUTIONS = {"tf": "tensorflow-cpu", "tflite": "tflite-runtime"}
"""What a prefix of a version stands for; without one it is the runtime's own distribution."""

VERSION = "{version}"
"""What stands for a version's name in the reasons of version_facts.json."""


@cache
def version_facts() -> dict[str, Any]:
    """What `lab/collect/version_facts.py` wrote of every version: `runs` by name, each with the number of a list.

    A list names facts by stretches, each by its first and its last number.
    """
    text = (resources.files("lastbit") / "runtimes" / "facts" / "version_facts.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def versions_run(runtime: str) -> list[str]:
    """The versions of a runtime that were run, as names have them, oldest first by distribution.

    >>> [name for name in versions_run("litert-reference") if name.startswith("1.2")]
    ['1.2.0']
    """
    names = [name.partition("@")[2] for name in version_facts()["runs"] if name.startswith(f"{runtime}@")]
    return sorted(names, key=order_of)


def versioned_runtime(base: Runtime, version: str) -> Runtime:
    """A runtime as it calculated in an older version.

    Args:
        base: the runtime of today.
        version: what stands after the `@`.

    Raises:
        RuntimeNameError: no such version was run; the message lists those that were.
    """
    run = versions_run(base.name)
    matching = [name for name in run if name == version or name.startswith(_prefix(version))]
    if not matching:
        listed = f"versions that were run: {', '.join(run)}" if run else "no other version of it was run"
        raise RuntimeNameError(
            f"unknown version {version!r} of {base.name}: LastBit states only what was compared with a real "
            f"interpreter; {listed}. (tf: TensorFlow; tflite: tflite-runtime; else {base.oracle.split(' ')[0]}.)"
        )
    candidates = [_build(base, name) for name in matching]
    last = candidates[-1]
    for other in candidates[:-1]:
        unasked = _unasked(other) | _unasked(last)
        if _arithmetic(other, unasked) != _arithmetic(last, unasked):
            raise RuntimeNameError(
                f"{base.name}@{version} means several versions that differ: {', '.join(matching)}. Name one of them"
            )
    return last


def _prefix(version: str) -> str:
    """What longer versions begin with: `1.2` is 1.2.0, and not 1.20; a date may be cut anywhere."""
    return version if version.isdigit() and len(version) >= 4 else f"{version}."


def order_of(name: str) -> tuple[str, tuple[int, ...]]:
    """A version's distribution and numbers, by which versions are sorted."""
    letters = name.rstrip("0123456789.")
    return letters, tuple(int(part) for part in name.removeprefix(letters).split("."))


def _unasked(runtime: Runtime) -> frozenset[Key]:
    """What this version was not compared with: two versions are compared in what both were asked."""
    return frozenset(
        key for key, rule in runtime.rules.items() if isinstance(rule, Refused) and rule.kind is Refusal.NOT_ASKED
    )


def _arithmetic(runtime: Runtime, unasked: frozenset[Key]) -> tuple[Any, ...]:
    """What two versions must have in common to be called by one name; why each refuses something is its own."""
    rules = {key: rule if isinstance(rule, Rule) else None for key, rule in runtime.rules.items() if key not in unasked}
    return rules, runtime.declines, runtime.written_in_part, runtime.ignores, runtime.operator_versions


@dataclass(frozen=True)
class Stated:
    """What is stated of a version by hand: today's rules with the changes whose spans it is in.

    Attributes:
        rules: by operator and variant; None where the delegate does not take it.
        declines, ignores, written_in_part: see `Runtime`.
        notes: what differs from today's, in words.
    """

    rules: Mapping[Key, Rule | Refused | None]
    declines: frozenset[str]
    ignores: frozenset[str]
    written_in_part: frozenset[Variant]
    notes: tuple[str, ...]


def stated_for(base: Runtime, version: str) -> Stated:
    """What is stated of a version; `version` as names have it, in full."""
    letters, number = order_of(version)
    found = Stated(dict(base.rules), base.declines, base.ignores, base.written_in_part, ())
    for change in CHANGES:
        spans = [(order_of(first), order_of(last)) for first, last in change.spans]
        within = any(low[0] == letters and low[1] <= number <= high[1] for low, high in spans)
        if base.name in change.runtimes and within:
            found = Stated(
                {**found.rules, **change.rules},
                found.declines | change.declines,
                found.ignores | change.ignores,
                found.written_in_part | change.written_in_part,
                (*found.notes, change.what),
            )
    return found


def stated_runtime(base: Runtime, version: str) -> Runtime:
    """What is stated of a version, whether its interpreter was seen to follow it or not: for the laboratory."""
    said = stated_for(base, version)
    return replace(
        base,
        name=f"{base.name}@{version}",
        rules={key: rule for key, rule in said.rules.items() if rule is not None},
        declines=said.declines,
        written_in_part=said.written_in_part,
        ignores=said.ignores,
    )


def version_words(base: Runtime, version: str) -> str:
    """A distribution and its version: `tensorflow-cpu 2.14.1`."""
    letters, _ = order_of(version)
    return f"{DISTRIBUTIONS.get(letters, base.oracle.split(' ')[0])} {version.removeprefix(letters)}"


def _build(base: Runtime, version: str) -> Runtime:
    """Today's rules with the changes that hold for this version, as far as it was run."""
    run = version_facts()["runs"][f"{base.name}@{version}"]
    said, name = stated_for(base, version), version_words(base, version)
    known = version_facts()
    stretches = known["lists"][run["facts"]]
    facts = {key_of(*key): f for first, last in stretches for *key, f in known["facts"][first : last + 1]}
    found = {key: _rule(said.rules.get(key), facts.get(key), name) for key in {**said.rules, **facts}}
    return replace(
        stated_runtime(base, version),
        title=f"{base.title}, as in {name}" + (f": {'; '.join(said.notes)}" if said.notes else ""),
        oracle=f"{name}, {run['mode']}",
        rules={key: rule for key, rule in found.items() if rule is not None},
        fallback=None if base.fallback is None else f"{base.fallback}@{version}",
        operator_versions={"FULLY_CONNECTED": run["largest_operator_version"]},
    )


def _rule(stated: Rule | Refused | None, fact: Mapping[str, str] | None, name: str) -> Rule | Refused | None:
    """What holds of a variant: None where the delegate leaves it to other kernels.

    Args:
        stated: what is stated of it.
        fact: what the interpreter was seen to do; None where it was not run on it.
        name: the version, in words.
    """
    match fact:
        case None if isinstance(stated, Rule):
            return Refused(Refusal.NOT_ASKED, f"not compared with {name}")
        case {"left": _}:
            return None
        case {"refused": kind, "reason": reason}:
            return Refused(Refusal(kind), reason.replace(VERSION, name))
        case {"rule": seen} if not isinstance(stated, Rule) or stated.name != seen:
            return Refused(Refusal.NOT_SETTLED, f"the arithmetic of {name} is not known")
    return stated
