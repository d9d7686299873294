"""Rivals that are refuted nowhere: each is one that no output tells from the rule."""

from collections import Counter, defaultdict
from functools import cache

import pytest

from lab.cases import activations
from lab.collect import evidence_files
from lab.collect.alike import ALIKE, why_alike
from lab.collect.chosen import chosen_cases as cases_to_tell_apart
from lab.collect.operators import chosen_cases, differing, made_by_rules
from lastbit.model.tflite import load, write
from lastbit.runtimes import RUNTIMES, Rule, find_rule
from lastbit.runtimes.variant import Variant, key_of
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES


@cache
def rows():
    """Runtime -> the rows of all parts of its evidence."""
    found = defaultdict(list)
    for part in evidence_files.PARTS:
        for runtime, entry in evidence_files.load_part(part).items():
            found[runtime] += entry["variants"]
    return found


def unrefuted(runtime):
    """Operator, type of the first input, the runtime's own rule and a rival that no output of it refuted."""
    refuted = defaultdict(Counter)
    for row in rows()[runtime]:
        own = find_rule(RUNTIMES[runtime], *key_of(row["operator"], row["variant"]), declined=False)
        # Rows of dense layers name no rule: they are of the runtime's own one.
        if isinstance(own, Rule) and own.name == row.get("rule", own.name):
            key = row["operator"], Variant.parse(row["variant"]).input, own.name
            refuted[key].update(row["rivals_refuted_at"])
    return {(*key, rival) for key, counts in refuted.items() for rival, count in counts.items() if not count}


@pytest.mark.parametrize("runtime", OPERATOR_RUNTIMES)
def test_every_rival_is_refuted_or_alike(runtime):
    left = {key for key in unrefuted(runtime) if not why_alike(*key)}
    assert not left, sorted(left)


def models():
    """Models of one operator with an input for each of theirs."""
    operators = tuple(sorted(frozenset().union(*(a.operators for a in ALIKE))))
    for case in (*cases_to_tell_apart(), *chosen_cases(2026, 0.01, operators, "")):
        if case.op in operators:
            yield case.model(), case.values
    for around in activations.cases(2026, 6):
        for x in around.samples[:2]:
            yield load(write(around.graph)), [x]


def test_rules_that_are_alike_give_the_same_bits():
    seen = Counter()
    for model, values in models():
        operator, dtype = model.operators[0].name, model.inputs[0].dtype.name
        found = [alike for alike in ALIKE if operator in alike.operators and dtype in alike.types]
        made = made_by_rules(model, values) if found else {}
        for alike in found:
            first, *others = [outputs for rule, outputs in made.items() if rule in alike.rules] or [None]
            assert not any(differing(first, other) for other in others), (operator, alike)
            seen[alike] += len(others)
    assert all(seen[alike] for alike in ALIKE), [alike for alike in ALIKE if not seen[alike]]
