"""The command line as a user meets it: help, inspect, run, explain, extract; exit codes, streams, files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

import lastbit
from lab.cases.variables import streams
from lastbit import run as run_model
from lastbit.cli import main
from lastbit.model.tflite import load
from lastbit.runtimes import RUNTIMES
from tests.support.cli import X, fill, invoke, shell
from tests.support.places import MODELS, needs_shared_models

COMMANDS = ("inspect", "run", "explain", "verify", "extract", "demo", "runtimes", "doctor")


@pytest.fixture
def here(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- help, version, usage ---


def listed_commands(text: str) -> list[str]:
    """The commands that a help text of the group lists, in order."""
    lines = text.split("Show this message and exit.")[1].split("Exit codes:")[0].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ") and line.strip()]


def test_help_is_one_screen_of_commands_in_groups():
    for flag in ("-h", "--help"):
        result = invoke(flag)
        assert result.exit_code == 0
        assert len(listed_commands(result.stdout)) <= 12
        titles = ("Look into a model:", "Run it:", "Check what was printed:", "Make something:", "About this system:")
        for text in (*titles, "Exit codes:", "70   a fault of LastBit itself", "lastbit --help --all"):
            assert text in result.stdout
        assert "..." not in result.stdout.split("Look into")[1].split("Exit codes:")[0]  # nothing is cut off
        assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("flags", [("--help", "--all"), ("--all", "-h")])
def test_help_all_lists_every_command_once(flags):
    result = invoke(*flags)
    assert result.exit_code == 0
    assert sorted(listed_commands(result.stdout)) == sorted(main.commands)
    assert "..." not in result.stdout.split("Look into")[1].split("Exit codes:")[0]
    assert "more commands" not in result.stdout


def test_no_help_text_lists_the_names_of_runtimes():
    for command in main.commands:
        text = invoke(command, "--help").stdout
        assert len([name for name in RUNTIMES if name in text.split()]) <= 1, command


def test_the_name_of_old_of_identify_is_accepted(here):
    assert invoke("whence", "--help").stdout.splitlines()[2:] == invoke("identify", "--help").stdout.splitlines()[2:]
    assert "whence" not in invoke("--help", "--all").stdout
    assert lastbit.whence is lastbit.identify
    assert "whence" not in dir(lastbit)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_documented_options(command):
    result = invoke(command, "-h")
    assert result.exit_code == 0
    assert result.stderr == ""
    for parameter in main.commands[command].params:
        assert not isinstance(parameter, click.Option) or parameter.help


def test_version_and_light_imports():
    result = shell("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("lastbit ")
    assert len(result.stdout.split()[1]) > 1
    code = "import sys, lastbit.cli; print({'rich', 'tflite', 'ai_edge_litert'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["inspect"], "Missing argument 'MODEL'"),
        (["inspect", "m.tflite", "--op", "x"], "Invalid value for '--op'"),
        (["run", "m.tflite"], "Missing option '-o' / '--output'"),
        (["verify", "m.tflite", "--samples", "0"], "Invalid value for '--samples'"),
        (["explain", "m.tflite", "--format", "pdf"], "'pdf' is not one of 'text', 'json', 'latex'"),
    ],
)
def test_usage_errors_exit_with_2_on_stderr(here, args, text):
    result = invoke(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert text in result.stderr


@pytest.mark.parametrize("command", ["inspect", "explain", "verify"])
def test_a_missing_model_is_told_by_the_reader(here, command):
    result = invoke(command, "no.tflite")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "error: no.tflite: no such file. Check the path; a .tflite file is wanted.\n"


def test_markup_in_names_is_text_and_not_markup(here):
    result = invoke("inspect", "[red]x[/red].tflite")
    assert "error: [red]x[/red].tflite: no such file." in result.stderr
    Path("[bold]m.tflite").write_bytes(Path("m.tflite").read_bytes())
    assert "[bold]m.tflite" in invoke("inspect", "[bold]m.tflite").stdout


# --- inspect ---


def test_inspect_prints_text_or_json(here):
    result = invoke("inspect", "m.tflite")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "Dense layer 0: [5,7]" in result.stdout
    assert "Dense layers" in invoke("inspect", "m.tflite", "-v").stdout
    result = invoke("inspect", "m.tflite", "--op", 0, "--json")
    assert json.loads(result.stdout)["schema"] == "lastbit.inspect/1"
    assert result.stdout == lastbit.inspect("m.tflite", 0).json() + "\n"
    result = invoke("inspect", "m.tflite", "--op", 3)
    assert result.exit_code == 2
    assert "there is no operator 3" in result.stderr


@needs_shared_models
def test_inspect_all_channels(here):
    path = MODELS / "mlt_toycar_fullint_micro_v01.tflite"
    assert re.search(r"units 0 to \d of 640 \(all: --all-channels\)", invoke("inspect", path, "--op", 10).stdout)
    text = invoke("inspect", path, "--op", 10, "--all-channels").stdout
    assert "--all-channels" not in text
    assert "\n  639 " in text


# --- run ---


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_run_writes_what_the_runtime_computes(here, runtime):
    result = invoke("run", "m.tflite", "-i", "x.npy", "-o", "out.npz", "--runtime", runtime)
    assert result.exit_code == 0
    assert result.stdout == ""
    first, *warnings, output, wrote = result.stderr.splitlines()
    assert first == f"{runtime}: 1 of 1 operators ran"
    assert (output, wrote) == ("  output 3 'output': int8[4, 5]", "wrote out.npz")
    # The one kernel here whose sums can go wrong.
    assert [w.startswith("warning: operator 0") for w in warnings] == [True] * (runtime == "torch-fbgemm-avx2")
    with np.load("out.npz") as found:
        np.testing.assert_array_equal(found["3"], run_model("m.tflite", X, runtime).output)


def test_run_writes_a_npy_and_every_step(here):
    trace = run_model("m.tflite", X)
    assert invoke("run", "m.tflite", "-i", "x.npy", "-o", "out.npy").exit_code == 0
    np.testing.assert_array_equal(np.load("out.npy"), trace.output)
    result = invoke("run", "m.tflite", "-i", "x.npy", "-o", "all.npz", "--all", "--json")
    data = json.loads(result.stdout)
    assert data["schema"] == "lastbit.run/1"
    assert data["complete"]
    assert data["written"] == "all.npz"
    with np.load("all.npz") as found:
        assert sorted(found.files) == sorted(["about", *(entry["key"] for entry in data["arrays"])])
        assert set(found.files) == {"about", "3", *(f"op0/{step}" for step in trace[0].steps)}
        about = json.loads(str(found["about"]))
        assert (about["schema"], about["arrays"]) == ("lastbit.arrays/1", data["arrays"])
        np.testing.assert_array_equal(found["op0/acc"], trace[0].acc)
        assert found["op0/acc"].dtype == np.int32


def test_run_quantizes_real_values_only_when_asked(here):
    result = invoke("run", "m.tflite", "-i", "real.npy", "-o", "out.npz")
    assert result.exit_code == 2
    assert "found dtype float32, wanted int8. Real values must be quantized first" in result.stderr
    assert "or use --quantize-input." in result.stderr
    assert not Path("out.npz").exists()
    assert (
        invoke("run", "m.tflite", "-i", "real.npy", "-o", "out.npy", "--quantize-input", "--runtime", "tflm").exit_code
        == 0
    )
    wanted = run_model("m.tflite", np.load("real.npy"), "tflm", quantize_input=True).output
    np.testing.assert_array_equal(np.load("out.npy"), wanted)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-i", "x.npy", "-o", "out.csv"], "out.csv: the output's name ends in '.csv', wanted .npz or .npy"),
        (["-i", "x.npy", "-o", "no/out.npz"], "no/out.npz: cannot be written: there is no folder "),
        (["-i", "x.npy", "-o", "x.npy"], "x.npy: is being read and would be replaced"),
        (["-i", "input=x.npy", "-o", "x.npy"], "x.npy: is being read and would be replaced"),
        (["-i", "x.npy", "-o", "out.npy", "--all"], "a .npy holds one array, but --all gives many; name the"),
        (
            ["-i", "x.npy", "-o", "out.npz", "--runtime", "xnnpack"],
            "'xnnpack'. Did you mean litert-xnnpack",
        ),
        (["-i", "no.npy", "-o", "out.npz"], "no.npy: no such file. Check the path."),
        (["-o", "out.npz"], "No input given. Add -i x.npy (int8, [1, 7])."),
        (["-i", "short.npy", "-o", "out.npz"], "found shape [4, 6], wanted [1, 7]"),
    ],
)
def test_run_refuses_what_cannot_be_and_leaves_the_folder_as_it_was(here, args, text):
    np.save("short.npy", X[:, :6])
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    result = invoke("run", "m.tflite", *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert text in result.stderr
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_run_writes_what_it_could_compute_and_lists_the_rest(here):
    inner = run_model("m.tflite", X).output
    result = invoke("run", "partial.tflite", "-i", "x.npy", "-o", "out.npz", "--runtime", "litert-xnnpack", "--json")
    assert result.exit_code == 3
    assert "partial.tflite: 1 of 2 operators are not covered on litert-xnnpack:" in result.stderr
    assert "  - operator 1 FLOOR: this operator is not covered yet" in result.stderr
    assert "inner tensor 3 'output': int8[4, 5]" in result.stderr
    data = json.loads(result.stdout)
    assert not data["complete"]
    assert [entry["operator"] for entry in data["not_covered"]] == [1]
    with np.load("out.npz") as found:
        assert found.files == ["3", "about"]
        np.testing.assert_array_equal(found["3"], inner)
    assert invoke("run", "partial.tflite", "-i", "x.npy", "-o", "all.npz", "--all").exit_code == 3
    with np.load("all.npz") as found:
        np.testing.assert_array_equal(found["op0/output"], inner)


def test_run_does_not_pass_an_inner_tensor_off_as_the_output(here):
    result = invoke("run", "partial.tflite", "-i", "x.npy", "-o", "out.npy")
    assert result.exit_code == 3
    assert "nothing written: the model's output was not reached" in result.stderr
    assert not Path("out.npy").exists()


# --- explain ---


def test_explain_prints_text_json_and_latex(here):
    result = invoke("explain", "m.tflite", "-i", "x.npy", "--at", "1,2")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "unit 2" in result.stdout
    data = json.loads(invoke("explain", "m.tflite", "-i", "x.npy", "--at", "1,2", "--json").stdout)
    assert data["schema"].startswith("lastbit.explain/")
    assert data["output"] == run_model("m.tflite", X).output[1, 2]
    assert invoke("explain", "m.tflite", "--seed", 3, "--format", "json").exit_code == 0
    latex = invoke("explain", "m.tflite", "--seed", 3, "--format", "latex").stdout
    assert r"\begin{align" in latex
    assert "\x1b" not in latex


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--at", "1.5"], "error: --at 1.5: wanted whole numbers ROW,UNIT, for example --at 0,3."),
        (["--at", "a,b"], "error: --at a,b: wanted whole numbers ROW,UNIT"),
        (["-i", "x.npy", "--seed", "1"], "--seed is for a random input; with -i there is none."),
    ],
)
def test_explain_says_what_is_wrong(here, args, text):
    result = invoke("explain", "m.tflite", *args)
    assert result.exit_code == 2
    assert text in result.stderr


def test_explain_names_the_layer_that_is_not_covered(here):
    result = invoke("explain", "partial.tflite", "--op", 1)
    assert result.exit_code == 3
    assert "FLOOR" in result.stderr


# --- extract ---


def test_extract_writes_a_model_of_one_operator(here):
    result = invoke("extract", "partial.tflite", "--op", 0, "-o", "layer.tflite", "--batch", 4)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "wrote layer.tflite: operator 0 FULLY_CONNECTED, int8[4, 7] -> int8[4, 5], " in result.stderr
    assert [op.name for op in load("layer.tflite").operators] == ["FULLY_CONNECTED"]
    np.testing.assert_array_equal(run_model("layer.tflite", X, "tflm").output, run_model("m.tflite", X, "tflm").output)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["--op", "0", "-o", "m.tflite"], 2, "m.tflite: is being read and would be replaced"),
        (["--op", "0", "-o", "layer.bin"], 2, "layer.bin: the output's name ends in '.bin', wanted .tflite"),
        (["--op", "9", "-o", "layer.tflite"], 2, "there is no operator 9; the model has operators 0 to 0"),
        (["--op", "0", "-o", "layer.tflite", "--batch", "0"], 2, "the batch is 0, wanted 1 or more"),
        (["-o", "layer.tflite"], 2, "Missing option '--op'"),
    ],
)
def test_extract_refuses_with_a_reason(here, args, code, text):
    result = invoke("extract", "m.tflite", *args)
    assert result.exit_code == code
    assert text in result.stderr
    assert not Path("layer.tflite").exists()


def test_extract_takes_an_operator_that_lastbit_does_not_calculate(here):
    result = invoke("extract", "partial.tflite", "--op", 1, "-o", "layer.tflite")
    assert result.exit_code == 0
    assert [op.name for op in load("layer.tflite").operators] == ["FLOOR"]


def test_extract_lists_what_cannot_be_written(here):
    stream = next(streams(np.random.default_rng(3), "int8"))
    Path("stream.tflite").write_bytes(stream.content)
    read = next(op for op in stream.model().operators if op.name == "READ_VARIABLE")
    result = invoke("extract", "stream.tflite", "--op", read.index, "-o", "layer.tflite")
    assert result.exit_code == 3
    assert "is a resource" in result.stderr
    assert not Path("layer.tflite").exists()
