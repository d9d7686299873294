"""Runtimes of older versions: names, rules, evidence, and what the real wheels printed (lab/reach/time_machine.py)."""

import itertools
import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lab.collect.version_facts import facts_of, version_evidence
from lastbit import run
from lastbit.layers.differences import same_bits
from lastbit.model.errors import OracleMissingError, RuntimeNameError, UnsupportedError
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.model.types import QuantParams
from lastbit.ops.dense.hybrid import prepare_dense_hybrid
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import installed, open_oracle
from lastbit.rules.hybrid.table import HYBRID_RULES
from lastbit.runtimes import RUNTIMES, Refusal, Refused, Rule, get_runtime
from lastbit.runtimes.variant import key_of
from lastbit.runtimes.versions import CHANGES, version_facts, versioned_runtime, versions_run
from lastbit.verbs.explain.verb import explain
from lastbit.verbs.inspect.verb import inspect
from lastbit.verbs.run.verb import load
from lastbit.verbs.verify.verb import verify
from tests.support.interpreters import XNNPACK
from tests.support.models import ModelBuilder, make_dense_model
from tests.support.places import GOLDEN

time_machine = pytest.importorskip("lab.reach.time_machine")
version_cases = pytest.importorskip("lab.cases.versions")

LISTING = json.loads((GOLDEN / "versions.json").read_text())
LISTING_FLOAT = json.loads((GOLDEN / "versions_float.json").read_text())
RUNS = sorted(version_evidence()["runs"])


@cache
def arrays(golden="versions"):
    return time_machine.unpack(GOLDEN / f"{golden}.npz")


@cache
def model_of(number, golden="versions"):
    return load(arrays(golden)[f"{number}/model"].tobytes())


def arithmetic(runtime):
    """What decides about dense layers: runtimes alike in it need not be run twice."""
    dense = tuple((k, r) for k, r in runtime.rules.items() if k[0] == "FULLY_CONNECTED")
    fallback = arithmetic(get_runtime(runtime.fallback)) if runtime.fallback else ()
    return dense, fallback, runtime.declines, runtime.written_in_part, tuple(runtime.operator_versions.items())


KNOWN = {}


def ours(number, runtime):
    """The outputs and the kernel, or why LastBit refuses."""
    key = number, arithmetic(runtime)
    if key not in KNOWN:
        model = model_of(number)
        try:
            prepared = prepare_operator(model, model.operators[0], runtime)
        except UnsupportedError as error:
            KNOWN[key] = str(error)
        else:
            outputs = np.stack([prepared.evaluate([x])["output"] for x in arrays()[f"{number}/x"]])
            KNOWN[key] = outputs, prepared.kernel
    return KNOWN[key]


@pytest.mark.parametrize("name", sorted(LISTING["printed"]))
def test_equals_what_that_version_printed(name):
    runtime = get_runtime(name)
    assert runtime.name == name
    compared = 0
    for number, entry in enumerate(time_machine.decode(LISTING["printed"][name], LISTING["refusals"])):
        mine = ours(number, runtime)
        if isinstance(entry, str):
            assert isinstance(mine, str), (number, entry)
            continue
        if isinstance(mine, str):
            told = ("is not known", "unwritten", "not compared with", "does not cover")
            assert any(words in mine for words in told), (number, mine)
            continue
        outputs, kernel = mine
        printed = arrays()[f"{number}/{entry if entry >= 0 else -1 - entry}"]
        np.testing.assert_array_equal(outputs, printed, err_msg=f"case {number} {LISTING['cases'][number]}")
        assert (kernel == "xnnpack") == (entry < 0), number
        compared += outputs.size
    assert compared > 2500


@pytest.mark.parametrize("name", sorted(LISTING_FLOAT["printed"]))
def test_hybrid_and_float32_layers_equal_what_that_version_printed_bit_for_bit(name):
    runtime, golden = get_runtime(name), arrays("versions_float")
    compared = 0
    for number, entry in enumerate(time_machine.decode(LISTING_FLOAT["printed"][name], LISTING_FLOAT["refusals"])):
        model, case = model_of(number, "versions_float"), LISTING_FLOAT["cases"][number]
        try:
            prepared = prepare_operator(model, model.operators[0], runtime)
        except UnsupportedError as error:
            refusal = str(error)
        else:
            refusal = None
        if refusal is not None:
            told = ("is not known", "not exact", "not compared with", "refuses it", "weights with zero point 0 only")
            assert isinstance(entry, str) or any(words in refusal for words in told), (number, case, refusal)
            continue
        assert not isinstance(entry, str), (number, case, entry)
        outputs = np.stack([prepared.evaluate([x])["output"] for x in golden[f"{number}/x"]])
        assert same_bits(outputs, golden[f"{number}/{entry if entry >= 0 else -1 - entry}"]).all(), (number, case)
        assert (prepared.kernel == "xnnpack") == (entry < 0), (number, case)
        compared += outputs.size
    assert compared > 400


