"""Programs that `lastbit export` writes, compiled and run: what tests and checks of them share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lastbit.verbs.export.c99.file import Written
from lastbit.verbs.export.report import Export

__all__ = ["COMPILERS", "FAST", "STRICT", "compile_program", "compiler", "outputs_of", "selftest_of"]

Array = np.ndarray[Any, np.dtype[Any]]

COMPILERS = {
    "gcc": ("gcc", "-std=c99"),
    "clang": ("clang", "-std=c99"),
    "g++": ("g++", "-std=c++11", "-x", "c++"),
    "clang++": ("clang++", "-std=c++11", "-x", "c++"),
}
"""Name -> command, with the language."""

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
FAST = ("-O2", "-ffp-contract=off")

_MAIN = """\
#include <stdio.h>
#include "NAME.h"
INPUTS
OUTPUTS
MEMORY
int main(int count, char **arguments) {
  (void)arguments;
  if (count > 1) {
    const int32_t failed = NAME_selftest();
    printf("%ld\\n", (long)failed);
    return failed != -1;
  }
RESET
  for (;;) {
READ
    NAME_run(ARGUMENTS);
WRITE
  }
}
"""


def compiler(name: str) -> str | None:
    """Why a compiler cannot be used, or None."""
    return None if shutil.which(COMPILERS[name][0]) else f"there is no {COMPILERS[name][0]} (lab/tools.sh)"


def main_text(name: str, written: Written) -> str:
    """A program that runs its model on whatever is read, or with an argument the self-test."""
    from lastbit.verbs.export.c99.text import C_TYPES

    ins, outs = written.inputs, written.outputs
    memory = [f"static {name}_{kind} {kind};" for kind in written.memory]
    reset = f"  {name}_reset(&state);" if written.variables else ""
    text = _MAIN.replace("NAME", name).replace("MEMORY", "\n".join(memory)).replace("RESET", reset)
    for word, slots, kind in (("INPUTS", ins, "input"), ("OUTPUTS", outs, "output")):
        lines = [f"static {C_TYPES[s.dtype.name]} {kind}_{k}[{max(s.elements, 1)}];" for k, s in enumerate(slots)]
        text = text.replace(word, "\n".join(lines))
    reads = [
        f"    if (fread(input_{k}, sizeof input_{k}[0], {s.elements}, stdin) != {s.elements}) {{ return 0; }}"
        for k, s in enumerate(ins)
    ]
    writes = [f"    fwrite(output_{k}, sizeof output_{k}[0], {s.elements}, stdout);" for k, s in enumerate(outs)]
    names = [f"input_{k}" for k in range(len(ins))] + [f"output_{k}" for k in range(len(outs))]
    names += [f"&{kind}" for kind in written.memory]
    text = text.replace("READ", "\n".join(reads)).replace("WRITE", "\n".join(writes))
    return text.replace("ARGUMENTS", ", ".join(names))


def compile_program(
    report: Export, folder: Path, with_compiler: str = "gcc", flags: Sequence[str] = (*STRICT, *FAST)
) -> Path:
    """Write an export with a main program and compile them.

    Raises:
        CalledProcessError: the compiler has something to say; `stderr` has it.
    """
    report.write(str(folder))
    name = report.about.name
    main = folder / f"{name}_main.c"
    main.write_text(main_text(name, report.written), encoding="ascii")
    program = folder / f"{name}_{with_compiler}"
    command = [*COMPILERS[with_compiler], *flags, str(folder / f"{name}.c"), str(main), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return program


def selftest_of(program: Path) -> int:
    """What the self-test returns.

    Raises:
        CalledProcessError: it died.
    """
    done = subprocess.run([program, "selftest"], check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise subprocess.CalledProcessError(done.returncode, str(program), done.stdout, done.stderr)
    return int(done.stdout)


def outputs_of(program: Path, report: Export, samples: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """What a program gives for each sample.

    Raises:
        CalledProcessError: it died, or a sanitizer spoke.
    """
    given = b"".join(np.ascontiguousarray(x).tobytes() for sample in samples for x in sample)
    done = subprocess.run([program], input=given, check=True, capture_output=True)
    if done.stderr:
        raise subprocess.CalledProcessError(1, str(program), b"", done.stderr)
    found, place = [], 0
    for _ in samples:
        row = []
        for slot in report.written.outputs:
            kind = np.dtype(slot.dtype.numpy)
            size = slot.elements * kind.itemsize
            row.append(np.frombuffer(done.stdout[place : place + size], kind).reshape(slot.tensor.shape))
            place += size
        found.append(row)
    assert place == len(done.stdout)
    return found


def told(error: subprocess.CalledProcessError) -> Mapping[str, str]:
    """What a command that failed said."""
    return {"stdout": str(error.stdout), "stderr": str(error.stderr)[:2000]}
