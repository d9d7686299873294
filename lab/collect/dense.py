"""Compare every exact runtime with its real interpreter and write what was compared, for `lastbit runtimes`.

    python -m lab collect dense [--families NAME ...] [--rounds N] [--seed S]
        [--library RUNTIME=FILE ... --build VERSION TEXT] [--runtimes NAME ...] [--command RUNTIME=COMMAND ...]
        [--tape RUNTIME=FILE ...] [--add]

Writes the part `dense` of lab/evidence/RUNTIME.json: the interpreter's fingerprint, per variant and family the
outputs compared and the mismatches, and per rival rule the number of outputs at which it is refuted. With --families
only those variants' entries are replaced; so are, without it, those of the runtimes whose interpreter is there.
CMSIS-NN is a library that you build and name. The tables of README and docs come from these files (update_docs.py).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lab.cases import dense_libraries, versions
from lab.cases.dense import Case
from lab.collect.dense_families import FAMILIES
from lab.collect.evidence_files import load_part, store_part
from lab.reach import replay_version
from lab.reach.tape import open_tape, unanswered
from lastbit.layers.differences import same_bits
from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.model.graph import Model, Operator
from lastbit.model.tflite import load, write
from lastbit.ops import OPERATORS
from lastbit.ops.base import PreparedOperator
from lastbit.ops.prepare import prepare_operator
from lastbit.oracles import ORACLES, Oracle, OracleFailure, fingerprint_of, open_oracle
from lastbit.runtimes import RUNTIMES, Rule, find_rule

Key = tuple[str, str, str]  # operator, variant, family


class Tally:
    """What was compared for one runtime."""

    def __init__(self) -> None:
        self.outputs: Counter[Key] = Counter()
        self.mismatches: Counter[Key] = Counter()
        self.rivals: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.refused: Counter[tuple[str, str]] = Counter()
        self.declined: Counter[tuple[str, str]] = Counter()
        self.first_mismatch = ""

    def compare(
        self, case: Case, oracle: Oracle, rivals: Callable[[Model, Operator], Mapping[str, PreparedOperator]]
    ) -> None:
        """Run one case in the real interpreter and in every rule, and count."""
        self.compare_model(write(case.graph), case.samples, case.family, oracle, rivals)

    def compare_model(
        self,
        content: bytes,
        samples: Sequence[np.ndarray],
        family: str,
        oracle: Oracle,
        rivals: Callable[[Model, Operator], Mapping[str, PreparedOperator]],
    ) -> None:
        """The same for a file's bytes and inputs."""
        model = load(content)
        op = model.operators[0]
        variant = op.name, str(found := OPERATORS[op.name].variant(model, op))
        key = (*variant, family)
        try:
            prepared: PreparedOperator | None = prepare_operator(model, op, oracle.name)
        except UnsupportedError as error:
            if error.kind in (Refusal.NOT_EXACT, Refusal.NOT_SETTLED):
                return  # LastBit's own refusal: nothing is claimed
            prepared = None
        try:
            run = oracle.run(content, [[x] for x in samples])
        except OracleFailure as failure:
            if prepared is not None:
                self._mismatch(key, 1, f"the interpreter refused: {failure}")
            self.refused[variant] += 1
            return
        if prepared is None:
            self._mismatch(key, 1, "LastBit refuses what the interpreter runs")
            return
        stated = find_rule(RUNTIMES[oracle.name], op.name, found, declined=False)
        # A layer that the delegate declines follows the fallback's rule: it says nothing about this runtime's own.
        declined = not isinstance(stated, Rule) or stated.name != prepared.rule
        others = {} if declined else {n: r for n, r in rivals(model, op).items() if n != prepared.rule}
        for x, (observed,) in zip(samples, run.outputs, strict=True):
            self._mismatch(key, _differing(prepared, x, observed), f"{model.tensors[0].shape}")
            if declined:
                self.declined[variant] += observed.size
                continue
            self.outputs[key] += observed.size
            for name, rival in others.items():
                self.rivals[variant][name] += _differing(rival, x, observed)

    def _mismatch(self, key: Key, count: int, text: str) -> None:
        self.mismatches[key] += count
        if count and not self.first_mismatch:
            self.first_mismatch = f"{key}: {count}, {text}"

    def variants(self) -> list[dict[str, Any]]:
        """One entry for each variant, as the evidence file has it."""
        entries = []
        for operator, variant in sorted({key[:2] for key in self.outputs} | set(self.refused) | set(self.declined)):
            families = [
                {"family": family, "outputs": count, "mismatches": self.mismatches[operator, variant, family]}
                for (o, v, family), count in sorted(self.outputs.items())
                if (o, v) == (operator, variant)
            ]
            bad = sum(n for (o, v, _), n in self.mismatches.items() if (o, v) == (operator, variant))
            entries.append(
                {
                    "operator": operator,
                    "variant": variant,
                    "outputs": sum(f["outputs"] for f in families),
                    "mismatches": bad,
                    "refused_by_both": self.refused[operator, variant],
                    "outputs_of_declined_layers": self.declined[operator, variant],
                    "families": families,
                    "rivals_refuted_at": dict(sorted(self.rivals[operator, variant].items())),
                }
            )
        return entries