def test_kernels_without_a_delegate_did_not_change_for_hybrid_layers_since_litert_1_0_1():
    variants = [f"float32 x {w} -> float32 {g}" for w in ("int8", "int4") for g in ("per_tensor", "per_channel")]
    for base in ("litert-builtin-x86", "litert-reference"):
        for version in ("1.0.1", "1.2.0", "1.4.0", "2.1.6", "2.3.0", "tf2.18.1"):
            for variant in variants:
                key = key_of("FULLY_CONNECTED", variant)
                assert get_runtime(f"{base}@{version}").rules[key] == get_runtime(base).rules[key]


def test_per_channel_hybrid_layers_print_the_bias_up_to_tensorflow_2_15():
    """The tensor's field for one scale is 0 there: no input changes the output."""
    variant = key_of("FULLY_CONNECTED", "float32 x int8 -> float32 per_channel")
    for base in ("litert-builtin-x86", "litert-reference"):
        lost = {
            v for v in versions_run(base) if "channel_scales_lost" in get_runtime(f"{base}@{v}").rules[variant].name
        }
        assert lost == {"tf2.12.1", "tf2.13.1", "tf2.14.1", "tf2.15.1", "tflite2.14.0"}


def test_litert_1_4_0_on_arm64_leaves_out_the_scales_of_symmetric_hybrid_layers_and_says_so():
    graph = dense_subgraph(
        np.eye(3, 4, dtype=np.int64) * 5, input_quant=None, weights_quant=quant(np.float32([0.5, 2, 3]), 0),
        output_quant=None, bias=None, input_shape=(1, 4), input_dtype="float32", weights_dtype="int8",
    )  # fmt: skip
    model, x = load(write(graph)), np.float32([[127, 1, -2, 0]])
    for version, wanted in (("1.4.0", [635, 5, -10]), ("2.0.2", [317.5, 10, -30])):
        runtime = replace(get_runtime(f"litert-builtin-arm64@{version}"), operator_versions={})
        prepared = prepare_operator(model, model.operators[0], runtime)
        assert prepared.evaluate([x])["output"].tolist() == [wanted]
        assert any("leaves out the weights' scales" in note for note in prepared.notes) == (version == "1.4.0")


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("litert-builtin-x86@tf2.13.1", "float32 x int4 -> float32 per_tensor"),
        ("litert-reference@tf2.17.1", "int16 x int4 -> int16 per_tensor no_bias"),
        ("litert-builtin-x86@tflite2.14.0", "int16 x int4 -> int16 per_tensor int64_bias"),
    ],
)
def test_what_depends_on_memory_is_refused_with_the_reason(name, variant):
    assert re.search(
        r"depends on (memory|what lies there)", get_runtime(name).rules[key_of("FULLY_CONNECTED", variant)].reason
    )


def test_tensorflow_up_to_2_14_does_not_know_the_type_of_a_bias_that_is_not_there():
    build = ModelBuilder()
    x, y = build.tensor((1, 4), "int16", quant(0.01)), build.tensor((1, 3), "int16", quant(0.02))
    weights = build.constant(np.ones((3, 4)), "int8", quant(0.03))
    build.operator("FULLY_CONNECTED", (x, weights), (y,), quantized_bias_type="int64")
    model = build.model((x,), (y,))
    rules = {
        version: prepare_operator(model, model.operators[0], f"litert-reference@{version}").rule
        for version in ("tf2.12", "tf2.14", "tf2.15")
    }
    assert rules == {
        "tf2.12": "q31-half_up-half_away/fd",
        "tf2.14": "q31-half_up-half_away/fd",
        "tf2.15": "q15-half_up/fd",
    }


