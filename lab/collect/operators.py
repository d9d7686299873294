"""Compare the operators around dense layers with the real interpreters, and write what was compared.

    python -m lab collect operators [--scale X] [--seed S] [--runtimes NAME ...]
        [--tape RUNTIME=FILE ...] [--command RUNTIME=COMMAND ...] [--hidden RUNTIME ...] [--only OPERATOR ...]

Writes the part `operators` of lab/evidence/RUNTIME.json, of which docs/operators.md and `lastbit runtimes
--operators` are made: per runtime the fingerprint, and per variant of an operator the outputs compared, the mismatches,
the outputs at which each rival rule is refuted, and how many cases both sides refuse. Runtimes whose interpreter is not
here (XNNPACK on another CPU) keep their entries, or get them from what that machine recorded in tests/recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from lab.cases import activations
from lab.cases.operators import Array, Case
from lab.cases.variables import Stream, streams
from lab.collect.evidence_files import load_part, store_part
from lab.reach.hidden import open_hidden
from lab.reach.replay_version import Target, find_target, open_target
from lab.reach.tape import open_tape, unanswered
from lab.record.operators import all_cases
from lab.record.recorded_operators import read_golden
from lastbit.engines import reference
from lastbit.layers.differences import same_bits
from lastbit.model.errors import LastBitError, Refusal, UnsupportedError
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.ops import OPERATORS
from lastbit.ops.base import PreparedOperator, output_values
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.oracles import Oracle, OracleFailure, installed, open_oracle
from lastbit.runtimes.variant import Variant
from lastbit.verbs.runtimes.operators import OPERATOR_RUNTIMES

ROOT = Path(__file__).parents[2]

NONE: Mapping[str, str] = MappingProxyType({})
KEEP_VALUES = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
Outputs = Sequence[Array]
Seen = tuple[Model, Sequence[Array], Outputs | str]
"""A case: its model, its inputs, and the interpreter's outputs or how it refused."""


Made = dict[str, Outputs]
"""What every rule of an operator makes of a case, as far as it takes it: rule -> outputs."""


