"""Ask older versions for the operators beside dense layers, and add what they did to version_evidence.json.

    python -m lab versions operators --folder DIR [--only litert-2.2.0 ...] [--scale X] [--seed S]
        [--command RUNTIME,RUNTIME=COMMAND ...] [--hidden RUNTIME ...] [--operators NAME ...]

A target's virtual environment is made in DIR where it is not there (lab/reach/time_machine.py). --command asks a Python
that is started otherwise, such as an emulator's; --hidden asks for these runtimes alone, with features of this CPU
hidden (lab/reach/hidden). The cases are those of `collect operators`. Name the newest version
too: what an older delegate leaves to other kernels shows beside it. --operators asks for these alone, as after a rule
was added that was no rival before, and replaces what is known of them. Afterwards every case is compared with what
LastBit then states of that version.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lab.cases import activations
from lab.cases.operators import Array
from lab.cases.variables import Stream
from lab.collect.operators import KEEP_VALUES, Made, Outputs, all_streams, differing, made_by_rules
from lab.collect.version_facts import EVIDENCE, write_facts
from lab.reach.replay_version import Key, Tally, Target, find_target, open_target
from lab.reach.time_machine import (
    LITERT_RUNTIMES,
    TARGETS,
    add_variants,
    environment,
    evidence_entry,
    read_evidence,
    versioned_name,
    write_evidence,
)
from lab.record.operators import all_cases
from lastbit.engines import reference
from lastbit.model.errors import Refusal, UnsupportedError
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.ops import OPERATORS
from lastbit.ops.base import output_values
from lastbit.ops.prepare import prepare, prepare_operator
from lastbit.oracles import Oracle, OracleFailure
from lastbit.runtimes import RUNTIMES, Runtime
from lastbit.runtimes.versions import stated_runtime, version_facts

FAMILY = "operators"


@dataclass(frozen=True)
class Question:
    """A model of one operator and what is fed to it."""

    content: bytes
    model: Model
    values: Sequence[Array]

    def asked(self, oracle: Oracle) -> tuple[Outputs | str, bool]:
        """The interpreter's outputs or how it refused, and whether a delegate took the operator."""
        try:
            run = oracle.run(self.content, [list(self.values)])
        except OracleFailure as failure:
            return f"{failure.kind}: {' '.join(failure.reason.split())[:90]}", False
        return run.outputs[0], bool(run.delegated)

    def key(self, delegated: bool) -> Key:
        """What is tallied together."""
        op = self.model.operators[0]
        return Key(op.name, str(OPERATORS[op.name].variant(self.model, op)), False, delegated)


@dataclass
class Asked:
    """One version in one mode: what it did with every question."""

    name: str
    oracle: Oracle
    stated: Runtime
    tallies: dict[Key, Tally] = field(default_factory=lambda: defaultdict(Tally))
    found: list[Outputs | str] = field(default_factory=list)

    def ask(self, question: Question, made: Made) -> None:
        """Run it and count which rules make the same of it; not of what is stated to be no rule's."""
        found, delegated = question.asked(self.oracle)
        self.found.append(found)
        tally = self.tallies[question.key(delegated)]
        if isinstance(found, str):
            tally.refused[found] += 1
            return
        if delegated and self.without_rule(question):
            return
        tally.outputs += sum(array.size for array in found)
        for rule, outputs in made.items():
            tally.mismatches[rule] += differing(outputs, found)

    def ask_stream(self, stream: Stream) -> None:
        """Run a model that keeps values between calls: what is read shows what all of its operators do."""
        model = stream.model()
        run = self.oracle.run(stream.content, [[x] for x in stream.calls])
        prepared = prepare(model, self.stated)
        ours = reference.run(prepared, [np.concatenate(stream.calls)]).outputs
        theirs = [np.concatenate(arrays) for arrays in zip(*run.outputs, strict=True)]
        for op in {op.name: op for op in model.operators}.values():
            # VAR_HANDLE's variant does not have the type by which a delegate takes it, and it computes nothing.
            delegated = op.name != "VAR_HANDLE" and op.index in (run.delegated_operators or ())
            tally = self.tallies[Key(op.name, str(OPERATORS[op.name].variant(model, op)), False, delegated)]
            tally.outputs += sum(array.size for array in theirs)
            tally.mismatches[prepared.operators[op.index].rule] += differing(ours, theirs)

    def without_rule(self, question: Question) -> bool:
        """Whether it is stated that what this version's delegate prints of it is not exact, or has no meaning."""
        try:
            prepare_operator(question.model, question.model.operators[0], self.stated)
        except UnsupportedError as error:
            return error.kind in (Refusal.NOT_EXACT, Refusal.UNDEFINED)
        return False

    def compared(self, questions: Sequence[Question]) -> Counter[str]:
        """What LastBit states of this version, compared with what it printed: outputs and those that differ."""
        counts: Counter[str] = Counter()
        for question, found in zip(questions, self.found, strict=True):
            op = question.model.operators[0]
            try:
                prepared = prepare_operator(question.model, op, self.name)
            except UnsupportedError as error:
                refused = isinstance(found, str)
                ours = error.kind is not Refusal.RUNTIME
                counts["refused by both" if refused else "not stated" if ours else "differ"] += 1
                if not refused and not ours:
                    print(self.name, question.key(False), "LastBit refuses:", error, file=sys.stderr)
                continue
            if isinstance(found, str):
                counts["differ"] += 1
                print(self.name, question.key(False), found, file=sys.stderr)
                continue
            bad = differing(output_values(op, prepared.evaluate(question.values)).values(), found)
            counts["outputs"] += sum(array.size for array in found)
            counts["differ"] += bad
            if bad:
                print(self.name, question.key(False), prepared.rule, bad, op.options, file=sys.stderr)
        return counts