def test_tflite_micro_rounded_the_product_of_the_scales_to_float32_until_october_2026():
    rules = {v: get_runtime(f"tflm@{v}").rules for v in versions_run("tflm")}
    variant, no_bias = "int8 per_tensor", "int16 x int8 -> int16 per_tensor no_bias"
    float32 = {v for v in rules if rules[v][key_of("FULLY_CONNECTED", variant)].name.endswith("/fd")}
    assert float32 == {v for v in rules if v < "2026101"}
    assert len(rules) == 18
    on_32_bits = {v for v in rules if rules[v][key_of("FULLY_CONNECTED", no_bias)].name.startswith("q31-")}
    assert on_32_bits == {v for v in rules if "202506" <= v < "202603"}


def test_the_portable_4_bit_kernel_of_tflite_runtime_loses_the_last_weights():
    """What tflite-runtime 2.14.0 printed, for 127 in one place of the input after the other, divided by 127."""
    weights = np.arange(50)[None] % 7 + np.array([[1], [-4], [0], [-7]])
    graph = dense_subgraph(
        weights, input_quant=None, weights_quant=quant(1.0, 0), output_quant=None, bias=None, input_shape=(50, 50),
        input_dtype="float32", weights_dtype="int4",
    )  # fmt: skip
    model = load(write(graph))
    prepared = prepare_operator(model, model.operators[0], get_runtime("litert-builtin-x86@tflite2.14"))
    assert any("takes the last 2 weights of every unit for 0" in note for note in prepared.notes)
    seen = prepared.evaluate([127 * np.eye(50, dtype=np.float32)])["output"].T / 127
    np.testing.assert_array_equal(seen[:, :48], weights[:, :48])
    assert not seen[:, 48:].any()


def test_every_run_has_golden_outputs_and_fingerprints():
    assert set(LISTING["printed"]) == set(LISTING["fingerprints"])
    # Those of ARM64 since 2.0.2 stand in golden files of their own.
    arm64 = json.loads((GOLDEN / "dense_arm64.json").read_text())["printed"]
    printed = set(LISTING["printed"]) | {name.partition(" ")[0] for name in arm64}
    # A kind of CPU of one version only: its evidence is today's.
    assert printed - set(RUNS) == {"litert-xnnpack-arm64-sme@2.3.0"}
    assert set(RUNS) <= printed
    assert len(RUNS) > 90
    for name in RUNS:
        fingerprint = version_evidence()["runs"][name]["fingerprint"]
        assert fingerprint["version"].removeprefix("0.dev") in name
        assert "avx" in fingerprint["cpu"] or "emulated by qemu" in fingerprint["cpu"]


def test_what_lastbit_reads_is_what_the_evidence_says():
    """Each version's facts are decided where evidence is recorded; the file is python -m lab versions facts's."""
    assert version_facts() == json.loads(json.dumps(facts_of(version_evidence())))
    assert set(version_facts()["runs"]) == set(RUNS)


def test_a_stated_rule_that_was_not_seen_is_not_offered():
    key = key_of("FULLY_CONNECTED", "int8 per_tensor")
    base = RUNTIMES["litert-reference"]
    assert isinstance(versioned_runtime(base, "2.3.0").rules[key], Rule)
    changed = replace(base, rules={**base.rules, key: Rule("q31-half_up-half_up/fd", "reference")})
    found = versioned_runtime(changed, "2.3.0").rules[key]
    assert found == Refused(Refusal.NOT_SETTLED, "the arithmetic of ai-edge-litert 2.3.0 is not known")


@pytest.mark.parametrize("name", RUNS)
def test_no_rule_is_offered_that_the_evidence_does_not_have(name):
    evidence = version_evidence()
    seen = [evidence["results"][number] for number in evidence["runs"][name]["results"]]
    offered = 0
    for (operator, variant), rule in get_runtime(name).rules.items():
        if not isinstance(rule, Rule):
            continue
        # Rules that were not known yet when the version ran are compared with what it printed for the golden file.
        fitting = [
            e["fitting"] + e.get("recorded", {"fitting": []})["fitting"]
            for e in seen
            if (e["operator"], e["variant"]) == (operator, str(variant)) and e["outputs"]
        ]
        assert any(rule.name in names for names in fitting), (operator, variant)
        offered += 1
    assert offered >= 1


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: f"{c.runtimes[0]}, {c.what[:40]}".replace(" ", "_"))
def test_every_stated_change_is_seen(change):
    """At both ends of each span a stated rule is offered, unless a later change overrides it."""
    for first, last in change.spans:
        for name, version in itertools.product(change.runtimes, {first, last}):
            runtime = get_runtime(f"{name}@{version}")
            assert change.what in runtime.title
            if change.rules:
                assert any(runtime.rules.get(key) == rule for key, rule in change.rules.items()), version
            assert change.declines <= runtime.declines
            assert change.written_in_part <= runtime.written_in_part


