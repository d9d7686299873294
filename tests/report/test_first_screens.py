"""First screens: the answer first, at 80 columns, in few lines; what must stand on each, and its text."""

import re

import numpy as np
import pytest

import lastbit
from lab.pages import screens
from lab.pages.screen_reports import DATA, verification
from lab.pages.screens import SCREENS, lines_of
from lastbit.report.terminal import print_report
from lastbit.runtimes import RUNTIMES, interpreter_here
from lastbit.runtimes.evidence import evidence_of
from lastbit.runtimes.groups import GROUPS, Group
from lastbit.verbs.demo.verb import demo
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES, operators_report
from lastbit.verbs.runtimes.verb import runtimes_report
from lastbit.verbs.verify.report import Verification
from tests.support.cli import fill, invoke
from tests.support.interpreters import needs_all_interpreters
from tests.support.places import MODELS, needs_shared_models

FAMILIES = [str(group) for group in Group]

# Screen -> the most lines it may have, and what must stand on it, whatever becomes shorter.
FACTS = {
    "bench": (
        30,
        [
            *("Outputs: byte for byte those of the real interpreters", "question.tflite: 49,152 operations a row"),
            *(
                "engine jit, threads: 1",
                "batch 1",
                "batch 256",
                "LastBit tflm 1 us 256 us",
                "TensorFlow Lite Micro 2 us",
            ),
            *("times as fast as the real one", "LastBit tflm 2.00 2.00", "-v"),
        ],
    ),
    "compare": (
        30,
        [
            *("DIFFERS: litert-xnnpack and tflm differ in 1 of 1 operators", "Compared: 1 of 1 operator."),
            *("0 FULLY_CONNECTED 4,297 of 24,549,902 0.103 % differs", "32 of 32 units differ somewhere"),
            *("unit 9, acc 6131: litert-xnnpack gives 7, tflm gives 8", "9 of 8192 outputs differ", "-v"),
        ],
    ),
    "diagnose": (
        30,
        [
            *("These 3 mistakes together reproduce all 3584 elements", "1. product_wraps_int8 (product)"),
            *("NumPy: y = zy + round(acc * m)", "C: int32_t acc;", "Everything else is as litert-xnnpack"),
            *("The first wrong element by hand", "-91843 -1219 <-- here", "-v"),
        ],
    ),
    "diff": (
        30,
        [
            *("DIFFERENT: 1 of 4 tensors", "A: forum_dense_per_channel.tflite", "B: forum_dense_per_tensor.tflite"),
            *("granularity differs in 1", "1,465 of 1,536 values", "Why", "from 2.17 on"),
            *("0 FULLY_CONNECTED", "32 scales, axis 0", "one scale", "103", "-v"),
        ],
    ),
    "doctor": (
        15,
        [
            *("Interpreter(model) on this CPU is litert-xnnpack", "LastBit 0.1.0 works", "Python 3.11.7"),
            *(f"4 of {len(RUNTIMES)} real interpreters run", *FAMILIES, "litert-reference", "tflm"),
            *("onnxruntime is not installed", 'pip install "onnxruntime==1.0"', "-v"),
            *("Extras here: litert, tflm, keras", "Extras not here: onnxruntime, torch, plot, pandas, docs"),
        ],
    ),
    "evaluate": (
        30,
        [
            *(
                "tflm, torch-fbgemm-avx2: 400 of 400 rows of x.npy in classes.tflite",
                "accuracy",
                "precision",
                "recall",
                "F1",
            ),
            *("top 2", "tflm 355 0.8875 0.9275", "torch-fbgemm-avx2 301 0.7525", "each class, tflm", "label and class"),
            *("0 95 15 15 15", "392 rows (98 %) differ from tflm, by at most 46", "67 get another class"),
            *("class 3 to 0", "the change begins at", "operator 0 FULLY_CONNECTED (16)"),
        ],
    ),
    "explain": (
        45,
        [
            *("operator 0 FULLY_CONNECTED, element (row 0, unit 3), on litert-xnnpack: 46", "question.tflite"),
            *("rule float32-half_even", "y = max(lo, saturate(zy + round_half_even(", "Input: given", "as asked"),
            *("real = scale * (q - zero point)", "0.0356623121", "0x1.24254ap-5", "weights[3]", "0.0392772444"),
            *(
                "x - zx",
                "product",
                "45 more",
                "acc = 27058 + 0 (bias) = 27058",
                "acc_scaled = round_half_even(limited)",
            ),
            *("[from 50.4258919]", "output = max(lo, saturate(with_zero_point))", "What every runtime prints"),
            *("x86", "tflm", "CMSIS-NN", "libraries", "of the layer's 512 output elements", "-v", "--json"),
        ],
    ),
    "explain_tensor": (
        30,
        [
            *(
                "tensor 5 'dense:4': int8[16, 32]",
                "0.0278455969 (0x1.c838e6p-6), zero point -4",
                "Measured: the output of",
            ),
            *("minimum -3.45363736: sample 3, element [2, 7]", "scale = (3.64699006 - -3.45363736) / 255"),
            *(
                "zero point = round to nearest = -4",
                "What converters write",
                "tflite@2.12 to 2.21",
                "the same",
                "x 1.16381097",
            ),
        ],
    ),
    "export": (
        30,
        [
            *("question.h and question.c: 1 operator, as tflm", "arena 0 bytes", "constants 1,920 bytes"),
            *("24,576 multiply-adds", "10 of 10 pairs of an operator and another rule are caught", "cc -std=c99"),
        ],
    ),
    "identify": (
        30,
        [
            *("Left: tflm, cmsis-nn", "follow the same rules here", "differ; first [", "given", "x86", "ARM64"),
            "Each reason, versions, inputs: -v",
        ],
    ),
    "inspect": (
        30,
        [
            *("question.tflite", "1 operator (1 dense)", "int8[1,16,48]", "int8[1,16,32]"),
            *("0.0356623121", "0.0392772444", "FULLY_CONNECTED", *FAMILIES, "all"),
            *("[32,48] per_channel", "acc -442595..445825 (20 bits)", "Note:", "-v", "--op N", "--json"),
        ],
    ),
    "inspect_op": (
        45,
        [
            *("Operator 0 FULLY_CONNECTED", "int8[32,48]", "32 along axis 0", "zero point", *FAMILIES),
            *("0.0356623121", "0x1.24254ap-5", "0.0392772444", "0x1.41c25ap-5"),
            *("float32-half_even ", "q31-half_up-half_away/dd", "q31-by_rows-single/dd", "float64-half_away "),
            *("acc = sum (x - 8) w + bias", "round_half_even(", "round_half_away("),
            *("acc -442595..445825 (20 bits)", "clamp -128..127", "depth 48"),
            *("scale of weights", "folded bias", "m (float32)", "multiplier", "shift", "of 32 (all: --all-channels)"),
        ],
    ),
    "prove": (
        30,
        [
            *("PROVED for 1 of 1 dense layers and every accumulator", "24549902 in all, and 0 differ"),
            *(
                "Compared: 1 of 1 operator.",
                "question.tflite on litert-xnnpack",
                "ai-edge-litert 2.3.0",
                "Linux-x86_64",
            ),
            *("float32-half_even", "8160", "0 of 1536", "proved"),
        ],
    ),
    "prove_differs": (
        30,
        [
            *("DIFFERS: 3 of 24549902 accumulators", "Compared: 1 of 1 operator.", "ai-edge-litert 2.3.0"),
            "operator 0: unit 3, acc 27058: LastBit says 46, the interpreter printed 47",
        ],
    ),
    "quantize": (
        30,
        [
            *(
                "question.float.tflite quantized by LastBit like tflite@2.21",
                "5 operators; 9 tensors: 5 int8",
                "bytes before",
            ),
            *("dense/0:3", "and 31 more", "zero point", "int8"),
        ],
    ),
    "record": (
        30,
        [
            *("question.tflite: records 1 tensors for 4 inputs", "record.py", "probe.tflite", "inputs.npz"),
            *("lastbit_record.h", "python3 record.py", "lastbit identify MODEL --recorded recording.npz"),
            "lastbit verify MODEL --runtime NAME --recorded recording.npz",
        ],
    ),
    "runtimes": (30, ["differ", "compared", *FAMILIES, *RUNTIMES, "On this CPU", "tflite-micro", "--operators", "-v"]),
    "thresholds": (
        30,
        [
            *("thresholds on tflm of question.tflite", "32 x 48", "reachable acc", "-442595 .. 445825", "255"),
            *("0 255 -393193 .. 390677 -128 127", "more rows: -v", "--channel N prints a unit's table", "--json"),
        ],
    ),
    "vectors": (
        10,
        [
            *("question.tflite", "operator 0", "on tflm", "25 vectors", "800 outputs confirmed by tflite-micro"),
            *("They catch 6 of 6", "1000 random vectors catch 4", "1 more print the same for every input"),
            *("Wrote 3 files to vectors: .npz, .json, .h", "-v"),
        ],
    ),
    "verify": (
        12,
        [
            *("EXACT: 0 of 1600", "Compared: 1 of 1", "litert-xnnpack", "tflm", "1 of 1", "800"),
            *(f"{len(RUNTIMES) - 2} runtimes not here: lastbit doctor", "-v"),
        ],
    ),
    "verify_differs": (
        12,
        [
            *("DIFFERS: 3 of 1600", "litert-xnnpack", "starts at operator 0 FULLY_CONNECTED", "rule the_rule"),
            *("First at [0, 7]", "ai-edge-litert 0, LastBit 1", "cut out, 25 row(s) a call"),
        ],
    ),
    "verify_gap": (
        12,
        [
            *("NOT COMPARED: 1 of 1 operator", "No statement about the whole model", "0 of 1"),
            "Operator 0 FULLY_CONNECTED on tflm: this variant is not covered yet",
        ],
    ),
}


