"""The operators around dense layers against recorded interpreters, and every rival rule refuted."""

import json
import lzma
from collections import defaultdict
from functools import cache

import numpy as np
import pytest

from conftest import GOLDEN
from lastbit.errors import UnsupportedError
from lastbit.ops import OPERATORS
from lastbit.ops.base import output_values
from lastbit.prepare import choose_rule, prepare
from lastbit.runtimes import get_runtime
from lastbit.tflite import load

RUNTIMES = ("litert-xnnpack", "litert-builtin-x86", "litert-reference", "tflm")


@cache
def golden():
    with np.load(GOLDEN / "operators.npz") as archive:
        blob = lzma.decompress(archive["blob"].tobytes())
        described = json.loads(str(archive["cases"]))
    cases, at = [], 0
    for entry in described:
        parts = []
        for size in entry["sizes"]:
            parts.append(blob[at : at + size])
            at += size
        model = load(parts[0])
        inputs = [
            np.frombuffer(raw, tensor.dtype.numpy).reshape(tensor.shape)
            for tensor, raw in zip(model.inputs, parts[1:], strict=False)
        ]
        assert len(inputs) == entry["inputs"]
        cases.append((model, inputs, entry["outcomes"], parts[1 + len(inputs) :]))
    return cases


def joined(op, steps):
    return b"".join(np.ascontiguousarray(value).tobytes() for value in output_values(op, steps).values())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_recorded_output_is_the_interpreters(runtime):
    compared = defaultdict(int)
    for model, inputs, outcomes, results in golden():
        prepared, op = prepare(model, runtime), model.operators[0]
        outcome = outcomes[runtime]
        if not isinstance(outcome, int):
            assert prepared.refusals, f"{op.name} {op.options}: the interpreter {outcome}, LastBit does not"
            continue
        if prepared.refusals:
            assert "not exact" in prepared.refusals[0], prepared.refusals
            continue
        found = joined(op, prepared.operators[0].evaluate(inputs))
        assert found == results[outcome], f"{op.name} {op.options}"
        compared[op.name] += len(found)
    assert len(compared) >= 21
    assert min(compared.values()) > 20, compared


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_rival_rule_is_refuted_by_a_recorded_output(runtime):
    refuted, seen = defaultdict(int), set()
    for model, inputs, outcomes, results in golden():
        op = model.operators[0]
        entry = OPERATORS[op.name]
        if not isinstance(outcomes[runtime], int) or len(entry.rules) == 1:
            continue
        try:
            rule = choose_rule(model, op, get_runtime(runtime))
        except UnsupportedError:
            continue
        if runtime == "litert-xnnpack" and rule.kernel != "xnnpack":
            continue  # the builtin kernels' own test
        own = rule.name
        variant = entry.variant(model, op)
        for rival in entry.rules:
            if rival == own:
                continue
            try:
                found = joined(op, entry.prepare(model, op, rival).evaluate(inputs))
            except (UnsupportedError, ZeroDivisionError):
                continue
            key = (op.name, variant, own, rival)
            seen.add(key)
            refuted[key] += found != results[outcomes[runtime]]
    alive = {key for key in seen if not refuted[key]}
    assert not alive, sorted(alive)
    assert len(seen) > 30


def test_the_golden_file_names_the_interpreters():
    with np.load(GOLDEN / "operators.npz") as archive:
        fingerprints = json.loads(str(archive["fingerprints"]))
    assert set(fingerprints) == set(RUNTIMES)
    for runtime, fingerprint in fingerprints.items():
        assert fingerprint["version"] in get_runtime(runtime).oracle