def test_reference_kernel_rounded_twice_until_1_2_and_tensorflow_2_19():
    """The first answer: gemmlowp's double rounding, then one in float64; in between nothing was left to guess."""
    rules = {
        version: get_runtime(f"litert-reference@{version}").rules[key_of("FULLY_CONNECTED", "int8 per_tensor")].name
        for version in versions_run("litert-reference")
    }
    twice = {version for version, rule in rules.items() if rule == "q31-half_up-half_away/fd"}
    assert {version for version in rules if version not in twice} == {
        version for version, rule in rules.items() if rule == "float64-half_away"
    }
    assert {"1.0.0", "1.2.0", "tf2.12.1", "tf2.19.1", "tflite2.14.0"} <= twice
    assert not {"1.3.0", "1.4.0", "2.3.0", "tf2.20.0", "tf2.21.0"} & twice


def test_versions_may_be_cut_short_where_they_agree():
    assert get_runtime("litert-reference@1.2").name == "litert-reference@1.2.0"
    assert get_runtime("litert-builtin@tf2.14").name == "litert-builtin-x86@tf2.14.1"
    assert get_runtime("litert-reference@2.0").name == "litert-reference@2.0.3"
    with pytest.raises(RuntimeNameError, match=r"differ.*Name one of them"):
        get_runtime("litert-reference@1")


@pytest.mark.parametrize("version", ["9.9", "1.2.1", "", "tf", "tf2.12.0", "2.", "x"])
def test_a_version_that_was_never_run_is_no_name(version):
    with pytest.raises(
        RuntimeNameError, match=r"never|only what was compared with a real interpreter.*1\.2\.0.*tf2\.14\.1"
    ):
        get_runtime(f"litert-reference@{version}")


def test_a_runtime_without_other_versions_says_so():
    with pytest.raises(RuntimeNameError, match="no other version of it was run"):
        get_runtime("cmsis-nn@1.0")
    with pytest.raises(RuntimeNameError, match="unknown runtime"):
        get_runtime("no-such@1.0")


def test_the_newest_version_is_todays_runtime():
    """ai-edge-litert 2.3.0 is what the runtimes without a version are proven against."""
    for base in ("litert-xnnpack", "litert-builtin-x86", "litert-reference"):
        versioned = get_runtime(f"{base}@2.3.0")
        assert "2.3.0" in RUNTIMES[base].oracle
        for key, rule in versioned.rules.items():
            if isinstance(rule, Rule):
                assert RUNTIMES[base].rules[key] == rule


def test_run_explain_and_inspect_take_a_version():
    model = make_dense_model(units=6, depth=9)
    x = np.arange(9, dtype=np.int8)[None] - 4
    name = "litert-reference@1.2.0"
    trace = run(model, x, name)
    assert trace.prepared.runtime.name == name
    explanation = explain(model, x, runtime=name, at=(0, 1))
    assert explanation.as_dict()["runtime"] == name
    assert explanation.as_dict()["output"] == int(trace.output[0, 1])
    assert "ai-edge-litert 1.2.0" in str(explanation)
    assert name in json.loads(inspect(model, runtimes=[name]).json())["dense"][0]["runtimes"]


def test_explain_follows_the_number_of_rows():
    """A rule by rows is explained as the one that ran."""
    model = make_dense_model(units=6, depth=9)
    row = np.arange(9, dtype=np.int8)[None] * 7 - 30
    rules = []
    for x in (row, np.repeat(row, 3, axis=0)):
        explanation = explain(model, x, runtime="litert-builtin-portable", at=(0, 2))
        assert explanation.as_dict()["output"] == int(run(model, x, "litert-builtin-portable").output[0, 2])
        rules.append(explanation.as_dict()["rule"])
    assert rules == ["q31-half_up-half_up/fd", "q31-single-half_up/fd"]


