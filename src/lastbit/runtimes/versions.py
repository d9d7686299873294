"""Runtimes as older versions calculated them: `litert-reference@1.2`, `litert-xnnpack@tf2.14`, `tflm@20240129`.

What changed when is stated in changes_*.py, by hand; what was run is in version_evidence.json, written by
tools/time_machine.py. A rule is offered for a version only if the interpreter of that version was run and the rule
reproduced every output; everything else is refused and says so. A version that was never run is not guessed at, even
between two that agree.

Names: the version of ai-edge-litert or tflite-micro (its date) stands alone, that of TensorFlow after `tf`, that of
tflite-runtime after `tflite`. A version may be cut short (`1.2`, `tf2.14`, `20240129`) where all that begin so agree.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from ..errors import RuntimeNameError
from ..rules.requantize.table import RULES
from .base import Refusal, Refused, Rule, Runtime
from .change import Change
from .changes_litert import LITERT_CHANGES
from .changes_tflm import TFLM_CHANGES
from .changes_xnnpack import XNNPACK_CHANGES
from .shared import MISREAD_BIAS
from .variant import INT32_BIAS, Key, Variant, key_of

__all__ = ["CHANGES", "Change", "version_evidence", "versioned_runtime", "versions_run"]

CHANGES: tuple[Change, ...] = (*LITERT_CHANGES, *XNNPACK_CHANGES, *TFLM_CHANGES)

DISTRIBUTIONS = {"tf": "tensorflow-cpu", "tflite": "tflite-runtime"}
"""What a prefix of a version stands for; without one it is the runtime's own distribution."""

_NOT_HELD = "not held against"
# Variants of which a delegate takes some layers only: which, and where it fails, is stated (ops.version_checks).
_TAKEN_IN_PART = {
    "int4_one_scale": ("int8 x int4 -> int8 per_tensor", "float32 x int4 -> float32 per_tensor"),
    "hybrid_one_unit": ("float32 x int8 -> float32 per_tensor",),
}


