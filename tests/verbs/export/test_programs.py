"""Exported programs, compiled and held to the real interpreters; and what a wrong copy's self-test says."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import lastbit
from lab.reach.c_programs import COMPILERS, compile_program, compiler, outputs_of, selftest_of
from lastbit.model.types import IntegerType
from lastbit.oracles import on_this_machine, open_oracle
from tests.support.interpreters import needs_all_interpreters
from tests.support.models import make_dense_model
from tests.support.places import MODELS, needs_shared_models

W = np.random.default_rng(20).integers(-127, 128, (6, 20))
B = np.random.default_rng(20).integers(-3000, 3000, 6)
PER_CHANNEL = np.random.default_rng(20).uniform(0.002, 0.01, 6)
SCALES = {"input": (0.02, 3), "weights_scale": 0.005, "output": (0.03, -5)}
DENSE = {
    "int8": ((W.astype(np.int8), B), SCALES | {"activation": "RELU6"}),
    "int8 per-channel": ((W.astype(np.int8), B), SCALES | {"weights_scale": PER_CHANNEL, "input_shape": (1, 4, 20)}),
    "uint8": (
        ((W + 128).astype(np.uint8), B),
        {"input": (0.02, 120), "weights_scale": 0.005, "weights_zero_point": 131, "output": (0.03, 7)},
    ),
    "int4": ((np.clip(W // 16, -7, 7).astype(np.int8), B), SCALES | {"weights_dtype": "int4"}),
    "int16": (
        (W.astype(np.int8), B),
        {"input": (0.0005, 0), "weights_scale": 0.005, "output": (0.002, 0), "dtype": "int16"},
    ),
}
RUNTIMES = [on_this_machine(name) for name in ("tflm", "litert-builtin-x86", "litert-reference", "litert-xnnpack")]


def inputs(model, count, seed=20):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        sample = []
        for tensor in model.inputs:
            if isinstance(tensor.dtype, IntegerType):
                low, high = tensor.dtype.qmin, tensor.dtype.qmax
                sample.append(rng.integers(low, high, tensor.shape, tensor.dtype.numpy, endpoint=True))
            else:
                sample.append(rng.normal(0, 2, tensor.shape).astype(np.float32))
        found.append(sample)
    return found


def needs(name):
    if (why := compiler(name)) is not None:
        pytest.skip(why)


@needs_all_interpreters
@pytest.mark.live
@pytest.mark.parametrize("name", DENSE)
def test_a_dense_layer_prints_what_every_real_interpreter_prints(name, tmp_path):
    needs("gcc")
    arguments, options = DENSE[name]
    model = lastbit.dense(*arguments, **options)
    compared = 0
    for runtime in RUNTIMES:
        if lastbit.prepare(model, runtime).refused:
            continue
        report = lastbit.export(model, runtime, name="layer")
        program = compile_program(report, tmp_path)
        assert selftest_of(program) == -1
        samples = inputs(model, 300)
        with open_oracle(runtime) as oracle:
            wanted = oracle.run(model.content, samples).outputs
        for ours, theirs in zip(outputs_of(program, report, samples), wanted, strict=True):
            np.testing.assert_array_equal(ours[0].reshape(theirs[0].shape), theirs[0])
            compared += ours[0].size
    assert compared >= 2 * 300 * 6


@pytest.mark.parametrize("name", COMPILERS)
def test_every_compiler_takes_it_without_a_word(name, tmp_path):
    needs(name)
    model = make_dense_model(units=5, depth=7, per_channel=True)
    report = lastbit.export(model, "litert-reference", name="layer")
    assert selftest_of(compile_program(report, tmp_path, name)) == -1


@needs_all_interpreters
@needs_shared_models
@pytest.mark.live
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("stem", ["mlt_kws_ref", "arm_kws_cnn_s", "adi_dtln_int16_1", "tfliters_mnistnet_u8"])
def test_a_whole_model_prints_what_the_real_interpreter_prints(stem, runtime, tmp_path):
    needs("gcc")
    model = lastbit.load(MODELS / f"{stem}.tflite")
    if lastbit.prepare(model, runtime).refused:
        pytest.skip(f"{runtime} does not run {stem}")
    report = lastbit.export(model, runtime)
    program = compile_program(report, tmp_path)
    assert selftest_of(program) == -1
    samples = inputs(model, 6)
    with open_oracle(runtime) as oracle:
        wanted = oracle.run(model.content, samples).outputs
    for ours, theirs in zip(outputs_of(program, report, samples), wanted, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.reshape(b.shape), b)


MUTATIONS = {
    "a multiplication that rounds down": (r"\(int64_t\)a \* b \+ \(INT64_C\(1\) << 30\)", "(int64_t)a * b"),
    "a shift that rounds half up": (r"value < 0 \? -\(\(half - value\) >> count\) : ", ""),
    "a bound": (r"(\d+) /\* activation_max \*/", lambda m: f"{int(m[1]) - 1} /* activation_max */"),
    "a padding": (r"(\d+), (\d+) /\* padding \*/", lambda m: f"{int(m[1]) + 1}, {m[2]} /* padding */"),
    "an input offset": (r"(-?\d+) /\* input_offset \*/", lambda m: f"{int(m[1]) + 1} /* input_offset */"),
    "an output offset": (r"(-?\d+) /\* output_offset \*/", lambda m: f"{int(m[1]) + 1} /* output_offset */"),
    "a stride": (r"(\d+), (\d+) /\* strides \*/", lambda m: f"{int(m[1]) + 1}, {m[2]} /* strides */"),
}


@needs_shared_models
@pytest.mark.parametrize("what", MUTATIONS)
def test_the_self_test_of_a_wrong_copy_fails(what, tmp_path):
    needs("gcc")
    pattern, instead = MUTATIONS[what]
    report = lastbit.export(MODELS / "mlt_kws_ref.tflite", "tflm", name="kws")
    text = report.files["kws.c"]
    places = list(re.finditer(pattern, text))
    assert places
    for match in (places[0], places[-1]):
        changed = match.expand(instead) if isinstance(instead, str) else instead(match)
        report.files["kws.c"] = text[: match.start()] + changed + text[match.end() :]
        assert selftest_of(compile_program(report, tmp_path, flags=("-O2",))) >= 0


FUSING = {
    "gcc": ("gcc", ("-std=gnu99", "-O2", "-mfma", "-ffp-contract=fast")),
    "clang": ("clang", ("-std=gnu99", "-O2", "-mfma", "-ffp-contract=fast")),
    "g++": ("g++", ("-O2", "-mfma", "-ffp-contract=fast")),
}


def has_fma():
    place = Path("/proc/cpuinfo")
    return place.exists() and re.search(r"^flags\s*:.*\bfma\b", place.read_text(), re.M) is not None


@needs_shared_models
@pytest.mark.parametrize("name", FUSING)
def test_floats_stay_right_where_a_compiler_may_fuse_and_the_self_test_notices_where_it_does(name, tmp_path):
    needs(name)
    if not has_fma():
        pytest.skip("this CPU has no fused multiply-add")
    report = lastbit.export(MODELS / "mlt_toycar_fullint_micro_v01.tflite", "litert-builtin-x86", op=11, name="reals")
    assert "fused multiply-add" in report.test.kills[11].caught
    assert selftest_of(compile_program(report, tmp_path, name, FUSING[name][1])) == -1
    text = report.files["reals.c"]
    assert "volatile float product" in text
    report.files["reals.c"] = text.replace("volatile float product", "const float product")
    assert selftest_of(compile_program(report, tmp_path, name, FUSING[name][1])) >= 0


@needs_shared_models
def test_fast_math_is_refused_by_the_file_itself(tmp_path):
    needs("gcc")
    report = lastbit.export(MODELS / "arm_kws_cnn_s.tflite", "litert-builtin-x86", name="kws")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compile_program(report, tmp_path, "gcc", ("-O2", "-ffast-math"))
    assert "ffast-math" in refused.value.stderr