def test_an_ignored_weights_zero_point_is_warned_of():
    number = next(n for n, c in enumerate(LISTING["cases"]) if c["variant"] == "int8 per_tensor weights_zero_point")
    prepared = prepare_operator(model_of(number), model_of(number).operators[0], "litert-xnnpack@tf2.21.0")
    assert prepared.rule == "float32-half_even/weights_zero_point_ignored"
    assert any("ignores the weights' zero point" in note for note in prepared.notes)


def test_tflm_of_2023_takes_the_first_weights_scale_for_every_unit():
    model = make_dense_model(units=6, depth=9, per_channel=True)
    weights = model.tensors[1]
    first = QuantParams(weights.quant.scale[:1], weights.quant.zero_point[:1], weights.quant.axis)
    graph = model.subgraphs[0]
    one_scale = replace(
        model,
        subgraphs=(
            replace(graph, tensors=tuple(replace(t, quant=first) if t is weights else t for t in graph.tensors)),
        ),
    )
    x = np.arange(-9, 9, dtype=np.int8).reshape(2, 9) * 7
    old = "tflm@20231010131554"
    prepared = prepare_operator(model, model.operators[0], old)
    assert prepared.rule == "q31-half_up-half_away/fd/first_weights_scale"
    assert any("the first unit's weights scale" in note and "wrong" in note for note in prepared.notes)
    found = run(model, x, old).output
    np.testing.assert_array_equal(found, run(one_scale, x, old).output)
    assert (found != run(model, x, "tflm").output).any()


def test_onnxruntime_did_not_change_in_two_years():
    versions = versions_run("onnxruntime")
    assert len(versions) > 10
    for version in versions:
        offered = {
            str(k[1]): r.name for k, r in get_runtime(f"onnxruntime@{version}").rules.items() if isinstance(r, Rule)
        }
        assert offered == dict.fromkeys(
            ("int8 per_tensor", "int8 per_channel", "int8 per_tensor weights_zero_point", "uint8 per_tensor"),
            "float32-clip-half_even",
        )


def int4_model(units):
    graph = dense_subgraph(
        np.full((units, 8), 3, np.int8),
        input_quant=quant(0.02, 3),
        weights_quant=quant([0.05]),
        output_quant=quant(0.02, -5),
        bias=np.full(units, 7),
        weights_dtype="int4",
    )
    return load(write(graph))


def test_an_int4_layer_with_one_scale_is_left_to_the_builtin_kernels_before_2_1_5():
    for version, kernels in (("2.0.2", ["builtin", "builtin"]), ("2.3.0", ["xnnpack", "xnnpack"])):
        found = []
        for units in (6, 4):
            model = int4_model(units)
            found.append(prepare_operator(model, model.operators[0], f"litert-xnnpack@{version}").kernel)
        assert found == kernels
    single = int4_model(1)
    with pytest.raises(UnsupportedError, match="one unit and fails to prepare them"):
        prepare_operator(single, single.operators[0], "litert-xnnpack@2.0.2")


def test_an_operator_version_that_was_not_known_yet_is_refused():
    model = make_dense_model(units=6, depth=9, per_channel=True)
    assert model.operators[0].version == 12
    with pytest.raises(UnsupportedError, match=r"operator version 12.*up to 11"):
        prepare_operator(model, model.operators[0], "litert-reference@1.4.0")


def test_verify_wants_the_very_version():
    model = make_dense_model(units=6, depth=9)
    with pytest.raises(OracleMissingError, match=r"ai-edge-litert 1\.2\.0.*pip install 'ai-edge-litert==1\.2\.0'"):
        verify(model, ["litert-reference@1.2"])
    with pytest.raises(OracleMissingError, match=r"tensorflow-cpu 2\.14\.1"):
        open_oracle("litert-builtin-x86@tf2.14.1")
    with pytest.raises(OracleMissingError, match=r"tflite-micro 0\.dev20240129122420"):
        open_oracle("tflm@20240129122420")


@pytest.mark.parametrize("runtime", ["litert-reference@2.3.0", f"{XNNPACK}@2.3.0"])
def test_verify_runs_where_the_version_is_installed(runtime):
    if installed(runtime) is None:
        pytest.skip("needs ai-edge-litert 2.3.0")
    verification = verify(write(make_dense_model(units=6, depth=9).subgraphs[0]), [runtime], samples=12)
    assert verification.exit_code == 0
    assert verification.results[0].runtime.name == runtime


