"""Run cases in the interpreter of another Python and say which rules reproduce what it prints.

    python -m lab versions replay --python VENV/bin/python --runtime litert-reference [--families int8 8bit]
    python -m lab versions replay --command 'qemu-aarch64-static -L ROOT ... python3.11' --runtime litert-xnnpack-arm64

The other Python needs NumPy and one of ai-edge-litert, tflite-runtime, tensorflow or tflite-micro, and nothing of
LastBit: src/lastbit/oracles/tflite_worker.py runs there as it is. (With onnxruntime, it needs what LastBit itself
needs.) The first place on its path that has an interpreter counts. Arithmetic is looked for by trying every rule there
is; a variant is known where exactly one rule (or several that these cases cannot part) reproduces every output.

lab/reach/time_machine.py does this for many versions and writes the evidence and the golden file.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from lab.cases import versions
from lab.cases.dense import Case
from lab.reach.hidden import hidden_spec
from lastbit.layers.differences import same_bits
from lastbit.model.graph import Operator
from lastbit.model.tflite import load, write
from lastbit.ops import OPERATORS
from lastbit.oracles import ORACLES, Fingerprint, Oracle, OracleFailure, OracleRun
from lastbit.oracles import spec as oracles_spec

Array = npt.NDArray[Any]


class Key(NamedTuple):
    """What is tallied together: an operator's variant, in one kind of output rank, in one kind of kernel."""

    operator: str
    variant: str
    output_rank_above_2: bool
    delegated: bool


# What the other Python is asked first. It prints one line of JSON, whatever else its modules print.
_PROBE = """
import importlib.metadata as m, json, platform, sys
names = ("ai-edge-litert", "tflite-runtime", "tensorflow-cpu", "tensorflow", "tflite-micro", "onnxruntime")
found = {}
for name in names:
    for place in sys.path:
        inside = list(m.distributions(name=name, path=[place]))
        if inside:
            found.setdefault(place, {})[name] = inside[0].version
found = next((found[place] for place in sys.path if place in found), {})
cpu = ""
if platform.machine() == "aarch64":
    import ctypes
    ask = ctypes.CDLL(None).getauxval
    ask.restype, ask.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    first = ((1, "asimd"), (10, "asimdhp"), (20, "dotprod"), (22, "sve"))
    bits = [(16, *entry) for entry in first] + [(26, 13, "i8mm"), (26, 23, "sme"), (26, 37, "sme2")]
    lines = dict(line.split(":", 1) for line in open("/proc/cpuinfo") if ":" in line)
    part = next((value.strip() for name, value in lines.items() if name.strip() == "CPU part"), "")
    if part:
        cpu = part + " (" + " ".join(word for entry, bit, word in bits if ask(entry) >> bit & 1) + ")"
system = f"{platform.system()}-{platform.machine()}, Python {platform.python_version()}"
print("LASTBIT " + json.dumps([found, system, cpu]))
"""
# As /proc/cpuinfo has them on ARM ("CPU part"): of implementer 0x41.
_ARM_PARTS = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}

_KINDS = {
    "ai-edge-litert": "litert",
    "tflite-runtime": "tflite-runtime",
    "tensorflow-cpu": "tensorflow",
    "tensorflow": "tensorflow",
    "tflite-micro": "tflm",
    "onnxruntime": "onnxruntime",
}


