"""The recorder's C++ file prints the same with the C++ in tflite-micro's wheel as record.py brings back."""

import shutil
import sys

import numpy as np
import pytest

from lab.checks.micro_recorder import printed_in_wheel, recorded_in_python
from lastbit.verbs.record.recording import read_recording
from lastbit.verbs.record.verb import record
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model


@needs_all_interpreters
@pytest.mark.skipif(shutil.which("g++") is None or sys.platform != "linux", reason="needs g++")
def test_it_prints_the_same_as_the_python_interpreter(tmp_path):
    model = make_dense_model(units=5, depth=40)
    record(model, samples=2).write(str(tmp_path))
    log = tmp_path / "log.txt"
    log.write_text(printed_in_wheel(tmp_path))
    printed, wanted = read_recording(log, model), recorded_in_python(tmp_path, model)
    for ours, theirs in zip(printed.samples, wanted.samples, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[index], theirs[index]) for index in theirs)
