"""The commands that look at interpreters: verify, demo, runtimes, doctor."""

import json
import sys
import types
from pathlib import Path

import pytest

from lastbit.oracles import installed
from lastbit.report.blocks import Report, Text
from lastbit.runtimes import RUNTIMES
from tests.support.cli import fill, invoke
from tests.support.interpreters import needs_all_interpreters


@pytest.fixture
def here(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Told(Report):
    """A report that has an exit code, in the place of a slow one."""

    def __init__(self, exit_code):
        self.exit_code = exit_code

    def as_dict(self):
        return {"schema": "test/1"}

    def in_short(self):
        return ["told"]

    def blocks(self):
        return [Text("told [bold]this[/bold]", "bad")]


@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_verify_passes_its_arguments_and_ends_with_the_reports_code(here, monkeypatch, code):
    seen = {}

    def fake(model, runtimes, *, x, samples, seed, progress, library, allow_gaps):
        seen.update(model=model.source, runtimes=runtimes, samples=samples, seed=seed)
        progress(0, 2, "first")
        return Told(code)

    module = types.SimpleNamespace(verify=fake, DEFAULT_SAMPLES=64)
    monkeypatch.setitem(sys.modules, "lastbit.verbs.verify.verb", module)
    result = invoke("verify", "m.tflite")
    assert result.exit_code == code
    assert result.stdout == "told [bold]this[/bold]\n"
    assert seen == {"model": "m.tflite", "runtimes": None, "samples": 64, "seed": 0}
    result = invoke(
        *("verify", "m.tflite", "--runtime", "tflm", "--runtime", "litert-builtin-x86"),
        *("--samples", 7, "--seed", 3, "--json"),
    )
    assert json.loads(result.stdout) == {"schema": "test/1"}
    assert seen == {"model": "m.tflite", "runtimes": ["tflm", "litert-builtin-x86"], "samples": 7, "seed": 3}


def test_the_default_number_of_samples_in_help_is_that_of_verify():
    from lastbit.verbs.verify.verb import DEFAULT_SAMPLES

    assert f"[default: {DEFAULT_SAMPLES}]" in invoke("verify", "-h").stdout


@needs_all_interpreters
def test_verify_and_doctor_with_the_real_interpreters(here, monkeypatch):
    result = invoke("verify", "m.tflite", "--samples", 2, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["exact"]
    result = invoke("doctor")
    assert result.exit_code == 0
    there = sum(installed(name) is not None for name in RUNTIMES)
    assert f"{there} of {len(RUNTIMES)} real interpreters run here" in result.stdout
    monkeypatch.setenv("COLUMNS", "200")
    assert invoke("doctor", "-v").stdout.count("starts and computes a small layer") == there


def test_runtimes_and_doctor_have_json(here):
    assert json.loads(invoke("runtimes", "--json").stdout)["schema"].startswith("lastbit.runtimes/")
    data = json.loads(invoke("doctor", "--json").stdout)
    assert data["schema"] == "lastbit.doctor/1"
    assert data["core"]["works"]
    assert {entry["distribution"] for entry in data["extras"]} >= {"ai-edge-litert", "tflite-micro"}
    assert {entry["name"] for entry in data["oracles"]} == set(RUNTIMES)


def test_doctor_without_interpreters_says_how_to_install_them(monkeypatch):
    from importlib import metadata

    def version(distribution):
        if distribution in ("ai-edge-litert", "tflite-micro"):
            raise metadata.PackageNotFoundError(distribution)
        return real(distribution)

    real = metadata.version
    monkeypatch.setattr(metadata, "version", version)
    result = invoke("doctor")
    assert result.exit_code == 0
    assert 'ai-edge-litert is not installed. If you need it:\n  pip install "ai-edge-litert==2.3.0"\n' in result.stdout
    monkeypatch.setenv("COLUMNS", "200")
    assert invoke("doctor", "-v").stdout.count("not installed") >= 6


def test_doctor_knows_another_version_and_another_platform(monkeypatch):
    from importlib import metadata

    from lastbit.verbs.doctor import verb as doctor

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.4.0" if name == "ai-edge-litert" else real(name))
    entry = doctor._extra(doctor._EXTRAS[0])
    assert (entry["status"], entry["proven"]) == ("another version", "2.3.0")
    assert "ai-edge-litert 1.4.0 is not the version that LastBit was proven with" in doctor._advice(entry)
    assert 'pip install "ai-edge-litert==2.3.0"' in doctor._advice(entry)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setattr(doctor.sys, "platform", "win32")
    entry = doctor._extra(doctor._EXTRAS[1])
    assert "it exists for Linux on x86-64 only" in doctor._advice(entry)


def test_doctor_proves_the_versions_that_pyproject_pins():
    import tomllib

    from lastbit.verbs.doctor.verb import proven_versions

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    pins = project["optional-dependencies"]
    extras = ("litert", "tflm", "onnxruntime", "torch")
    found = dict(pin.split(";")[0].strip().split("==") for extra in extras for pin in pins[extra] if "==" in pin)
    assert proven_versions() == found


def test_doctor_ends_with_70_where_the_core_is_broken(monkeypatch):
    from lastbit.verbs.doctor import verb as doctor

    monkeypatch.setattr(doctor, "load", lambda content: 1 / 0)
    result = invoke("doctor", "--json")
    assert result.exit_code == 70
    assert "ZeroDivisionError" in json.loads(result.stdout)["core"]["detail"]
