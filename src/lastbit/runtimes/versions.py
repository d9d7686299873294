"""Runtimes as older versions calculated them: `litert-reference@1.2`, `litert-xnnpack@tf2.14`, `tflm@20240129`.

What changed when is stated in `CHANGES`, by hand; what was run is in version_evidence.json, written by
tools/time_machine.py. A rule is offered for a version only if the interpreter of that version was run and the rule
reproduced every output; everything else is refused and says so. A version that was never run is not guessed at, even
between two that agree.

Names: the version of ai-edge-litert or tflite-micro (its date) stands alone, that of TensorFlow after `tf`, that of
tflite-runtime after `tflite`. A version may be cut short (`1.2`, `tf2.14`, `20240129`) where all that begin so agree.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from ..errors import RuntimeNameError
from .base import Refused, Rule, Runtime
from .derive import DENSE_8BIT, scale_product
from .shared import INT16_BIASES, INT16_GRANULARITIES, int16_variant

__all__ = ["CHANGES", "Change", "version_evidence", "versioned_runtime", "versions_run"]

Key = tuple[str, str]

DISTRIBUTIONS = {"tf": "tensorflow-cpu", "tflite": "tflite-runtime"}
"""What a prefix of a version stands for; without one it is the runtime's own distribution."""


@dataclass(frozen=True)
class Change:
    """What a span of versions does otherwise than today's.

    Attributes:
        runtime: the runtime it is about, without a version.
        spans: first and last version of each span, as names have them; one span for each distribution.
        what: what is other, in words.
        rules: the rules that hold there; None where the delegate does not take the variant.
        declines: see `Runtime.declines`.
        written_in_part: see `Runtime.written_in_part`.
        ignores: see `Runtime.ignores`.
    """

    runtime: str
    spans: tuple[tuple[str, str], ...]
    what: str
    rules: Mapping[Key, Rule | Refused | None] = field(default_factory=dict)
    declines: frozenset[str] = frozenset()
    written_in_part: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()


def _dense(rule: str, kernel: str, *variants: str) -> dict[Key, Rule | Refused | None]:
    """One rule, with each variant's scale product."""
    return {("FULLY_CONNECTED", v): Rule(f"{rule}/{scale_product(v)}", kernel) for v in variants}


def _int16(
    kernel: str, *granularities: str, biases: tuple[str, ...] = INT16_BIASES
) -> dict[Key, Rule | Refused | None]:
    """Gemmlowp's two roundings on 32 bits where the bias says so, else a multiplier of 16 bits on 64."""
    rules: dict[Key, Rule | Refused | None] = {}
    for weights in ("int8", "int4"):
        for granularity in granularities:
            for bias in biases:
                key = int16_variant(weights, granularity, bias)
                name = "q31-half_up-half_away" if bias == "int32_bias_type" else "q15-half_up"
                rules[key] = Rule(f"{name}/{scale_product(granularity)}", kernel)
    return rules


_PER_CHANNEL_INT16 = tuple(f"int16 x {w} -> int16 per_channel {b}" for w in ("int8", "int4") for b in INT16_BIASES)
_INT16_NO_BIAS = tuple(f"int16 x int8 -> int16 {g} no_bias" for g in INT16_GRANULARITIES)
_INT4_ONE_SCALE = ("int8 x int4 -> int8 per_tensor", "float32 x int4 -> float32 per_tensor")
_IGNORED = "float32-half_even/weights_zero_point_ignored"
_OLD_DELEGATE = "float32-half_even-saturate"
_FIRST = "/first_weights_scale"
# Between the last of these and the next wheel that was run lie months: when it changed is not known better.
_TFLM_FLOAT32 = ("20231010131554", "20250604163413")
_TFLM_FIRST_SCALE = ("20231010131554", "20240418150435")
_BEFORE_FLOAT64 = (("1.0.0", "1.2.0"), ("tf2.12.1", "tf2.19.1"), ("tflite2.14.0", "tflite2.14.0"))

