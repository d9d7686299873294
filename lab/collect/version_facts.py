"""Decide which rules each version of a runtime offers, from what its interpreter did; python -m lab versions facts.

Reads lab/evidence/version_evidence.json, written by lab/reach/time_machine.py (which decides again after each run), and
the changes stated in lastbit.runtimes. Writes src/lastbit/runtimes/facts/version_facts.json, which is all that LastBit
reads. A stated rule is offered only if the interpreter of that version was run and the rule reproduced every output.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lastbit.rules.requantize.table import RULES
from lastbit.runtimes import RUNTIMES
from lastbit.runtimes.base import Refusal, Refused, Rule
from lastbit.runtimes.table_parts import MISREAD_BIAS
from lastbit.runtimes.variant import INT32_BIAS, Key, Variant, key_of
from lastbit.runtimes.versions import VERSION, Stated, order_of, stated_for

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "lab" / "evidence" / "version_evidence.json"
FACTS = ROOT / "src" / "lastbit" / "runtimes" / "facts" / "version_facts.json"

Result = dict[str, Any]
Fact = dict[str, str]
LEFT: Fact = {"left": "to the fallback's kernels"}
AS_STATED: Fact = {}

# Variants of which a delegate takes some layers only: which, and where it fails, is stated (`Runtime.declines`).
TAKEN_IN_PART = {
    "int4_one_scale": ("int8 x int4 -> int8 per_tensor", "float32 x int4 -> float32 per_tensor"),
    "hybrid_one_unit": ("float32 x int8 -> float32 per_tensor",),
}


@cache
def version_evidence() -> dict[str, Any]:
    """What was run, as lab/reach/time_machine.py wrote it: `runs` by name, `results` that runs refer to by number."""
    loaded: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return loaded


def facts_of(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What LastBit has to know of every version that was run."""
    numbers: dict[str, int] = {}
    lists: dict[tuple[tuple[int, int], ...], int] = {}
    runs = {}
    for name, run in evidence["runs"].items():
        facts = [json.dumps([*key, fact]) for key, fact in _facts_of_run(evidence, name)]
        known = stretches([numbers.setdefault(fact, len(numbers)) for fact in facts])
        runs[name] = {
            "mode": run["fingerprint"]["mode"],
            "largest_operator_version": run["largest_operator_version"],
            "facts": lists.setdefault(known, len(lists)),
        }
    facts = [json.loads(fact) for fact in numbers]
    return {"schema": "lastbit.version_facts/3", "facts": facts, "lists": [*map(list, lists)], "runs": runs}


