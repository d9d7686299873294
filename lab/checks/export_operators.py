"""Compare exported C programs with what real interpreters printed for single operators (tests/recorded/operators.*).

    python -m lab check export_operators [--file NAME] [--every N] [OPERATOR ...]

Each recorded case is exported once for every rule that a runtime follows on it, compiled with all warnings as errors
and the sanitizer for undefined behaviour, and run on the recorded input; then its self-test. Cases that C does not have
are counted by reason. Ends with 1 where an output differs or a self-test fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lastbit
from lab.reach.c_programs import STRICT
from lab.record.recorded_operators import read_golden
from lastbit.model.errors import LastBitError
from lastbit.model.graph import Model
from lastbit.verbs.export.c99.text import C_TYPES, array
from lastbit.verbs.export.report import Export

__all__ = ["Written", "run_together", "write_cases"]

RECORDED = Path(__file__).parents[2] / "tests" / "recorded"
SANITIZED = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Written:
    """A recorded case as a program.

    Attributes:
        label: operator, runtime and rule.
        report: the program.
        inputs: what it is given.
        outputs: what the real interpreter printed.
    """

    label: str
    report: Export
    inputs: Sequence[Array]
    outputs: Sequence[Array]


def write_cases(
    cases: Iterable[tuple[Model, Sequence[Array], Mapping[str, Any]]], operators: Sequence[str] = ()
) -> tuple[list[Written], Counter[str]]:
    """Every case for each rule that it is recorded with, and how often C lacks what."""
    found: list[Written] = []
    lacking: Counter[str] = Counter()
    for number, (model, inputs, outcomes) in enumerate(cases):
        name, rules = model.operators[0].name, set()
        for runtime, outputs in outcomes.items():
            if isinstance(outputs, str) or runtime not in lastbit.RUNTIMES or (operators and name not in operators):
                continue
            entry = lastbit.prepare(model, runtime).operators.get(0)
            if entry is None or entry.rule in rules:
                continue
            rules.add(entry.rule)
            try:
                report = lastbit.export(model, runtime, name=f"case_{number}_{len(rules)}")
            except LastBitError as error:
                lacking[f"{name}: {str(error).splitlines()[-1].strip()}"] += 1
                continue
            found.append(Written(f"case {number}, {name}, {runtime}, {entry.rule}", report, inputs, outputs))
    return found, lacking


def run_together(programs: Sequence[Written], folder: Path, flags: Sequence[str] = SANITIZED) -> dict[str, str]:
    """Compile programs into one, run it, and return what is wrong: label -> what.

    Raises:
        CalledProcessError: the compiler or a sanitizer has something to say.
    """
    head, data, calls, files = ["#include <stdio.h>"], [], [], []
    for program in programs:
        program.report.write(str(folder))
        name = program.report.about.name
        files.append(str(folder / f"{name}.c"))
        head.append(f'#include "{name}.h"')
        arguments, compare = [], []
        for k, x in enumerate(program.inputs):
            data.append(array(f"{name}_given_{k}", x.dtype, x))
            arguments.append(f"{name}_given_{k}")
        for k, y in enumerate(program.outputs):
            data.append(array(f"{name}_wanted_{k}", y.dtype, np.nan_to_num(y) if y.dtype == np.float32 else y))
            data.append(f"static {C_TYPES[y.dtype.name]} {name}_found_{k}[{max(y.size, 1)}];")
            arguments.append(f"{name}_found_{k}")
            compare.append(
                f"for (int32_t i = 0; i < {y.size}; i++) bad += {name}_found_{k}[i] == {name}_wanted_{k}[i] ? 0 : 1;"
            )
        data.append(f"static {name}_arena {name}_memory;")
        calls.append(f"  {name}_run({', '.join(arguments)}, &{name}_memory);")
        calls += [f"  {line}" for line in compare]
        calls.append(f'  printf("%ld %ld\\n", bad, (long){name}_selftest()); bad = 0;')
    text = [*head, *data, "int main(void) {\n  long bad = 0;", *calls, "  return 0;\n}", ""]
    main = folder / "main.c"
    main.write_text("\n".join(text), encoding="ascii")
    subprocess.run(["gcc", "-std=c99", *STRICT, *flags, *files, str(main), "-o", str(folder / "together")], check=True)
    said = subprocess.run([folder / "together"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(said) == len(programs)
    wrong = {}
    for program, line in zip(programs, said, strict=True):
        differ, selftest = line.split()
        if (differ, selftest) != ("0", "-1"):
            wrong[program.label] = f"{differ} outputs differ, self-test {selftest}"
    return wrong


def main() -> None:
    """Parse the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", default="operators.litert-xnnpack.npz")
    parser.add_argument("--every", type=int, default=1, help="take every so many cases only")
    parser.add_argument("--at-once", type=int, default=150, help="cases that are compiled together")
    parser.add_argument("operators", nargs="*")
    options = parser.parse_args()
    _, cases = read_golden(RECORDED / options.file)
    programs, lacking = write_cases(list(cases)[:: options.every], options.operators)
    wrong: dict[str, str] = {}
    for start in range(0, len(programs), options.at_once):
        with tempfile.TemporaryDirectory() as folder:
            wrong |= run_together(programs[start : start + options.at_once], Path(folder))
    values = sum(y.size for program in programs for y in program.outputs)
    for why, count in lacking.most_common():
        print(f"not written, {count} times: {why}")
    for label, what in wrong.items():
        print(f"{label}: {what}")
    print(f"{len(programs)} programs, {values:,} values compared, {len(wrong)} programs are wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
