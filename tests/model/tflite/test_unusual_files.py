"""Unusual files: what LastBit does with each follows from what real interpreters did (tests/recorded/files.json)."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from lab.pages import files as files_page
from lastbit import inspect, load, run
from lastbit.model.errors import UnsupportedError
from lastbit.model.faults import FaultKind
from lastbit.ops.prepare import prepare
from tests.support.places import MODELS, needs_shared_models

RECORDED = json.loads(files_page.GOLDEN.read_text())["files"]

# Refusals that are not of the file: LiteRT's Python module wants names in UTF-8, TensorFlow Lite Micro's arena is full.
NOT_OF_THE_FILE = ("a name is no UTF-8", "unused tensor: 2^31 elements")
# Groups in which LastBit gives the numbers of every runtime that runs the file, where it covers the types at all.
EXACT_GROUPS = ("weights scale 0", "scales that nobody reads")


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["what"])
def test_lastbit_does_what_the_interpreters_did(entry):
    content = files_page.content_of(entry)
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    inputs = [files_page.unpacked(value) for value in entry["inputs"]]
    for runtime, answer in entry["answers"].items():
        found = files_page.lastbit_answer(content, inputs, runtime)
        if answer["answer"] != "ran":
            assert isinstance(found, str) or entry["what"] in NOT_OF_THE_FILE, runtime
        elif isinstance(found, str):
            assert found.startswith("refused: "), runtime  # it was opened
            if entry["group"] in EXACT_GROUPS:
                assert "is not covered yet" in found, runtime
        else:
            assert files_page.same(found, answer["outputs"]), runtime


def test_where_the_delegate_left_the_operator_alone_so_does_lastbit():
    checked = 0
    for entry in RECORDED:
        answer = entry["answers"]["litert-xnnpack"]
        prepared = prepare(load(files_page.content_of(entry)), "litert-xnnpack") if answer["answer"] == "ran" else None
        if prepared is not None and len(prepared.operators) == len(prepared.model.operators) == 1:
            checked += 1
            assert (prepared.operators[0].kernel == "xnnpack") == answer["delegated"], entry["what"]
    assert checked > 80


def test_the_document_is_what_was_recorded():
    assert files_page.PAGE.read_text() == files_page.page()


@needs_shared_models
def test_a_model_that_tflm_runs_and_litert_refuses():
    path = MODELS / "more" / "tflm_person_detect.tflite"
    model = load(path)
    assert {fault.kind for fault in model.faults} == {FaultKind.QUANTIZED_DIMENSION}
    x = np.zeros((1, 96, 96, 1), np.int8)
    assert run(model, x, "tflm").output.shape == (1, 2)
    with pytest.raises(UnsupportedError, match=r"LiteRT refuses the file: .*its quantized_dimension is 3"):
        run(model, x, "litert-reference")
    assert "LiteRT refuses this file" in str(inspect(model))