def test_every_screen_has_its_facts_and_its_text():
    assert set(FACTS) == set(SCREENS)
    assert {path.stem for path in screens.TEXTS.iterdir()} == set(SCREENS)


@pytest.mark.parametrize("name", SCREENS)
def test_a_first_screen(name, monkeypatch):
    monkeypatch.setattr("lastbit.verbs.runtimes.screen.interpreter_here", lambda: "litert-xnnpack")
    text = screens.screen(name)
    limit, facts = FACTS[name]
    assert len(text.splitlines()) <= limit
    assert max(map(len, text.splitlines())) <= 80
    folded = " ".join(text.split())
    assert [fact for fact in facts if fact.strip() not in folded] == []
    wanted = (screens.TEXTS / f"{name}.txt").read_text(encoding="utf-8")
    assert text == wanted, "if it is meant so: python -m lab pages update"


def test_numbers_of_evidence_on_the_screen_of_runtimes():
    text = "\n".join(lines_of(runtimes_report().first_screen()))
    for name in RUNTIMES:
        assert re.search(rf" {re.escape(name)} .* {sum(row.outputs for row in evidence_of(name)):,} +0$", text, re.M)
    assert f"Interpreter(model) of LiteRT is {interpreter_here()}." in text


@needs_shared_models
@pytest.mark.parametrize("model", ["mlt_kws_ref", "arm_kws_cnn_s", "mlt_resnet8_quant", "adi_dtln_int16_1"])
def test_a_network_is_one_screen(model):
    found = lastbit.inspect(MODELS / f"{model}.tflite")
    lines = lines_of(found.first_screen())
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    names = {op["name"] for op in found.data["operators"]}
    assert [name for name in names if name not in text] == []
    uncovered = any(not entry["covered"] for op in found.data["operators"] for entry in op["coverage"].values())
    assert ("Not covered on" in text) == uncovered


