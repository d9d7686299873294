"""lab/reach/tape.py and lab/reach/emulated/run_tape.py: what comes back by tape is what the interpreter prints."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lab.reach.tape import open_tape, unanswered
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.oracles import OracleFailure, OracleRefusal, installed, open_oracle
from tests.support.interpreters import XNNPACK
from tests.support.places import ROOT

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="run_tape.py forks, and reads Linux's list of CPUs"),
    pytest.mark.skipif(installed(XNNPACK) is None, reason="needs ai-edge-litert: pip install '.[litert]'"),
]


def model(rng, scale):
    w = rng.integers(-127, 128, (5, 9)).astype(np.int8)
    zero_point = {"input_quant": quant(scale, 3), "output_quant": quant(0.4, -7)}
    return write(dense_subgraph(w, weights_quant=quant(0.02), bias=rng.integers(-99, 99, 5), **zero_point))


def test_a_tape_brings_back_what_the_interpreter_prints(tmp_path, rng):
    jobs = [(model(rng, scale), [[rng.integers(-128, 128, (2, 9)).astype(np.int8)]]) for scale in (0.1, 0.3)]
    jobs.append((b"no model", []))
    tape = tmp_path / "tape"
    with open_tape(XNNPACK, tape) as oracle:
        for content, samples in jobs:
            with pytest.raises(OracleRefusal, match="on tape"):
                oracle.run(content, samples, resize=True)
    assert unanswered({XNNPACK: tape}) == [XNNPACK]
    guest = tmp_path / "guest"
    guest.mkdir()
    emulated, source = ROOT / "lab" / "reach" / "emulated", ROOT / "src" / "lastbit"
    for path in (emulated / "run_tape.py", emulated / "tape_entry.py"):
        shutil.copy(path, guest)
    for path in (source / "oracles" / "tflite_worker.py", source / "runtimes" / "machine.py"):
        shutil.copy(path, guest)
    command = [sys.executable, str(guest / "run_tape.py"), str(tape), "AUTO", "emulated here"]
    subprocess.run(command, check=True, capture_output=True, cwd=guest)
    assert unanswered({XNNPACK: tape}) == []
    assert json.loads((tmp_path / "tape.machine").read_text())["cpu"].endswith("), emulated here")
    with open_tape(XNNPACK, tape) as played, open_oracle(XNNPACK) as real:
        assert played.fingerprint.version == real.fingerprint.version
        for content, samples in reversed(jobs[:2]):
            ((found,),) = played.run(content, samples, resize=True).outputs
            ((wanted,),) = real.run(content, samples, resize=True).outputs
            np.testing.assert_array_equal(found, wanted, strict=True)
        with pytest.raises(OracleFailure):
            played.run(*jobs[2], resize=True)