CHANGES: tuple[Change, ...] = (
    Change(
        "litert-reference",
        _BEFORE_FLOAT64,
        "requantizes in fixed point, rounding twice as gemmlowp does; since 1.3.0 and TensorFlow 2.20 once, in float64",
        {
            **_dense("q31-half_up-half_away", "reference", *DENSE_8BIT),
            **_int16("reference", *INT16_GRANULARITIES),
        },
    ),
    Change(
        "litert-reference",
        (("1.0.0", "1.0.1"), ("tf2.12.1", "tf2.18.1"), ("tflite2.14.0", "tflite2.14.0")),
        "the per-channel kernel takes every output for two dimensions: of one with more (keep_num_dims) it leaves a "
        "part unwritten",
        written_in_part=frozenset(("int8 per_channel", *_PER_CHANNEL_INT16)),
    ),
    Change(
        "litert-builtin-x86",
        _BEFORE_FLOAT64,
        "what it hands to the reference kernels (int16 activations with a 64-bit accumulator, or with a weights zero "
        "point) is requantized as they did",
        {
            **_int16("builtin", "per_tensor weights_zero_point"),
            **_int16("builtin", "per_tensor", "per_channel", biases=("int64_bias",)),
        },
    ),
    Change(
        "litert-reference",
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "int16 layers without a bias have an accumulator of 32 bits",
        _dense("q31-half_up-half_away", "reference", *_INT16_NO_BIAS),
    ),
    Change(
        "litert-builtin-x86",
        (("tf2.12.1", "tf2.14.1"), ("tflite2.14.0", "tflite2.14.0")),
        "int16 layers without a bias whose weights have a zero point have an accumulator of 32 bits",
        _dense("q31-half_up-half_away", "builtin", *(v for v in _INT16_NO_BIAS if "zero_point" in v)),
    ),
    Change(
        "litert-builtin-x86",
        (("tflite2.14.0", "tflite2.14.0"),),
        "QUANTIZE between 8-bit types and DEQUANTIZE have no vector kernels",
        {
            ("QUANTIZE", "int8->uint8"): Rule("q31_half_up_half_away", "builtin"),
            ("QUANTIZE", "uint8->int8"): Rule("q31_half_up_half_away", "builtin"),
            ("QUANTIZE", "uint8->uint8"): Rule("q31_half_up_half_away", "builtin"),
            ("QUANTIZE", "int8->int8"): Rule("q31_half_up_half_away", "builtin"),
            ("DEQUANTIZE", "int8->float32"): Rule("float32_difference_times_scale", "builtin"),
            ("DEQUANTIZE", "uint8->float32"): Rule("float32_difference_times_scale", "builtin"),
        },
    ),
    Change(
        "litert-builtin-x86",
        (("1.0.0", "1.0.1"), ("tf2.12.1", "tf2.18.1"), ("tflite2.14.0", "tflite2.14.0")),
        "the reference kernel for int16 per-channel layers leaves a part of outputs of more than two dimensions "
        "unwritten",
        written_in_part=frozenset(name for name in _PER_CHANNEL_INT16 if "int64" in name),
    ),
    Change(
        "litert-builtin-x86",
        (("tflite2.14.0", "tflite2.14.0"),),
        "uint8 goes through the gemmlowp library, not ruy",
        {("FULLY_CONNECTED", "uint8 per_tensor"): Rule("q31-half_up-half_away-saturate/fd", "builtin")},
    ),
    Change(
        "litert-xnnpack",
        (("1.0.0", "2.1.4"), ("tf2.16.2", "tf2.21.0")),
        "the delegate takes int8 layers whose weights have a zero point and ignores it: wrong results",
        {("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(_IGNORED, "xnnpack")},
    ),
    Change(
        "litert-xnnpack",
        (("1.3.0", "2.1.4"), ("tf2.20.0", "tf2.21.0")),
        "of int4 weights the delegate takes those with a scale for each unit only",
        declines=frozenset({"int4_one_scale"}),
    ),
    Change(
        "litert-xnnpack",
        (("1.3.0", "1.4.0"), ("tf2.20.0", "tf2.20.0")),
        "with int4 weights the delegate adds the zero point in saturating 16-bit lanes and clamps last",
        {
            ("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule(f"{_OLD_DELEGATE}/acc28", "xnnpack")
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    Change(
        "litert-xnnpack",
        (("tf2.12.1", "tf2.15.1"),),
        "the delegate adds the zero point in saturating 16-bit lanes and clamps last; it takes no per-channel layers, "
        "and none whose activation leaves one value; it ignores a zero point of int8 weights",
        {
            ("FULLY_CONNECTED", "int8 per_tensor"): Rule(_OLD_DELEGATE, "xnnpack"),
            ("FULLY_CONNECTED", "int8 per_channel"): None,
            ("FULLY_CONNECTED", "uint8 per_tensor"): Rule(_OLD_DELEGATE, "xnnpack"),
            ("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(
                f"{_OLD_DELEGATE}/weights_zero_point_ignored", "xnnpack"
            ),
        },
        declines=frozenset({"one_value"}),
    ),
    Change(
        "litert-xnnpack",
        (("tf2.12.1", "tf2.12.1"),),
        "the delegate takes no uint8",
        {("FULLY_CONNECTED", "uint8 per_tensor"): None},
    ),
    Change(
        "litert-xnnpack",
        (("tf2.16.2", "tf2.16.2"),),
        "the delegate takes per-channel layers without a bias only",
        declines=frozenset({"per_channel_bias"}),
    ),
    Change(
        "litert-xnnpack-avx2",
        (("1.0.1", "2.0.3"), ("tf2.16.2", "tf2.21.0")),
        "the delegate takes int8 layers whose weights have a zero point and ignores it: wrong results",
        {
            ("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(
                f"{_OLD_DELEGATE}/weights_zero_point_ignored", "xnnpack"
            )
        },
    ),
    Change(
        "litert-xnnpack-avx2",
        (("1.0.1", "2.0.3"), ("tf2.18.1", "tf2.21.0")),
        "the delegate takes hybrid layers with one weights scale and int8 weights that have a zero point, and ignores "
        "it: wrong results",
        ignores=frozenset({"hybrid_zero_point"}),
    ),
    Change(
        "litert-xnnpack-avx2",
        (("1.0.1", "1.2.0"), ("tf2.18.1", "tf2.18.1")),
        "the delegate fails to prepare hybrid layers with int4 weights of one scale and even depth",
    ),
    Change(
        "litert-xnnpack-avx2",
        (("1.3.0", "2.0.3"), ("tf2.20.0", "tf2.21.0")),
        "of int4 weights the delegate takes those with a scale for each unit only",
        declines=frozenset({"int4_one_scale"}),
    ),
    Change(
        "litert-xnnpack-avx2",
        (("1.3.0", "1.4.0"), ("tf2.20.0", "tf2.20.0")),
        "with int4 weights the delegate has the accumulator's upper 28 bits, adds the zero point in saturating 16-bit "
        "lanes and clamps last",
        {
            ("FULLY_CONNECTED", f"int8 x int4 -> int8 {granularity}"): Rule(f"{_OLD_DELEGATE}/acc28", "xnnpack")
            for granularity in ("per_tensor", "per_channel")
        },
    ),
    Change(
        "litert-xnnpack-avx2",
        (("tf2.14.1", "tf2.14.1"),),
        "the delegate takes no hybrid and no per-channel layers, and none whose activation leaves one value; it ignores "
        "a zero point of int8 weights",
        {
            ("FULLY_CONNECTED", "int8 per_channel"): None,
            ("FULLY_CONNECTED", "int8 per_tensor weights_zero_point"): Rule(
                f"{_OLD_DELEGATE}/weights_zero_point_ignored", "xnnpack"
            ),
            **{
                ("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): None
                for weights in ("int8", "int4")
                for granularity in ("per_tensor", "per_channel")
            },
        },
        declines=frozenset({"one_value"}),
    ),
    Change(
        "litert-xnnpack-avx2",
        (("tf2.16.2", "tf2.16.2"),),
        "the delegate takes no hybrid layers, and of per-channel ones those without a bias only",
        {
            ("FULLY_CONNECTED", f"float32 x {weights} -> float32 {granularity}"): None
            for weights in ("int8", "int4")
            for granularity in ("per_tensor", "per_channel")
        },
        declines=frozenset({"per_channel_bias"}),
    ),
    Change(
        "tflm",
        (_TFLM_FLOAT32,),
        "the product of the scales is rounded to float32",
        {
            **_dense("q31-half_up-half_away", "tflm", "int8 per_tensor", "int8 x int4 -> int8 per_tensor"),
            **{
                int16_variant("int8", "per_tensor", bias): Rule("q15-half_up/fd", "tflm")
                for bias in ("int64_bias", "no_bias")
            },
        },
    ),
    Change(
        "tflm",
        (("20241025232721", "20241025232721"),),
        "a per-channel layer whose output has more than two dimensions (keep_num_dims) ends the process",
        written_in_part=frozenset({"int8 per_channel"}),
    ),
    Change(
        "tflm",
        (_TFLM_FIRST_SCALE,),
        "the first unit's weights scale is taken for every unit: wrong results per-channel",
        {
            ("FULLY_CONNECTED", "int8 per_channel"): Rule(f"q31-half_up-half_away/fd{_FIRST}", "tflm"),
            ("FULLY_CONNECTED", "int8 x int4 -> int8 per_channel"): Rule(f"q31-half_up-half_away/fd{_FIRST}", "tflm"),
            **{
                int16_variant("int8", "per_channel", bias): Rule(f"q15-half_up/fd{_FIRST}", "tflm")
                for bias in ("int64_bias", "no_bias")
            },
        },
    ),
)


@cache
def version_evidence() -> dict[str, Any]:
    """What was run, as tools/time_machine.py wrote it: `runs` by name, `results` that runs refer to by number."""
    text = (resources.files("lastbit") / "runtimes" / "version_evidence.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def versions_run(runtime: str) -> list[str]:
    """The versions of a runtime that were run, as names have them, oldest first by distribution.

    >>> [name for name in versions_run("litert-reference") if name.startswith("1.2")]
    ['1.2.0']
    """
    names = [name.partition("@")[2] for name in version_evidence()["runs"] if name.startswith(f"{runtime}@")]
    return sorted(names, key=_order)


def versioned_runtime(base: Runtime, version: str) -> Runtime:
    """A runtime as it calculated in an older version.

    Args:
        base: the runtime of today.
        version: what stands after the `@`.

    Raises:
        RuntimeNameError: no such version was run; the message lists those that were.
    """
    run = versions_run(base.name)
    matching = [name for name in run if name == version or name.startswith(_prefix(version))]
    if not matching:
        listed = f"versions that were run: {', '.join(run)}" if run else "no other version of it was run"
        raise RuntimeNameError(
            f"unknown version {version!r} of {base.name}: LastBit states only what a real interpreter was held "
            f"against; {listed}. (tf: TensorFlow; tflite: tflite-runtime; else {base.oracle.split(' ')[0]}.)"
        )
    candidates = [_build(base, name) for name in matching]
    last = candidates[-1]
    for other in candidates[:-1]:
        if _arithmetic(other) != _arithmetic(last):
            raise RuntimeNameError(
                f"{base.name}@{version} means several versions that differ: {', '.join(matching)}. Name one of them"
            )
    return last


def _prefix(version: str) -> str:
    """What longer versions begin with: `1.2` is 1.2.0, and not 1.20; a date may be cut anywhere."""
    return version if version.isdigit() and len(version) >= 4 else f"{version}."


def _order(name: str) -> tuple[str, tuple[int, ...]]:
    letters = name.rstrip("0123456789.")
    return letters, tuple(int(part) for part in name.removeprefix(letters).split("."))


def _arithmetic(runtime: Runtime) -> tuple[Any, ...]:
    """What two versions must have in common to be called by one name; why each refuses something is its own."""
    rules = {key: rule if isinstance(rule, Rule) else None for key, rule in runtime.rules.items()}
    return rules, runtime.declines, runtime.written_in_part, runtime.ignores, runtime.operator_versions


@cache
def _cached(base_name: str, version: str) -> dict[Key, list[dict[str, Any]]]:
    """A run's results by operator and variant."""
    evidence = version_evidence()
    by_key: dict[Key, list[dict[str, Any]]] = {}
    for number in evidence["runs"][f"{base_name}@{version}"]["results"]:
        result = evidence["results"][number]
        by_key.setdefault((result["operator"], result["variant"]), []).append(result)
    return by_key


def _build(base: Runtime, version: str) -> Runtime:
    """Today's rules with the changes that hold for this version, as far as it was run."""
    letters, number = _order(version)
    stated: dict[Key, Rule | Refused | None] = dict(base.rules)
    declines, in_part, ignores = frozenset[str](), frozenset[str](), base.ignores
    notes = []
    for change in CHANGES:
        spans = [(_order(first), _order(last)) for first, last in change.spans]
        if change.runtime == base.name and any(
            low[0] == letters and low[1] <= number <= high[1] for low, high in spans
        ):
            stated |= change.rules
            declines |= change.declines
            in_part |= change.written_in_part
            ignores |= change.ignores
            notes.append(change.what)
    results = _cached(base.name, version)
    newest = _cached(base.name, max((v for v in versions_run(base.name) if not v[0].isalpha()), key=_order))
    distribution = DISTRIBUTIONS.get(letters, base.oracle.split(" ")[0])
    plain = version.removeprefix(letters)
    name = f"{distribution} {plain}"
    rules: dict[Key, Rule | Refused] = {}
    for key in {**base.rules, **stated, **results}:
        rule = stated.get(key)
        if isinstance(rule, Refused):
            ran = any(result["outputs"] for result in results.get(key, [])) and not rule.reason.startswith("not exact")
            rules[key] = Refused(f"{name} runs it, which LastBit does not cover") if ran else rule
            continue
        here = results.get(key, [])
        if base.fallback is not None:
            found = _delegated(rule, here, newest.get(key, []), name, declines)
        else:
            found = _offered(rule, here, name, in_part)
        if found is not None:
            rules[key] = found
    run = version_evidence()["runs"][f"{base.name}@{version}"]
    return replace(
        base,
        name=f"{base.name}@{version}",
        title=f"{base.title}, as in {name}" + (f": {'; '.join(notes)}" if notes else ""),
        oracle=f"{name}, {run['fingerprint']['mode']}",
        rules=rules,
        fallback=None if base.fallback is None else f"{base.fallback}@{version}",
        declines=declines,
        written_in_part=in_part,
        ignores=ignores,
        operator_versions={"FULLY_CONNECTED": run["largest_operator_version"]},
    )


def _delegated(
    rule: Rule | None, results: list[dict[str, Any]], today: list[dict[str, Any]], name: str, declines: frozenset[str]
) -> Rule | Refused | None:
    """The stated rule for what a delegate takes, or None where it leaves the variant to other kernels.

    Args:
        rule: the stated rule.
        results: what this version did.
        today: what the newest version did with the same cases.
        name: the version, in words.
        declines: what this version declines beside what today's does.
    """
    own = [result for result in results if result["delegated"]]
    # A delegate's kernel sees rows, whatever the leading dimensions are.
    own = [result for result in own if not result["output_rank_above_2"]] or own
    if not own:
        failed, failed_today = (
            Counter({words: n for r in some for words, n in r["refused"].items() if "XNNPACK" in words})
            for some in (results, today)
        )
        # What it left to other kernels and what it failed on are not told apart by the variant alone.
        if failed and (not any(r["outputs"] for r in results) or failed.total() > failed_today.total()):
            return Refused(f"{name} refuses it: {min(failed).partition(': ')[2]}")
        return None if results or rule is None else Refused(f"not held against {name}")
    if "int4_one_scale" in declines and own[0]["variant"] in _INT4_ONE_SCALE:
        return _offered(rule, own, name, frozenset())  # what it declines and where it fails is stated
    left, left_today = (sum(r["outputs"] for r in some if not r["delegated"]) for some in (results, today))
    failed_here, failed_today = (sum(sum(r["refused"].values()) for r in some) for some in (results, today))
    if (left > left_today and not declines) or failed_here > failed_today:
        return Refused(f"which of these layers the delegate of {name} takes is not settled")
    return _offered(rule, own, name, frozenset())


def _offered(
    rule: Rule | None, results: list[dict[str, Any]], name: str, in_part: frozenset[str]
) -> Rule | Refused | None:
    """The stated rule if this version was seen to follow it, else why not."""
    ran = [result for result in results if result["outputs"]]
    if not ran:
        words = sorted({text for result in results for text in result["refused"]})
        if words:
            return Refused(f"{name} refuses it: {words[0].partition(': ')[2]}")
        return None if rule is None else Refused(f"not held against {name}")
    for result in ran:
        unwritten = result["output_rank_above_2"] and result["variant"] in in_part
        # Rules that were not known when the version ran are held against what it printed for the golden file.
        fitting = (*result["fitting"], *result.get("recorded", {"fitting": ()})["fitting"])
        if not unwritten and (rule is None or rule.name not in fitting):
            return Refused(f"the arithmetic of {name} is not settled")
    return rule