@needs_shared_models
@pytest.mark.parametrize("op", [0, 1, 9, 11, 12])
def test_each_kind_of_operator_is_one_screen(op):
    found = lastbit.inspect(MODELS / "mlt_kws_ref.tflite", op)
    lines = lines_of(found.first_screen())
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(entry["rule"] in text for entry in found.data["operators"][0]["coverage"].values() if entry["covered"])


def test_many_runtimes_with_gaps_are_twelve_lines_of_verify():
    one, other = verification(gap="a reason of many words " * 20).results
    found = Verification(one.model, 25, 0, [one] * 9 + [other] * 4, list(RUNTIMES))
    lines = lines_of(found.first_screen())
    assert len(lines) <= 12
    assert any(re.fullmatch(r"and \d more runtimes", line) for line in lines)


@needs_all_interpreters
def test_the_demo_is_sixty_lines():
    lines = lines_of(demo().first_screen())
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for fact in (
        "5 of 5 quantized tensors",
        "litert-xnnpack",
        "tflm",
        "acc =",
        "product_wraps_int8",
        "102,400 of 102,400",
    ):
        assert fact in text


def test_v_prints_everything(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((1, 7), np.int8))
    for command in (["inspect", "m.tflite"], ["inspect", "m.tflite", "--op", 0], ["runtimes"]):
        short, long, data = (invoke(*command, *flag) for flag in ([], ["-v"], ["--json"]))
        assert short.exit_code == long.exit_code == data.exit_code == 0
        assert len(long.stdout) > 1.5 * len(short.stdout)
        assert data.stdout.startswith("{")