def stretches(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as stretches without a gap, each by its first and its last.

    >>> stretches([7, 3, 1, 2])
    ((1, 3), (7, 7))
    """
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        first = found.pop()[0] if found and found[-1][1] == number - 1 else number
        found.append((first, number))
    return tuple(found)


def write_facts() -> None:
    """Write the file that LastBit reads, a line for each fact, list of facts and run."""
    version_evidence.cache_clear()
    found = facts_of(version_evidence())
    facts = ",\n".join(_compact(fact) for fact in found["facts"])
    lists = ",\n".join(map(_compact, found["lists"]))
    runs = ",\n".join(f"{json.dumps(name)}: {_compact(run)}" for name, run in found["runs"].items())
    head = json.dumps({"schema": found["schema"]})[:-1]
    FACTS.write_text(
        f'{head},\n"facts": [\n{facts}\n],\n"lists": [\n{lists}\n],\n"runs": {{\n{runs}\n}}}}\n', encoding="utf-8"
    )


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _results(evidence: Mapping[str, Any], name: str) -> dict[tuple[str, str], list[Result]]:
    """A run's results by operator and variant."""
    by_key: dict[tuple[str, str], list[Result]] = {}
    for number in evidence["runs"][name]["results"]:
        result = evidence["results"][number]
        by_key.setdefault((result["operator"], result["variant"]), []).append(result)
    return by_key


def _facts_of_run(evidence: Mapping[str, Any], name: str) -> list[tuple[tuple[str, str], Fact]]:
    """A fact for every operator and variant that a version was run on."""
    base_name, _, version = name.partition("@")
    base = RUNTIMES[base_name]
    cases = evidence["runs"][name].get("cases")
    same = [
        other.partition("@")[2]
        for other, run in evidence["runs"].items()
        if other.startswith(f"{base_name}@") and run.get("cases") == cases
    ]
    newest = max((v for v in same if not v[0].isalpha()), key=order_of)
    today = _results(evidence, f"{base_name}@{newest}")
    stated = stated_for(base, version)
    return [
        (key, _Question(stated, key_of(*key), results, today.get(key, [])).answer(base.fallback is not None))
        for key, results in _results(evidence, name).items()
    ]


@dataclass(frozen=True)
class _Question:
    """What a version does with one variant of an operator.

    Attributes:
        stated: what is stated of the version.
        key: the operator and its variant.
        results: what this version did.
        today: what the newest version did with the same cases.
    """

    stated: Stated
    key: Key
    results: Sequence[Result]
    today: Sequence[Result]

    def answer(self, delegates: bool) -> Fact:
        rule = self.stated.rules.get(self.key)
        if isinstance(rule, Refused):
            ran = any(result["outputs"] for result in self.results) and rule.kind is not Refusal.NOT_EXACT
            return (
                _refused(Refusal.NOT_COVERED, f"{VERSION} runs it, which LastBit does not cover") if ran else AS_STATED
            )
        return self._delegated(rule) if delegates else self._offered(rule, self.results, self.stated.written_in_part)

    def _delegated(self, rule: Rule | None) -> Fact:
        """The stated rule for what a delegate takes, or that it leaves the variant to other kernels."""
        own = [result for result in self.results if result["delegated"]]
        # A delegate's kernel sees rows, whatever the leading dimensions are.
        own = [result for result in own if not result["output_rank_above_2"]] or own
        if not own:
            failed, failed_newest = (
                Counter({words: n for r in some for words, n in r["refused"].items() if "XNNPACK" in words})
                for some in (self.results, self.today)
            )
            # What it left to other kernels and what it failed on are not told apart by the variant alone.
            if failed and (not any(r["outputs"] for r in self.results) or failed.total() > failed_newest.total()):
                return _refused(Refusal.RUNTIME, f"{VERSION} refuses it: {min(failed).partition(': ')[2]}")
            return LEFT
        if any(own[0]["variant"] in TAKEN_IN_PART.get(what, ()) for what in self.stated.declines):
            return self._offered(rule, own, frozenset())
        left, left_today = (
            sum(r["outputs"] for r in some if not r["delegated"]) for some in (self.results, self.today)
        )
        failed_here, failed_today = (
            sum(sum(r["refused"].values()) for r in some) for some in (self.results, self.today)
        )
        if (left > left_today and not self.stated.declines) or failed_here > failed_today:
            words = f"which of these layers the delegate of {VERSION} takes is not known"
            return _refused(Refusal.NOT_SETTLED, words)
        return self._offered(rule, own, frozenset())

    def _offered(self, rule: Rule | None, results: Sequence[Result], in_part: frozenset[Variant]) -> Fact:
        """The stated rule if this version was seen to follow it, else why not."""
        ran = [result for result in results if result["outputs"]]
        if not ran:
            words = sorted({text for result in results for text in result["refused"]})
            if words:
                return _refused(Refusal.RUNTIME, f"{VERSION} refuses it: {words[0].partition(': ')[2]}")
            return LEFT if rule is None else _refused(Refusal.NOT_ASKED, f"not compared with {VERSION}")
        for result in ran:
            unwritten = result["output_rank_above_2"] and self.key[1] in in_part
            # Rules that were not known when the version ran are compared with what it printed for the golden file.
            fitting = (*result["fitting"], *result.get("recorded", {"fitting": ()})["fitting"])
            if not unwritten and (rule is None or rule.name not in fitting):
                if rule is not None and self.key[1].bias == INT32_BIAS and _on_64_bits(rule.name):
                    return _refused(MISREAD_BIAS.kind, MISREAD_BIAS.reason)
                return _refused(Refusal.NOT_SETTLED, f"the arithmetic of {VERSION} is not known")
        return LEFT if rule is None else {"rule": rule.name}


def _refused(kind: Refusal, reason: str) -> Fact:
    return {"refused": kind.value, "reason": reason}


def _on_64_bits(name: str) -> bool:
    """Whether a rule is of kernels whose bias and accumulator have 64 bits."""
    return name in RULES and RULES[name].sums.bits == 64


if __name__ == "__main__":
    write_facts()
