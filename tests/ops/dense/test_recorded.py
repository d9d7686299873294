"""Dense layers against what real interpreters printed, recorded with their fingerprints by lab/record/dense.py."""

import itertools
import re
from functools import cache

import numpy as np
import pytest

from lab.record.dense import SETS, stored
from lastbit.layers.differences import same_bits
from lastbit.model.errors import UnsupportedError
from lastbit.model.tflite import load
from lastbit.ops.prepare import prepare_operator

LISTINGS, RECORDED = {}, {}
for _name in SETS:
    LISTINGS[_name], RECORDED[_name] = stored(_name)
CASES = [
    pytest.param(name, number, runtime, id=f"{name}-{number}-{case['family']}-{runtime}".replace(" ", "_"))
    for name, listing in LISTINGS.items()
    for number, case in enumerate(listing["cases"])
    for runtime in listing["fingerprints"]
]


@cache
def model_of(name, number):
    return load(RECORDED[name][number]["model"].tobytes())


@pytest.mark.parametrize(("name", "number", "runtime"), CASES)
def test_equals_the_recorded_interpreter(name, number, runtime):
    model = model_of(name, number)
    if runtime in LISTINGS[name]["cases"][number]["refused"]:
        with pytest.raises(UnsupportedError):
            prepare_operator(model, model.operators[0], runtime)
        return
    prepared = prepare_operator(model, model.operators[0], runtime)
    recorded = RECORDED[name][number]
    for x, wanted in zip(recorded["x"], recorded[runtime], strict=True):
        found = prepared.evaluate([x])["output"]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert same_bits(wanted, found).all()


@pytest.mark.parametrize("name", SETS)
def test_every_golden_set_holds_what_it_says(name):
    listing = LISTINGS[name]
    assert {runtime for case in listing["cases"] for runtime in case["refused"]} <= set(listing["fingerprints"])
    assert any(case["refused"] for case in listing["cases"])
    assert len({case["family"] for case in listing["cases"]}) == SETS[name].families
    for fingerprint in listing["fingerprints"].values():
        assert fingerprint["version"]
        assert fingerprint["cpu"]


# Rules of older versions only: tests/runtimes/test_versions.py holds them apart from later ones, by inputs made for it.
OLDER = re.compile(
    r"hybrid-(qd8-(scale_inverted|nan_takes_low)-.*|int8-tail_32-.*|.*-portable.*)|.*/channel_scales_lost"
)
# Only SME's kernels of int8 weights follow it; its golden set is that of ARM64.
SME = re.compile(r"float32-half_even-saturate32(/acc28)?")
GROUPS = [(name, group) for name in SETS for group in dict.fromkeys(c["group"] for c in LISTINGS[name]["cases"])]


@pytest.mark.parametrize(("name", "group"), GROUPS)
def test_kill_matrix_every_pair_of_rules_is_separated_by_the_golden_set(name, group):
    """Any two rules give different outputs somewhere in the set, so no rival of a runtime's rule could pass it."""
    proven_equal = {pair for of, pair in SETS[name].equal if of == group}
    alive = None
    for number, case in enumerate(LISTINGS[name]["cases"]):
        # A layer that some kernel refuses tells nothing of the others' rules.
        if case["group"] != group or alive == set() or "refuse" in case["family"]:
            continue
        model = model_of(name, number)
        rivals = SETS[name].rivals(model, model.operators[0])
        others = (OLDER, SME) if "int4" in group else (OLDER,)
        rules = {
            rule: prepared for rule, prepared in rivals.items() if not any(kind.fullmatch(rule) for kind in others)
        }
        if alive is None:
            alive = set(itertools.combinations(sorted(rules), 2)) - proven_equal
            assert alive
        needed = {rule for pair in alive for rule in pair}
        xs = RECORDED[name][number]["x"]
        outputs = {rule: np.stack([rules[rule].evaluate([x])["output"] for x in xs]) for rule in needed}
        alive = {(a, b) for a, b in alive if same_bits(outputs[a], outputs[b]).all()}
    assert not alive