def _differing(prepared: PreparedOperator, x: np.ndarray, observed: np.ndarray) -> int:
    ours = prepared.evaluate([x])["output"]
    if ours.shape != observed.shape or ours.dtype != observed.dtype:
        return int(observed.size)
    return int((~same_bits(observed, ours)).sum())


def collect(
    seed: int,
    rounds: int | None,
    names: list[str] | None = None,
    progress: bool = False,
    libraries: Mapping[str, str] | None = None,
    build: tuple[str, str] | None = None,
    runtimes: Sequence[str] | None = None,
    commands: Mapping[str, str] | None = None,
    tapes: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run families on every runtime.

    Args:
        seed: of all randomness.
        rounds: of each family; None for its own number.
        names: keys of FAMILIES; None for all.
        progress: say on stderr how far it is.
        libraries: runtime -> its shared library, for those that have one.
        build: of these libraries, the version of their source and how they were built.
        runtimes: only these.
        commands: runtime -> a command that starts another Python, or an emulator, that has its interpreter.
        tapes: runtime -> a tape of jobs to record, or to play once another machine has answered them (tape.py).

    Returns:
        The evidence file's content, and runtime -> its first mismatch where there is one.
    """
    libraries, commands, tapes = libraries or {}, commands or {}, tapes or {}
    chosen = names or list(FAMILIES)
    wanted = [name for name in RUNTIMES if any(name in FAMILIES[family].runtimes for family in chosen)]
    wanted = [name for name in wanted if runtimes is None or name in runtimes]
    elsewhere = {*libraries, *commands, *tapes}
    specs = {name: ORACLES[name] for name in wanted}
    if all(family.startswith("spread") for family in chosen):
        specs = {name: replace(spec, vectors=()) for name, spec in specs.items()}
    there = [name for name in wanted if fingerprint_of(specs[name]) is not None or name in elsewhere]
    for name in wanted:
        if name not in there:
            print(f"{name} is left out: its interpreter is not there", file=sys.stderr)
    tallies = {name: Tally() for name in there}

    def opened(name: str) -> Oracle:
        if name in tapes:
            return open_tape(name, tapes[name])
        if name in commands:
            return replay_version.open_target(replay_version.find_target(shlex.split(commands[name])), name)
        if specs[name] is not ORACLES[name]:
            return Oracle(specs[name], timeout=300.0, threads=1)
        return open_oracle(name, library=libraries.get(name))

    oracles = {name: opened(name) for name in there}
    try:
        for name in chosen:
            families = FAMILIES[name]
            for number, case in enumerate(families.cases(seed, rounds or families.rounds)):
                if commands:  # older interpreters, which do not know the newest operator versions
                    case = versions.lowered(case)
                for runtime, oracle in oracles.items():
                    if runtime in families.runtimes:
                        tallies[runtime].compare(case, oracle, families.rivals)
                if progress and number % 100 == 0:
                    done = {n: sum(t.outputs.values()) for n, t in tallies.items()}
                    print(name, number, done, file=sys.stderr)
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        content = {
            "runtimes": {
                name: {
                    "date": date,
                    "how": f"python -m lab collect dense --seed {seed}",
                    "fingerprint": dense_libraries.built_fingerprint(oracle.fingerprint, build),
                    "variants": tallies[name].variants(),
                }
                for name, oracle in oracles.items()
            },
        }
        return content, {n: t.first_mismatch for n, t in tallies.items() if t.first_mismatch}
    finally:
        for oracle in oracles.values():
            oracle.close()


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new evidence, with the old one's entries for variants and runtimes that were not run again.

    Where these were run on another machine, the runtime's fingerprint stays that machine's, and the new variants have
    their own.
    """
    for name, entry in new["runtimes"].items():
        fresh = {(v["operator"], v["variant"]) for v in entry["variants"]}
        kept = [
            v
            for v in old["runtimes"].get(name, {"variants": []})["variants"]
            if (v["operator"], v["variant"]) not in fresh
        ]
        if kept and (machine := old["runtimes"][name]["fingerprint"]) != entry["fingerprint"]:
            for variant in entry["variants"]:
                variant["fingerprint"] = entry["fingerprint"]
            entry["fingerprint"] = machine
        entry["variants"] = sorted([*entry["variants"], *kept], key=lambda v: (v["operator"], v["variant"]))
    new["runtimes"] = {
        name: new["runtimes"].get(name) or old["runtimes"][name]
        for name in RUNTIMES
        if name in new["runtimes"] or name in old["runtimes"]
    }
    return new


def added(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old evidence with the counts of another seed added to it.

    Raises:
        SystemExit: a runtime's interpreter or CPU is another one now.
    """
    for name, entry in new["runtimes"].items():
        known = old["runtimes"].setdefault(name, entry)
        if known is entry:
            continue
        if known["fingerprint"] != entry["fingerprint"]:
            raise SystemExit(f"{name} was run with {known['fingerprint']}, now it is {entry['fingerprint']}")
        variants = {(v["operator"], v["variant"]): v for v in known["variants"]}
        for more in entry["variants"]:
            into = variants.setdefault((more["operator"], more["variant"]), more)
            if into is more:
                known["variants"].append(more)
                continue
            for count in ("outputs", "mismatches", "refused_by_both", "outputs_of_declined_layers"):
                into[count] += more[count]
            families = {f["family"]: f for f in into["families"]}
            for family in more["families"]:
                if family["family"] in families:
                    for count in ("outputs", "mismatches"):
                        families[family["family"]][count] += family[count]
                else:
                    into["families"].append(family)
            rivals = into["rivals_refuted_at"]
            into["rivals_refuted_at"] = {
                rival: rivals.get(rival, 0) + more["rivals_refuted_at"].get(rival, 0)
                for rival in sorted({*rivals, *more["rivals_refuted_at"]})
            }
        known["date"] = entry["date"]
    return old


def main() -> None:
    """Parse the command line, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=None)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--library", action="append", default=[], metavar="RUNTIME=FILE", help="see open_oracle")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=None)
    parser.add_argument("--command", action="append", default=[], metavar="RUNTIME=COMMAND", help="of another Python")
    parser.add_argument("--tape", action="append", default=[], metavar="RUNTIME=FILE", help="see lab/reach/tape.py")
    parser.add_argument("--add", action="store_true", help="add to the file's counts: for another seed")
    parser.add_argument("--build", nargs=2, metavar=("VERSION", "TEXT"), help="of the libraries")
    options = parser.parse_args()
    libraries = dict(text.split("=", 1) for text in options.library)
    tapes = dict(text.split("=", 1) for text in options.tape)
    evidence, first = collect(
        options.seed,
        options.rounds,
        options.families,
        progress=True,
        libraries=libraries,
        build=tuple(options.build) if options.build else None,
        runtimes=options.runtimes,
        commands=dict(text.split("=", 1) for text in options.command),
        tapes=tapes,
    )
    for name in unanswered(tapes):
        del evidence["runtimes"][name]
        first.pop(name, None)
        print(f"{name}: recorded on {tapes[name]}; nothing is stored before it is answered")
    for name, entry in evidence["runtimes"].items():
        for variant in entry["variants"]:
            print(name, variant["variant"], f"{variant['outputs']:,} outputs,", variant["mismatches"], "mismatches")
            print("   refuted:", variant["rivals_refuted_at"], "refused by both:", variant["refused_by_both"])
    for name, text in first.items():
        print("FIRST MISMATCH", name, text)
    combine = added if options.add else merged
    store_part("dense", combine({"runtimes": load_part("dense")}, evidence)["runtimes"])


if __name__ == "__main__":
    main()