def test_kill_matrix_of_versions():
    """Versions whose stated rules differ printed different outputs in the golden set, for every dense variant."""
    separated = 0
    for base in ("litert-reference", "litert-builtin-x86", "litert-xnnpack"):
        names = [name for name in RUNS if name.startswith(f"{base}@")]
        for variant in {case["variant"] for case in LISTING["cases"]}:
            cases = [n for n, case in enumerate(LISTING["cases"]) if case["variant"] == variant]
            printed = {}
            for name in names:
                rule = get_runtime(name).rules.get(key_of("FULLY_CONNECTED", variant))
                codes = LISTING["printed"][name].split()
                if isinstance(rule, Rule):
                    printed.setdefault(rule.name, set()).add(tuple(codes[n].lstrip("d") for n in cases))
            for (one, some), (other, more) in itertools.combinations(printed.items(), 2):
                if {one, other} == {"float32-half_even", "float32-half_even-saturate"} and variant.startswith("uint8"):
                    continue  # the same function there: INT32_MIN + zero point does not wrap
                assert not some & more, (base, variant, one, other)
                separated += 1
    assert separated >= 8


def float_model(units, weights_dtype="float32", scales=None):
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(units, 40)) if weights_dtype == "float32" else rng.integers(-7, 8, (units, 40))
    graph = dense_subgraph(
        weights.astype("float32" if weights_dtype == "float32" else np.int8),
        input_quant=None,
        weights_quant=None if scales is None else quant(scales),
        output_quant=None,
        bias=rng.normal(size=units).astype(np.float32),
        input_dtype="float32",
        weights_dtype=weights_dtype,
        bias_dtype="float32",
    )
    return load(write(graph)), rng.normal(size=(1, 40)).astype(np.float32)


def test_litert_1_0_sums_up_float32_layers_of_fewer_than_16_units_in_four_lanes():
    for units, alike in ((15, False), (16, True)):
        model, x = float_model(units)
        old, new = (run(model, x, f"litert-xnnpack-avx2@{version}").output for version in ("1.0.1", "1.1.1"))
        assert same_bits(old, new).all() == alike


# Pairs of hybrid rules that this golden file does not part, and why.
ELSEWHERE = {
    # By the golden file of ARM64 CPUs.
    *((f"hybrid-{name}-neon", f"hybrid-{name}-neon/never_four_rows") for name in ("int8", "int4-nibbles")),
    # By inputs made for it: see the next test.
    ("hybrid-qd8-fma-bound_first", "hybrid-qd8-scale_inverted-fma-bound_first"),
}


def test_every_pair_of_hybrid_rules_is_separated_by_the_golden_file_of_versions():
    alive = set(itertools.combinations(sorted(HYBRID_RULES), 2))
    for number, case in enumerate(LISTING_FLOAT["cases"]):
        if "unquantized" in case["variant"] or "refuse" in case["family"]:
            continue
        model, xs = model_of(number, "versions_float"), arrays("versions_float")[f"{number}/x"]
        rules = {name: rule for name, rule in HYBRID_RULES.items() if "int4" in case["variant"] or not rule.nibbles}
        rules = {name: prepare_dense_hybrid(model, model.operators[0], rule) for name, rule in rules.items()}
        outputs = {name: np.stack([rule.evaluate([x])["output"] for x in xs]) for name, rule in rules.items()}
        alive -= {
            (a, b)
            for a, b in alive
            if a in outputs and b in outputs and not same_bits(outputs[a], outputs[b]).all()
        }  # fmt: skip
    assert alive == ELSEWHERE


def test_litert_1_0_multiplies_rows_with_the_inverse_of_the_rounded_scale():
    (case,) = (
        c
        for c in version_cases.inverse_cases(3, 1)
        if c.graph.tensors[1].dtype.name == "int8" and c.graph.tensors[1].quant.scale.size > 1
    )
    model, (x,) = load(write(case.graph)), case.samples
    old, new = (run(model, x, f"litert-xnnpack-avx2@{version}").output for version in ("1.0.1", "1.1.1"))
    assert (~same_bits(old, new)).any(axis=1).all()