@dataclass(frozen=True)
class Target:
    """An interpreter in another Python.

    Attributes:
        command: how that Python is started.
        distribution: the distribution found there.
        version: its version.
        platform: the platform it says it runs on.
        cpu: the CPU, or the emulator.
    """

    command: tuple[str, ...]
    distribution: str
    version: str
    platform: str
    cpu: str

    @property
    def name(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"


def find_target(command: Sequence[str], cpu: str | None = None) -> Target:
    """Ask a Python which interpreter it has."""
    answer = subprocess.run([*command, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=600)
    line = next(line for line in answer.stdout.splitlines() if line.startswith("LASTBIT "))
    found, platform, arm = json.loads(line.removeprefix("LASTBIT "))
    if "tflite-micro" in found:  # old wheels of it need TensorFlow beside them
        found = {"tflite-micro": found["tflite-micro"]}
    if len(found) != 1:
        raise SystemExit(f"{shlex.join(command)}: wanted one interpreter, found {found or 'none'}")
    ((distribution, version),) = found.items()
    emulated = f"emulated by {Path(command[0]).name}" if "qemu" in command[0] else ""
    if emulated and arm:  # the emulator was told to be one: its /proc/cpuinfo is not this machine's
        part, _, features = arm.partition(" ")
        emulated = f"{_ARM_PARTS.get(part, part)} {features}, {emulated}"
    return Target(tuple(command), distribution, version, platform, cpu or emulated or oracles_spec.cpu_text())


def open_target(target: Target, runtime: str, timeout: float = 300.0, hidden: bool = False) -> Oracle:
    """The other Python's interpreter in the mode of one of our runtimes; with features of this CPU hidden from it."""
    spec, cpu = hidden_spec(runtime) if hidden else (ORACLES[runtime], target.cpu)
    kind = _KINDS[target.distribution]
    if spec.worker[0] != (kind if kind in ("tflm", "onnxruntime") else "litert"):
        raise SystemExit(f"{target.name} has no mode for {runtime}")
    worker = str(Path(oracles_spec.__file__).with_name(f"{spec.script}.py"))
    command = [*target.command, "-P", worker, kind, spec.worker[1], "1"]
    if not hidden:
        cpu += "".join(f"; {k}={v}" for k, v in spec.environment.items())
    fingerprint = Fingerprint(target.distribution, target.version, spec.mode, cpu, target.platform)
    return Oracle(spec, command=command, fingerprint=fingerprint, timeout=timeout)


@dataclass
class Prepared:
    """A case with what every rule makes of it, computed once for all interpreters.

    Attributes:
        case: the case.
        content: its model file.
        operator: the operator.
        variant: as runtimes look rules up by it.
        outputs: rule -> `[sample]` outputs.
    """

    case: Case
    content: bytes
    operator: Operator
    variant: str
    outputs: Mapping[str, list[Array]] = field(repr=False)

    def key(self, delegated: bool | None) -> Key:
        """What is tallied together.

        A delegate takes some layers of a variant and leaves others to kernels with another arithmetic; and old
        per-channel kernels write only a part of outputs with more than two dimensions.
        """
        shape = self.case.graph.tensors[self.operator.outputs[0]].shape
        above_two = self.operator.name == "FULLY_CONNECTED" and len(shape) > 2
        return Key(self.operator.name, self.variant, above_two, bool(delegated))


def prepare_cases(cases: Iterable[versions.VersionCase], evaluate: bool = True) -> Iterator[Prepared]:
    """Evaluate every rule on every case, if asked to."""
    for entry in cases:
        graph = entry.case.graph
        content = write(graph)
        model = load(content)
        op = model.operators[0]
        outputs = {
            name: [prepared.evaluate([x])["output"] for x in entry.case.samples]
            for name, prepared in (entry.rivals(model, op).items() if evaluate else ())
        }
        yield Prepared(entry.case, content, op, str(OPERATORS[op.name].variant(model, op)), outputs)


@dataclass
class Tally:
    """What one interpreter in one mode did with the cases of one variant.

    Attributes:
        outputs: outputs compared.
        mismatches: rule -> outputs that differ from it.
        refused: the interpreter's first words -> how often; the same of crashes.
        per_family: family -> rule -> mismatches.
    """

    outputs: int = 0
    mismatches: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    per_family: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def fitting(self) -> list[str]:
        """The rules that reproduce every output."""
        return [name for name, count in self.mismatches.items() if not count]

    def add(self, prepared: Prepared, run: OracleRun) -> None:
        """Count one case that ran."""
        self.compare(prepared, [observed for (observed,) in run.outputs])

    def compare(self, prepared: Prepared, printed: Sequence[Array]) -> None:
        """Count what was printed for a case's samples."""
        for number, observed in enumerate(printed):
            self.outputs += observed.size
            for name, outputs in prepared.outputs.items():
                self.mismatches[name] += (bad := differing(outputs[number], observed))
                self.per_family[prepared.case.family][name] += bad


def differing(ours: Array, observed: Array) -> int:
    """How many outputs differ; all of them where shape or type does."""
    if ours.shape != observed.shape or ours.dtype != observed.dtype:
        return int(observed.size)
    return int((~same_bits(observed, ours)).sum())


def replay(oracle: Oracle, prepared: Iterable[Prepared]) -> tuple[dict[Key, Tally], list[OracleRun | OracleFailure]]:
    """Run all cases: a tally for each variant, and what became of each case."""
    tallies: dict[Key, Tally] = defaultdict(Tally)
    runs: list[OracleRun | OracleFailure] = []
    for entry in prepared:
        try:
            run = oracle.run(entry.content, [[x] for x in entry.case.samples], label=entry.case.family)
        except OracleFailure as failure:
            words = " ".join(failure.reason.split())[:90]
            tallies[entry.key(None)].refused[f"{failure.kind}: {words}"] += 1
            runs.append(failure)
            continue
        tallies[entry.key(run.delegated)].add(entry, run)
        runs.append(run)
    return dict(tallies), runs


def report(tallies: Mapping[Key, Tally]) -> Iterator[str]:
    """The findings in lines of text."""
    for (operator, variant, above_two, delegated), tally in sorted(tallies.items()):
        fitting = tally.fitting
        found = ", ".join(fitting) if fitting else "NONE"
        where = (" (output rank above 2)" if above_two else "") + (", delegated" if delegated else "")
        yield f"{operator} {variant}{where}: {tally.outputs:,} outputs; {found}"
        if not fitting and tally.outputs:
            closest = min(tally.mismatches, key=lambda name: tally.mismatches[name])
            at = {family: counts[closest] for family, counts in tally.per_family.items() if counts[closest]}
            yield f"    closest: {closest}, differs at {tally.mismatches[closest]}: {at}"
        for words, count in tally.refused.items():
            yield f"    {count} x {words}"


def main() -> None:
    """Replay one interpreter in one mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--python", help="the Python of a virtual environment")
    where.add_argument("--command", help="a command that starts a Python, such as an emulator's")
    parser.add_argument("--runtime", required=True, choices=ORACLES)
    parser.add_argument("--families", nargs="+", choices=versions.FAMILIES, default=["int8", "8bit"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    target = find_target([options.python] if options.python else shlex.split(options.command))
    print(target.name, target.platform, target.cpu)
    prepared = prepare_cases(versions.cases(options.families, options.seed, options.rounds))
    with open_target(target, options.runtime) as oracle:
        tallies, _ = replay(oracle, prepared)
    for line in report(tallies):
        print(line)


if __name__ == "__main__":
    main()