class Tally:
    """What was compared for one runtime.

    Args:
        runtime: the runtime.
        made: the number of a case -> what rules make of it; shared by runtimes that see the same cases.
    """

    def __init__(self, runtime: str, made: dict[int, Made]) -> None:
        self.runtime, self.made, self.number = runtime, made, 0
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.rivals: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.reasons: dict[tuple[str, str], str] = {}
        self.rules: dict[tuple[str, str], tuple[str, str]] = {}
        self.first_mismatch = ""

    def add(self, model: Model, inputs: Sequence[Array], found: Outputs | str) -> None:
        """Count one case."""
        op = model.operators[0]
        self.number += 1
        key = key_of_case(model)
        counts = self.counts[key]
        prepared = prepared_or_refused(model, self.runtime)
        if isinstance(prepared, UnsupportedError):
            if isinstance(found, str):
                counts["refused_by_both"] += 1
                self.reasons.setdefault(key, found)
            elif prepared.kind in (Refusal.NOT_EXACT, Refusal.UNDEFINED):
                counts["not_exact"] += 1
            else:
                reason = "; ".join(prepared.reasons)
                self._mismatch(key, 1, f"LastBit refuses what the interpreter runs: {reason}")
            return
        if isinstance(found, str):
            self._mismatch(key, 1, f"the interpreter refused: {found}")
            return
        own = (prepared.rule, prepared.kernel)
        counts["outputs"] += sum(x.size for x in found)
        self._mismatch(key, differing(output_values(op, prepared.evaluate(inputs)).values(), found), str(op.options))
        if self.rules.setdefault(key, own) != own:
            counts["outputs_of_declined"] += sum(x.size for x in found)
            return
        if self.number not in self.made:
            self.made[self.number] = made_by_rules(model, inputs)
        for rival, outputs in self.made[self.number].items():
            if rival != prepared.rule:
                self.rivals[key][rival] += differing(outputs, found)

    def add_stream(self, stream: Stream, found: Sequence[Outputs]) -> None:
        """Count a model that keeps values between calls: what is read shows what all of its operators do."""
        model = stream.model()
        prepared = prepare(model, self.runtime)
        prepared.require_all()
        ours = reference.run(prepared, [np.concatenate(stream.calls)]).outputs
        theirs = [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
        bad, size = differing(ours, theirs), sum(array.size for array in theirs)
        for op in {op.name: op for op in model.operators}.values():
            key = op.name, str(OPERATORS[op.name].variant(model, op))
            self.counts[key]["outputs"] += size
            self.rules[key] = prepared.operators[op.index].rule, prepared.operators[op.index].kernel
            self._mismatch(key, bad, stream.name)

    def _mismatch(self, key: tuple[str, str], count: int, text: str) -> None:
        self.counts[key]["mismatches"] += count
        if count and not self.first_mismatch:
            self.first_mismatch = f"{key}: {count}, {text}"

    def variants(self) -> list[dict[str, Any]]:
        """One entry for each variant."""
        return [
            {
                "operator": operator,
                "variant": variant,
                "rule": self.rules.get((operator, variant), ("", ""))[0],
                "kernel": self.rules.get((operator, variant), ("", ""))[1],
                **{name: counts[name] for name in ("outputs", "mismatches", "refused_by_both", "not_exact")},
                "interpreters_words": self.reasons.get((operator, variant), ""),
                "rivals_refuted_at": dict(sorted(self.rivals[operator, variant].items())),
            }
            for (operator, variant), counts in sorted(self.counts.items())
        ]


@lru_cache(maxsize=64)
def key_of_case(model: Model) -> tuple[str, str]:
    """The operator of a case and its variant."""
    op = model.operators[0]
    return op.name, str(OPERATORS[op.name].variant(model, op))


@lru_cache(maxsize=64)
def prepared_or_refused(model: Model, runtime: str) -> PreparedOperator | UnsupportedError:
    """The operator of a case as a runtime calculates it, or why it does not: asked once for many inputs."""
    try:
        return prepare_operator(model, model.operators[0], runtime)
    except UnsupportedError as error:
        return error


@lru_cache(maxsize=64)
def prepared_by_rules(model: Model) -> dict[str, PreparedOperator]:
    """Rule -> the operator of a case by this rule, for every rule that takes it."""
    op = model.operators[0]
    found = {}
    for rule in OPERATORS[op.name].rules:
        with contextlib.suppress(LastBitError, ZeroDivisionError):
            found[rule] = OPERATORS[op.name].prepare(model, op, rule)
    return found


def made_by_rules(model: Model, inputs: Sequence[Array]) -> Made:
    """What the rules of the operator make of a case."""
    made: Made = {}
    for rule, prepared in prepared_by_rules(model).items():
        with contextlib.suppress(LastBitError, ZeroDivisionError):
            made[rule] = list(output_values(prepared.operator, prepared.evaluate(inputs)).values())
    return made


def differing(ours: Any, theirs: Outputs) -> int:
    """How many outputs differ, to the last bit; any NaN is equal to any NaN."""
    total = 0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            total += b.size
        else:
            total += int((~same_bits(b, a)).sum())
    return total


def all_streams(seed: int, scale: float) -> Iterator[Stream]:
    """Models that keep values between calls."""
    rng = np.random.default_rng([seed, 104])
    for _ in range(max(int(40 * scale), 1)):
        for dtype in ("int8", "uint8", "int16", "float32", "int32"):
            yield from streams(rng, dtype)


@lru_cache(maxsize=1)
def chosen_cases(seed: int, scale: float, only: tuple[str, ...], dtype: str) -> list[Case]:
    """The cases of these operators and of this type of the first input; the same list for every runtime."""
    return [
        case
        for case in all_cases(seed, scale)
        if (not only or case.op in only) and (not dtype or case.model().inputs[0].dtype.name == dtype)
    ]


def live(
    runtime: str, oracle: Oracle, seed: int, scale: float, only: Sequence[str] = (), dtype: str = ""
) -> tuple[dict[str, str], Iterator[Seen]]:
    """The interpreter's fingerprint, and every case with what it printed."""

    def run() -> Iterator[Seen]:
        with oracle:
            for number, case in enumerate(chosen_cases(seed, scale, tuple(only), dtype)):
                if number % 500 == 0:
                    print(runtime, number, file=sys.stderr)
                try:
                    found: Outputs | str = oracle.run(case.content(), [list(case.values)]).outputs[0]
                except OracleFailure as failure:
                    found = failure.reason.splitlines()[0] if failure.reason else failure.kind
                yield case.model(), case.values, found
            for around in () if only else activations.cases(seed, max(round(100 * scale), 1)):
                content = write(around.graph)
                model = load(content)
                try:
                    outputs = oracle.run(content, [[x] for x in around.samples]).outputs
                except OracleFailure as failure:
                    yield model, [around.samples[0]], failure.reason.splitlines()[0] if failure.reason else failure.kind
                    continue
                for x, made in zip(around.samples, outputs, strict=True):
                    yield model, [x], made

    return oracle.fingerprint.as_dict(), run()


def recorded(runtime: str) -> tuple[dict[str, str], Iterator[Seen]] | None:
    """The same from a golden file of another machine."""
    for path in sorted((ROOT / "tests" / "recorded").glob("operators.*.npz")):
        fingerprints, cases = read_golden(path)
        if runtime in fingerprints:
            return fingerprints[runtime], ((m, x, outcomes[runtime]) for m, x, outcomes in cases)
    return None


@cache
def _target(command: str) -> Target:
    """What a command starts: asked once for all runtimes, as an emulator takes long to start."""
    return find_target(shlex.split(command))


def oracle_of(
    runtime: str, hidden: Sequence[str] = (), commands: Mapping[str, str] = NONE, tapes: Mapping[str, str] = NONE
) -> Oracle:
    """A runtime's interpreter: on tape, in another Python, on this CPU with features hidden, or as it is here."""
    if runtime in tapes:
        return open_tape(runtime, tapes[runtime])
    if runtime in commands:
        return open_target(_target(commands[runtime]), runtime)
    return open_hidden(runtime) if runtime in hidden else open_oracle(runtime)


def entry(
    tally: Tally,
    fingerprint: dict[str, str],
    cases: Iterator[Seen],
    how: str,
    tapped: Iterable[Stream] = (),
    opened: Callable[[], Oracle] | None = None,
) -> dict[str, Any]:
    """One runtime's part of the file."""
    runtime = tally.runtime
    for model, inputs, found in cases:
        tally.add(model, inputs, found)
    with opened() if tapped and opened is not None else contextlib.nullcontext() as oracle:
        for stream in tapped:
            assert oracle is not None
            tally.add_stream(stream, oracle.run(stream.content, [[x] for x in stream.calls]).outputs)
    if tally.first_mismatch:
        print("FIRST MISMATCH", runtime, tally.first_mismatch)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return {"fingerprint": fingerprint, "date": date, "how": how, "variants": tally.variants()}


def merged(known: dict[str, Any], new: dict[str, Any], operators: Sequence[str], dtype: str = "") -> dict[str, Any]:
    """A runtime's entry with the new variants of these operators (and type), each with its own fingerprint."""
    for variant in new["variants"]:
        variant |= {"fingerprint": new["fingerprint"], "date": new["date"], "how": new["how"]}
    kept = [
        variant
        for variant in known["variants"]
        if variant["operator"] not in operators or (dtype and Variant.parse(variant["variant"]).input != dtype)
    ]
    return {**known, "variants": sorted([*kept, *new["variants"]], key=lambda v: (v["operator"], v["variant"]))}


def main() -> None:
    """Parse the command line, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--runtimes", nargs="+", choices=OPERATOR_RUNTIMES, default=OPERATOR_RUNTIMES)
    parser.add_argument("--tape", action="append", default=[], metavar="RUNTIME=FILE", help="see lab/reach/tape.py")
    parser.add_argument("--command", action="append", default=[], metavar="RUNTIME=COMMAND", help="of another Python")
    parser.add_argument("--only", nargs="+", choices=OPERATORS, default=(), help="these operators; others keep theirs")
    parser.add_argument("--dtype", default="", help="with --only: cases whose first input is of this type")
    parser.add_argument("--hidden", nargs="+", default=(), choices=OPERATOR_RUNTIMES, help="see lab/reach/hidden")
    options = parser.parse_args()
    tapes = dict(text.split("=", 1) for text in options.tape)
    commands = dict(text.split("=", 1) for text in options.command)
    elsewhere = {*tapes, *commands, *options.hidden}
    kept = load_part("operators")
    runtimes: dict[str, Any] = {}
    made: dict[int, Made] = {}
    for name in OPERATOR_RUNTIMES:
        if name in options.runtimes and (name in elsewhere or installed(name) is not None):
            run_streams = name not in tapes and (not options.only or set(options.only) & set(KEEP_VALUES))
            opened = partial(oracle_of, name, options.hidden, commands, tapes)
            oracle = opened()
            fingerprint, cases = live(name, oracle, options.seed, options.scale, options.only, options.dtype)
            how = f"python -m lab collect operators --seed {options.seed} --scale {options.scale:g}"
            tapped = all_streams(options.seed, options.scale) if run_streams else ()
            runtimes[name] = entry(Tally(name, made), fingerprint, cases, how, tapped, opened)
            if name in unanswered(tapes):
                print(f"{name}: recorded on {tapes[name]}; nothing is stored before it is answered")
                runtimes[name] = kept[name]
            elif options.only and name in kept:
                runtimes[name] = merged(kept[name], runtimes[name], options.only, options.dtype)
        elif name in kept:
            runtimes[name] = kept[name]
        elif name in options.runtimes and (found := recorded(name)) is not None:
            runtimes[name] = entry(Tally(name, {}), *found, "cases recorded in tests/recorded")
        if name in runtimes:
            variants = runtimes[name]["variants"]
            done, bad = (sum(v[what] for v in variants) for what in ("outputs", "mismatches"))
            print(f"{name}: {len(variants)} variants, {done:,} outputs, {bad} mismatches")
    store_part("operators", runtimes)


if __name__ == "__main__":
    main()