@cache
def version_evidence() -> dict[str, Any]:
    """What was run, as tools/time_machine.py wrote it: `runs` by name, `results` that runs refer to by number."""
    text = (resources.files("lastbit") / "runtimes" / "version_evidence.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def versions_run(runtime: str) -> list[str]:
    """The versions of a runtime that were run, as names have them, oldest first by distribution.

    >>> [name for name in versions_run("litert-reference") if name.startswith("1.2")]
    ['1.2.0']
    """
    names = [name.partition("@")[2] for name in version_evidence()["runs"] if name.startswith(f"{runtime}@")]
    return sorted(names, key=_order)


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
            f"unknown version {version!r} of {base.name}: LastBit states only what a real interpreter was held "
            f"against; {listed}. (tf: TensorFlow; tflite: tflite-runtime; else {base.oracle.split(' ')[0]}.)"
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


def _order(name: str) -> tuple[str, tuple[int, ...]]:
    letters = name.rstrip("0123456789.")
    return letters, tuple(int(part) for part in name.removeprefix(letters).split("."))


def _unasked(runtime: Runtime) -> frozenset[Key]:
    """What this version was not held against: two versions are compared in what both were asked."""
    return frozenset(
        key for key, rule in runtime.rules.items() if isinstance(rule, Refused) and rule.kind is Refusal.NOT_ASKED
    )


def _arithmetic(runtime: Runtime, unasked: frozenset[Key]) -> tuple[Any, ...]:
    """What two versions must have in common to be called by one name; why each refuses something is its own."""
    rules = {key: rule if isinstance(rule, Rule) else None for key, rule in runtime.rules.items() if key not in unasked}
    return rules, runtime.declines, runtime.written_in_part, runtime.ignores, runtime.operator_versions


@cache
def _cached(base_name: str, version: str) -> dict[Key, list[dict[str, Any]]]:
    """A run's results by operator and variant."""
    evidence = version_evidence()
    by_key: dict[Key, list[dict[str, Any]]] = {}
    for number in evidence["runs"][f"{base_name}@{version}"]["results"]:
        result = evidence["results"][number]
        by_key.setdefault(key_of(result["operator"], result["variant"]), []).append(result)
    return by_key


def _build(base: Runtime, version: str) -> Runtime:
    """Today's rules with the changes that hold for this version, as far as it was run."""
    letters, number = _order(version)
    stated: dict[Key, Rule | Refused | None] = dict(base.rules)
    declines, in_part, ignores = base.declines, base.written_in_part, base.ignores
    notes = []
    for change in CHANGES:
        spans = [(_order(first), _order(last)) for first, last in change.spans]
        if change.runtime == base.name and any(
            low[0] == letters and low[1] <= number <= high[1] for low, high in spans
        ):
            stated |= change.rules
            declines |= change.declines
            in_part |= change.written_in_part
            ignores |= change.ignores
            notes.append(change.what)
    results = _cached(base.name, version)
    newest = _cached(base.name, max((v for v in versions_run(base.name) if not v[0].isalpha()), key=_order))
    distribution = DISTRIBUTIONS.get(letters, base.oracle.split(" ")[0])
    plain = version.removeprefix(letters)
    name = f"{distribution} {plain}"
    rules: dict[Key, Rule | Refused] = {}
    for key in {**base.rules, **stated, **results}:
        rule = stated.get(key)
        if isinstance(rule, Refused):
            ran = any(result["outputs"] for result in results.get(key, [])) and rule.kind is not Refusal.NOT_EXACT
            rules[key] = Refused(Refusal.NOT_COVERED, f"{name} runs it, which LastBit does not cover") if ran else rule
            continue
        here = results.get(key, [])
        if base.fallback is not None:
            found = _delegated(rule, here, newest.get(key, []), name, declines)
        else:
            found = _offered(rule, here, name, in_part)
        if found is not None:
            rules[key] = found
    run = version_evidence()["runs"][f"{base.name}@{version}"]
    return replace(
        base,
        name=f"{base.name}@{version}",
        title=f"{base.title}, as in {name}" + (f": {'; '.join(notes)}" if notes else ""),
        oracle=f"{name}, {run['fingerprint']['mode']}",
        rules=rules,
        fallback=None if base.fallback is None else f"{base.fallback}@{version}",
        declines=declines,
        written_in_part=in_part,
        ignores=ignores,
        operator_versions={"FULLY_CONNECTED": run["largest_operator_version"]},
    )


def _delegated(
    rule: Rule | None, results: list[dict[str, Any]], today: list[dict[str, Any]], name: str, declines: frozenset[str]
) -> Rule | Refused | None:
    """The stated rule for what a delegate takes, or None where it leaves the variant to other kernels.

    Args:
        rule: the stated rule.
        results: what this version did.
        today: what the newest version did with the same cases.
        name: the version, in words.
        declines: what this version declines beside what today's does.
    """
    own = [result for result in results if result["delegated"]]
    # A delegate's kernel sees rows, whatever the leading dimensions are.
    own = [result for result in own if not result["output_rank_above_2"]] or own
    if not own:
        failed, failed_newest = (
            Counter({words: n for r in some for words, n in r["refused"].items() if "XNNPACK" in words})
            for some in (results, today)
        )
        # What it left to other kernels and what it failed on are not told apart by the variant alone.
        if failed and (not any(r["outputs"] for r in results) or failed.total() > failed_newest.total()):
            return Refused(Refusal.RUNTIME, f"{name} refuses it: {min(failed).partition(': ')[2]}")
        return None if results or rule is None else Refused(Refusal.NOT_ASKED, f"{_NOT_HELD} {name}")
    if any(own[0]["variant"] in _TAKEN_IN_PART.get(what, ()) for what in declines):
        return _offered(rule, own, name, frozenset())
    left, left_today = (sum(r["outputs"] for r in some if not r["delegated"]) for some in (results, today))
    failed_here, failed_today = (sum(sum(r["refused"].values()) for r in some) for some in (results, today))
    if (left > left_today and not declines) or failed_here > failed_today:
        return Refused(Refusal.NOT_SETTLED, f"which of these layers the delegate of {name} takes is not settled")
    return _offered(rule, own, name, frozenset())


def _on_64_bits(name: str) -> bool:
    """Whether a rule is of kernels whose bias and accumulator have 64 bits."""
    return name in RULES and RULES[name].sums.bits == 64


def _offered(
    rule: Rule | None, results: list[dict[str, Any]], name: str, in_part: frozenset[Variant]
) -> Rule | Refused | None:
    """The stated rule if this version was seen to follow it, else why not."""
    ran = [result for result in results if result["outputs"]]
    if not ran:
        words = sorted({text for result in results for text in result["refused"]})
        if words:
            return Refused(Refusal.RUNTIME, f"{name} refuses it: {words[0].partition(': ')[2]}")
        return None if rule is None else Refused(Refusal.NOT_ASKED, f"{_NOT_HELD} {name}")
    for result in ran:
        unwritten = result["output_rank_above_2"] and Variant.parse(result["variant"]) in in_part
        # Rules that were not known when the version ran are held against what it printed for the golden file.
        fitting = (*result["fitting"], *result.get("recorded", {"fitting": ()})["fitting"])
        if not unwritten and (rule is None or rule.name not in fitting):
            if rule is not None and Variant.parse(result["variant"]).bias == INT32_BIAS and _on_64_bits(rule.name):
                return MISREAD_BIAS
            return Refused(Refusal.NOT_SETTLED, f"the arithmetic of {name} is not settled")
    return rule
