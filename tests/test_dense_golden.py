"""Dense layers against what real interpreters printed, recorded with their fingerprints by tools/record_dense.py."""

import itertools
import json
from functools import cache

import numpy as np
import pytest

from conftest import GOLDEN
from lastbit.arith.requantize import RULES
from lastbit.errors import UnsupportedError
from lastbit.ops.fully_connected import prepare_fully_connected
from lastbit.prepare import prepare_operator
from lastbit.runtimes import RUNTIMES
from lastbit.tflite import load

LISTING = json.loads((GOLDEN / "dense.json").read_text())
CASES = LISTING["cases"]


@cache
def golden():
    with np.load(GOLDEN / "dense.npz") as file:
        return dict(file)


@cache
def model_of(number):
    return load(golden()[f"{number}/model"].tobytes())


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n}-{CASES[n]['family']}".replace(" ", "_"))
def test_equals_the_recorded_interpreter(number, runtime):
    model = model_of(number)
    if runtime in CASES[number]["refused"]:
        with pytest.raises(UnsupportedError):
            prepare_operator(model, model.operators[0], runtime)
        return
    prepared = prepare_operator(model, model.operators[0], runtime)
    for x, wanted in zip(golden()[f"{number}/x"], golden()[f"{number}/{runtime}"], strict=True):
        np.testing.assert_array_equal(prepared.evaluate([x])["output"], wanted)


def test_the_golden_set_holds_refusals_and_every_family():
    assert {name for case in CASES for name in case["refused"]} == set(RUNTIMES)
    assert len({case["family"] for case in CASES}) == 11
    for fingerprint in LISTING["fingerprints"].values():
        assert fingerprint["version"]
        assert "avx" in fingerprint["cpu"]


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_kill_matrix_every_pair_of_rules_is_separated_by_the_golden_set(granularity):
    """Any two rules give different outputs somewhere in the set, so no rival of a runtime's rule could pass it."""
    alive = set(itertools.combinations(RULES, 2))
    for number, case in enumerate(CASES):
        if case["granularity"] != granularity or not alive or "refuse" in case["family"]:
            continue
        model = model_of(number)
        outputs = {}
        for name in {name for pair in alive for name in pair}:
            rule = prepare_fully_connected(model, model.operators[0], name)
            outputs[name] = np.stack([rule.evaluate([x])["output"] for x in golden()[f"{number}/x"]])
        alive = {(a, b) for a, b in alive if np.array_equal(outputs[a], outputs[b])}
    assert not alive
