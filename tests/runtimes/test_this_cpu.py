"""The default runtime: what Interpreter(model) does on this CPU, under every name it has."""

import json
import platform

import numpy as np
import pytest

import lastbit
from lastbit.cli import main
from lastbit.oracles import ORACLES
from lastbit.runtimes import RUNTIMES, get_runtime, goes_by_cpu, machine, this_cpu
from lastbit.runtimes.this_cpu import ON_ARM64, ON_X86_64, interpreter_here
from tests.support.cli import invoke
from tests.support.models import make_dense_model

X = np.zeros((1, 7), np.int8)
# What Windows calls CPUs, and whether that tells that an AVX2 one has no AVX-VNNI.
WINDOWS = {
    "Intel64 Family 6 Model 94 Stepping 3, GenuineIntel": True,  # Skylake
    "Intel64 Family 6 Model 165 Stepping 5, GenuineIntel": True,  # Comet Lake
    "Intel64 Family 6 Model 154 Stepping 3, GenuineIntel": False,  # Alder Lake
    "Intel64 Family 6 Model 9 Stepping 3, GenuineIntel": False,
    "AMD64 Family 23 Model 113 Stepping 0, AuthenticAMD": True,
    "": False,
}


@pytest.mark.parametrize(("kind", "name"), [*ON_X86_64.items(), *ON_ARM64.items()])
def test_each_kind_of_cpu_has_its_runtime_and_its_interpreter(kind, name, monkeypatch):
    monkeypatch.setattr(this_cpu, "widest_vectors", lambda: kind)
    assert interpreter_here() == get_runtime("auto").name == get_runtime("LiteRT").name == get_runtime("tflite").name
    assert get_runtime("auto").name == name
    assert ORACLES[name].vectors == (kind,)
    assert lastbit.run(make_dense_model(), X).prepared.runtime.name == name


@pytest.mark.parametrize(
    ("kind", "machine_type", "nearest"),
    [
        ("NEON-A53", "aarch64", "litert-xnnpack-arm64-neon and litert-xnnpack-arm64-dotprod"),
        ("SME2", "aarch64", "litert-xnnpack-arm64-neon and litert-xnnpack-arm64-dotprod"),
        ("OLDER", "x86_64", "litert-xnnpack-avx2 and litert-xnnpack-avxvnni"),
        (None, "AMD64", "litert-xnnpack-avx2 and litert-xnnpack-avxvnni"),
    ],
)
def test_a_cpu_without_a_proven_runtime_is_told_the_nearest_and_nothing_is_guessed(
    kind, machine_type, nearest, monkeypatch, tmp_path
):
    monkeypatch.setattr(this_cpu, "widest_vectors", lambda: kind)
    monkeypatch.setattr(platform, "machine", lambda: machine_type)
    with pytest.raises(lastbit.UnsupportedError, match=f"The nearest are {nearest}"):
        lastbit.run(make_dense_model(), X)
    path = tmp_path / "m.tflite"
    path.write_bytes(make_dense_model().content)
    for command in (["thresholds", path], ["explain", path], ["prove", path], ["vectors", path, "-o", tmp_path / "v"]):
        result = invoke(*command)
        assert (result.exit_code, result.stdout) == (3, "")
        assert nearest in result.stderr
    assert not (tmp_path / "v").exists()
    # What does not go by the CPU goes on.
    assert lastbit.diagnose(make_dense_model(), X, lastbit.run(make_dense_model(), X, "tflm").output).exit_code == 0


@pytest.mark.parametrize(("processor", "known"), WINDOWS.items())
def test_windows_does_not_tell_avx_vnni_but_names_the_cpu(processor, known, monkeypatch):
    assert machine.tells_avx_vnni(processor) == known
    monkeypatch.setattr(machine.sys, "platform", "win32")
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(this_cpu, "widest_vectors", lambda: "AVX2")
    if known:
        assert interpreter_here() == "litert-xnnpack-avx2"
    else:
        with pytest.raises(lastbit.UnsupportedError, match="no runtime is proven"):
            interpreter_here()


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("litert-xnpack", "litert-xnnpack"),
        ("xnnpack", "litert-xnnpack"),
        ("cmsis_nn", "cmsis-nn"),
        ("onnx", "onnxruntime"),
        ("LITERT-REFRENCE@1.2", "litert-reference"),
        ("tflm-micro", "tflm"),
    ],
)
def test_a_wrong_name_gets_the_nearest(given, near):
    with pytest.raises(lastbit.RuntimeNameError) as caught:
        get_runtime(given)
    text = str(caught.value)
    assert f"unknown runtime {given!r}. Did you mean " in text
    assert near in text
    assert sum(name in text.split() for name in RUNTIMES) <= 3


def test_a_name_like_none_gets_no_suggestion():
    with pytest.raises(lastbit.RuntimeNameError, match=r"unknown runtime 'zzzzz'\. `lastbit runtimes` lists all names"):
        get_runtime("zzzzz")


def test_what_is_no_name_is_said_so():
    for wrong in (None, 3, ["tflm"]):
        with pytest.raises(lastbit.RuntimeNameError, match="wanted a name such as 'auto'"):
            get_runtime(wrong)


def test_upper_and_lower_case_are_the_same_and_versions_go_with_every_name(monkeypatch):
    assert get_runtime("TFLM") is get_runtime(" tflm ") is RUNTIMES["tflm"]
    assert get_runtime("LiteRT-Reference@TF2.14").name == "litert-reference@tf2.14.1"
    monkeypatch.setattr(this_cpu, "widest_vectors", lambda: "AVX2")
    assert get_runtime("litert@1.4.0").name == "litert-xnnpack-avx2@1.4.0"
    assert goes_by_cpu("Auto@1.4.0")
    assert not goes_by_cpu(RUNTIMES["tflm"])


def test_doctor_begins_with_this_cpus_runtime(monkeypatch):
    monkeypatch.setattr("lastbit.verbs.doctor.verb._start_oracles", lambda progress: [])
    here = interpreter_here()
    assert invoke("doctor").stdout.startswith(f"Interpreter(model) on this CPU is {here}\n")
    assert json.loads(invoke("doctor", "--json").stdout)["this_cpu"]["runtime"] == here
    monkeypatch.setattr(this_cpu, "widest_vectors", lambda: "OLDER")
    assert invoke("doctor").stdout.startswith("no runtime is proven for what Interpreter(model) does on this CPU")


def test_the_resolved_name_stands_in_the_first_line_the_json_and_the_files(tmp_path):
    path, x = tmp_path / "m.tflite", tmp_path / "x.npy"
    path.write_bytes(make_dense_model().content)
    np.save(x, X)
    here = interpreter_here()
    commands = {
        "run": ["-i", x, "-o", tmp_path / "y.npz"],
        "explain": ["-i", x],
        "thresholds": [],
        "vectors": ["-o", tmp_path / "v", "--no-oracle", "--random", 0],
        "evaluate": ["--data", x],
    }
    for command, options in commands.items():
        plain, as_json = (invoke(command, path, *options, *more) for more in ([], ["--json"]))
        first = (plain.stdout or plain.stderr).strip().splitlines()[0]
        assert here in first, (command, first)
        assert here in as_json.stdout
    assert all(here in file.read_text() for file in (tmp_path / "v").glob("*.[jh]*"))


@pytest.mark.parametrize("command", main.commands)
def test_no_help_lists_every_runtime(command):
    text = invoke(command, "--help").stdout
    assert sum(f"{name}," in text for name in RUNTIMES) <= 4, text