def questions(seed: int, scale: float, operators: Sequence[str]) -> Iterator[Question]:
    """The cases of `collect operators` without dense layers, and the activations around them; or of these operators."""
    for case in all_cases(seed, scale):
        if not operators or case.op in operators:
            yield Question(case.content(), case.model(), case.values)
    for around in activations.cases(seed, max(round(100 * scale), 1)):
        model = load(content := write(around.graph))
        if not operators or model.operators[0].name in operators:
            yield from (Question(content, model, [x]) for x in around.samples)


def targets(options: argparse.Namespace) -> Iterator[tuple[Target, Sequence[str]]]:
    """Each Python and the runtimes that it is asked for."""
    for text in options.command:
        names, command = text.split("=", 1)
        yield find_target(shlex.split(command)), names.split(",")
    for name in options.only:
        yield find_target([str(environment(options.folder, name))]), options.hidden or LITERT_RUNTIMES


def store(asked: Sequence[Asked], script: str, operators: Sequence[str]) -> None:
    """Add what was found to the evidence of versions, or replace it of some operators; decide what each offers."""
    runs: dict[str, Any] = read_evidence(EVIDENCE)
    for one in asked:
        entry = evidence_entry(one.oracle, one.tallies)
        known = runs.setdefault(one.name, entry)
        if known is not entry:
            known["variants"] = [v for v in known["variants"] if v["operator"] not in operators]
            add_variants(known["variants"], entry["variants"])
        cpu = one.oracle.fingerprint.cpu
        known["added"] = [*known.get("added", []), {"families": [FAMILY], "cpu": cpu, "how": script}]
    write_evidence(EVIDENCE, runs, script)
    write_facts()
    version_facts.cache_clear()


def main() -> None:
    """Ask, store, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument(
        "--only", nargs="+", choices=[name for name in TARGETS if name.startswith("litert")], default=()
    )
    parser.add_argument("--command", action="append", default=[], metavar="RUNTIME,RUNTIME=COMMAND")
    parser.add_argument("--hidden", nargs="+", choices=RUNTIMES, default=(), metavar="RUNTIME")
    parser.add_argument("--scale", type=float, default=0.35)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--operators", nargs="+", choices=OPERATORS, default=())
    options = parser.parse_args()
    if options.only and options.folder is None:
        parser.error("--folder is missing")
    every: list[Question] = []
    with contextlib.ExitStack() as stack:
        asked = [
            Asked(
                name,
                stack.enter_context(open_target(target, runtime, hidden=runtime in options.hidden)),
                stated_runtime(RUNTIMES[runtime], version),
            )
            for target, runtimes in targets(options)
            for runtime in runtimes
            for name in [versioned_name(runtime, target)]
            for version in [name.partition("@")[2]]
        ]
        for number, question in enumerate(questions(options.seed, options.scale, options.operators)):
            if number % 500 == 0:
                print(number, file=sys.stderr)
            every.append(question)
            made = made_by_rules(question.model, question.values)
            for one in asked:
                one.ask(question, made)
        for stream in all_streams(options.seed, options.scale):
            for one in asked if not options.operators or set(KEEP_VALUES) & set(options.operators) else ():
                one.ask_stream(stream)
        script = f"python -m lab versions operators --seed {options.seed} --scale {options.scale:g}"
        store(asked, script, options.operators)
    for one in asked:
        print(one.name, dict(one.compared(every)), flush=True)


if __name__ == "__main__":
    main()
