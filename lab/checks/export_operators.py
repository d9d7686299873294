"""Compare exported C programs with what real interpreters printed for single operators (tests/recorded).

    python -m lab check export_operators [--file NAME] [--every N] [--json FILE] [OPERATOR ...]

Each recorded case is exported once for every rule that a runtime follows on it, compiled with all warnings as errors
and the sanitizer for undefined behaviour, and run on the recorded input; then its self-test. Cases that C does not have
are counted by reason. The table at the end says how many programs of each operator follow each runtime. Ends with 1
where an output differs or a self-test fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lastbit
from lab.checks.recorded_cases import Recorded, files
from lab.reach.c_programs import STRICT
from lastbit.model.errors import LastBitError
from lastbit.verbs.export.c99.text import C_TYPES, array
from lastbit.verbs.export.report import Export

__all__ = ["Written", "run_together", "write_cases"]

SANITIZED = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Written:
    """A recorded case as a program.

    Attributes:
        operator: its name.
        runtime: whose outputs they are; runtimes that follow the same rule are one program.
        label: the same, the case and the rule.
        report: the program.
        inputs: what it is given, with samples along an axis in front.
        outputs: what the real interpreter printed, in the same way.
    """

    operator: str
    runtime: str
    label: str
    report: Export
    inputs: Sequence[Array]
    outputs: Sequence[Array]


def write_cases(cases: Iterable[Recorded], operators: Sequence[str] = ()) -> tuple[list[Written], Counter[str]]:
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
            label = f"case {number}, {name}, {runtime}, {entry.rule}"
            found.append(Written(name, runtime, label, report, inputs, outputs))
    return found, lacking


_HEAD = """\
#include <math.h>
#include <stdio.h>
#include <string.h>
/* The same bits, or no numbers both. */
#define SAME(a, b) (memcmp(&(a), &(b), sizeof(a)) == 0 || ((a) != (a) && (b) != (b)))"""


def _values(name: str, values: Array) -> str:
    """A constant array; infinities and NaN are those of math.h, which generated files do not have."""
    if values.dtype != np.float32:
        return array(name, values.dtype, values)
    special = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}
    listed = [special.get(str(v), float(v).hex() + "f") for v in values.reshape(-1)]
    return f"static const float {name}[{max(values.size, 1)}] = {{{', '.join(listed or ['0'])}}};"


def run_together(programs: Sequence[Written], folder: Path, flags: Sequence[str] = SANITIZED) -> dict[str, str]:
    """Compile programs into one, run it, and return what is wrong: label -> what.

    Raises:
        CalledProcessError: the compiler or a sanitizer has something to say.
    """
    head, data, calls, files = [_HEAD], [], [], []
    for program in programs:
        program.report.write(str(folder))
        name = program.report.about.name
        files.append(str(folder / f"{name}.c"))
        head.append(f'#include "{name}.h"')
        arguments, compare = [], []
        for k, (x, slot) in enumerate(zip(program.inputs, program.report.written.inputs, strict=True)):
            data.append(_values(f"{name}_given_{k}", x))
            arguments.append(f"{name}_given_{k} + n * {slot.elements}")
        for k, (y, slot) in enumerate(zip(program.outputs, program.report.written.outputs, strict=True)):
            data.append(_values(f"{name}_wanted_{k}", y))
            data.append(f"static {C_TYPES[y.dtype.name]} {name}_found_{k}[{max(slot.elements, 1)}];")
            arguments.append(f"{name}_found_{k}")
            compare.append(
                f"    for (int32_t i = 0; i < {slot.elements}; i++) "
                f"bad += SAME({name}_found_{k}[i], {name}_wanted_{k}[n * {slot.elements} + i]) ? 0 : 1;"
            )
        data.append(f"static {name}_arena {name}_memory;")
        calls.append(f"  for (int32_t n = 0; n < {len(program.outputs[0])}; n++) {{")
        calls += [f"    {name}_run({', '.join(arguments)}, &{name}_memory);", *compare, "  }"]
        calls.append(f'  printf("%ld %ld\\n", bad, (long){name}_selftest()); bad = 0;')
    text = [*head, *data, "int main(void) {\n  long bad = 0;", *calls, "  return 0;\n}", ""]
    main = folder / "main.c"
    main.write_text("\n".join(text), encoding="ascii")
    subprocess.run(["gcc", "-std=c99", *STRICT, *flags, *files, str(main), "-o", str(folder / "together")], check=True)
    said = subprocess.run([folder / "together"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
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
    parser.add_argument("--file", choices=sorted(files()), help="one of the files; default: all")
    parser.add_argument("--every", type=int, default=1, help="take every so many cases only")
    parser.add_argument("--at-once", type=int, default=100, help="cases that are compiled together")
    parser.add_argument("--json", type=Path)
    parser.add_argument("operators", nargs="*")
    options = parser.parse_args()
    wrong: dict[str, str] = {}
    lacking: Counter[str] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    values: Counter[tuple[str, str]] = Counter()
    for name in files() if options.file is None else [options.file]:
        programs, lacks = write_cases(list(files()[name]())[:: options.every], options.operators)
        lacking += lacks
        for start in range(0, len(programs), options.at_once):
            with tempfile.TemporaryDirectory() as folder:
                wrong |= run_together(programs[start : start + options.at_once], Path(folder))
        for program in programs:
            count[program.operator, program.runtime] += 1
            values[program.operator, program.runtime] += sum(y.size for y in program.outputs)
        print(f"{name}: {len(programs)} programs, {len(wrong)} wrong as yet", flush=True)
    for why, times in lacking.most_common():
        print(f"not written, {times} times: {why}")
    for label, what in wrong.items():
        print(f"{label}: {what}")
    rows = [
        {"operator": op, "runtime": runtime, "programs": count[op, runtime], "compared": values[op, runtime]}
        for op, runtime in sorted(count)
    ]
    for row in rows:
        print(f"{row['operator']:20} {row['runtime']:26} {row['programs']:6} programs, {row['compared']:,} values")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    total = sum(values.values())
    print(f"{sum(count.values())} programs, {total:,} values compared, {len(wrong)} programs are wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