def test_operators_on_one_screen():
    found = operators_report()
    lines = lines_of(found.first_screen())
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    cells = found.cells()
    assert f"{len({operator for operator, _ in cells})} operators beside dense layers, {len(cells)} variants" in text
    assert [operator for operator, _ in cells if operator not in text] == []
    for group, names in GROUPS.items():
        counted = [row[name].status for row in cells.values() for name in names if name in OPERATOR_RUNTIMES]
        counts = [str(counted.count(status)) for status in ("exact", "refused", "not yet")]
        assert not counted or " ".join(counts) in text, group
    one = lines_of(operators_report(["softmax"]).first_screen())
    assert len(one) <= 30
    assert one[1].split()[:3] == ["operator", "variant", "x86"]
    wrong = invoke("runtimes", "--operators", "con_2d")
    assert wrong.exit_code == 2
    assert "Did you mean CONV_2D?" in wrong.stderr


@needs_shared_models
@pytest.mark.parametrize("op", [0, 1, 9, 11, 12])
def test_each_kind_of_element_is_one_screen(op):
    found = lastbit.explain(MODELS / "mlt_kws_ref.tflite", op=op, seed=0)
    lines = lines_of(found.first_screen())
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert f", on litert-xnnpack: {found.output}" in text
    assert "What every runtime prints for this element" in text
    assert "output elements" in text


def test_a_hybrid_element_is_one_screen():
    model = lastbit.quantize(DATA / "question.float.tflite")
    found = lastbit.explain(model, runtime="litert-reference")
    lines = lines_of(found.first_screen())
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for fact in ("zero point", "inverse", "x * inverse", "q * w", "acc =", "input_scale =", "First step that differs"):
        assert fact in text


def test_every_runtime_is_of_one_family():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(RUNTIMES)
    assert all("arm64" in name for name in GROUPS[Group.ARM64])


@needs_shared_models
def test_compare_begins_with_its_verdict_and_is_one_screen():
    found = lastbit.compare(MODELS / "mlt_kws_ref.tflite", "litert-xnnpack", "tflm", samples=100, oracles=False)
    lines = lines_of(found.first_screen())
    assert len(lines) <= 26
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("DIFFERS: litert-xnnpack and tflm differ in 1")
    text = "\n".join(lines)
    for fact in (
        "Compared: 13 of 13 operators.",
        "units differ somewhere",
        "litert-xnnpack gives",
        "whole model on",
        "-v",
    ):
        assert fact in " ".join(text.split())
    assert [name for _, name in {(op.index, op.name) for op in found.asked} if name not in text] == []


@pytest.mark.parametrize(("columns", "widest"), [("80", 80), ("", 200), ("none", 200), ("0", 200)])
def test_columns_is_the_width_of_a_pipe(columns, widest, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    print_report(SCREENS["diagnose"](), as_json=False)
    lengths = [len(line.rstrip()) for line in capsys.readouterr().out.splitlines()]
    assert max(lengths) <= widest
