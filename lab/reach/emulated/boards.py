"""Exported programs on emulated Cortex-M boards: their self-test, and what real interpreters printed.

    python -m lab check boards [--models DIR] [--runtimes NAME ...] [--inputs N] [NAME ...]

Each model is exported, compiled with arm-none-eabi-gcc, and run by qemu-system-arm on a Cortex-M4 (mps2-an386) and a
Cortex-M55 (mps3-an547). The program holds N inputs and what the real interpreter printed for them here, compares, and
runs the self-test. Code size, constants, memory and the instructions of one run (qemu's -icount) are printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lastbit
from lab.checks.verify_models import MODELS, inputs_for
from lab.reach.c_programs import STRICT
from lastbit.model.errors import LastBitError
from lastbit.oracles import on_this_machine, open_oracle
from lastbit.verbs.export.c99.text import C_TYPES, array
from lastbit.verbs.export.report import Export

__all__ = ["BOARDS", "Board", "missing", "run_on_board"]

Array = np.ndarray[Any, np.dtype[Any]]
HERE = Path(__file__).parent / "cortex_m"


@dataclass(frozen=True)
class Board:
    """A machine of qemu.

    Attributes:
        machine: its name.
        flags: of the compiler.
    """

    machine: str
    flags: tuple[str, ...]


BOARDS = {
    "cortex-m4": Board("mps2-an386", ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")),
    "cortex-m55": Board("mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard")),
}

_MAIN = """\
#include "NAME.h"
void print_number(const char *what, int64_t value);
int64_t ticks(void);
int64_t ticks_of_20_million(void);
MEMORY
DATA
int main(void) {
  int32_t differ = 0;
RESET
  int64_t begun = ticks();
  for (int32_t n = 0; n < COUNT; n++) {
    NAME_run(CALL);
COMPARE
  }
  const int64_t spent = ticks() - begun;
  print_number("differ", differ);
  print_number("ticks", spent);
  print_number("ticks_of_20_million", ticks_of_20_million());
  print_number("selftest", NAME_selftest());
  return 0;
}
"""


def missing() -> str | None:
    """Why there are no boards, or None."""
    absent = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm") if shutil.which(name) is None]
    return f"there is no {' and no '.join(absent)} (lab/tools.sh)" if absent else None


def main_text(report: Export, samples: list[list[Array]], outputs: list[list[Array]]) -> str:
    """The program of a board."""
    data, compare = [], []
    ins, outs = report.written.inputs, report.written.outputs
    call = []
    for k, slot in enumerate(ins):
        kind = np.dtype(slot.dtype.numpy)
        values = np.concatenate([np.asarray(sample[k]).reshape(-1) for sample in samples])
        data.append(array(f"given_{k}", kind, values))
        call.append(f"given_{k} + n * {slot.elements}")
    for k, slot in enumerate(outs):
        kind = np.dtype(slot.dtype.numpy)
        values = np.concatenate([np.asarray(row[k]).reshape(-1) for row in outputs])
        data.append(array(f"wanted_{k}", kind, values))
        data.append(f"static {C_TYPES[slot.dtype.name]} found_{k}[{slot.elements}];")
        call.append(f"found_{k}")
        compare.append(f"    for (int32_t i = 0; i < {slot.elements}; i++) {{")
        compare.append(f"      differ += found_{k}[i] == wanted_{k}[n * {slot.elements} + i] ? 0 : 1;")
        compare.append("    }")
    name, written = report.about.name, report.written
    call += [f"&{kind}" for kind in written.memory]
    memory = "\n".join(f"static {name}_{kind} {kind};" for kind in written.memory)
    text = _MAIN.replace("NAME", name).replace("COUNT", str(len(samples))).replace("MEMORY", memory)
    text = text.replace("RESET", f"  {name}_reset(&state);" if written.variables else "")
    return text.replace("DATA", "\n".join(data)).replace("CALL", ", ".join(call)).replace("COMPARE", "\n".join(compare))


def run_on_board(
    report: Export, board: Board, samples: list[list[Array]], outputs: list[list[Array]], folder: Path
) -> dict[str, int]:
    """Compile an export for a board and run it there.

    Returns:
        `differ`, `selftest` (-1 is right), `instructions` of one run, and bytes of `code`, `constants` and `arena`.

    Raises:
        CalledProcessError: the compiler or the board failed.
    """
    report.write(str(folder))
    name = report.about.name
    main = folder / "main.c"
    main.write_text(main_text(report, samples, outputs), encoding="ascii")
    common = ["arm-none-eabi-gcc", "-mthumb", *board.flags, "-O2", "-ffp-contract=off", "-ffreestanding"]
    command = [*common, "-std=c99", *STRICT, "-c", str(folder / f"{name}.c"), "-o", str(folder / "model.o")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    script = ["-nostartfiles", "-T", str(HERE / f"{board.machine}.ld"), "-Wl,--no-warn-rwx-segments"]
    sources = [str(folder / "model.o"), str(main), str(HERE / "start.c")]
    command = [*common, "-std=gnu11", *script, *sources, "-o", str(folder / "program.elf")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    said = subprocess.run(
        ["qemu-system-arm", "-machine", board.machine, "-kernel", str(folder / "program.elf"), "-nographic", "-monitor",
         "none", "-serial", "none", "-icount", "shift=0", "-semihosting-config", "enable=on,target=native"],
        check=False, capture_output=True, text=True, timeout=3600, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    words = [line.split() for line in (said.stdout + said.stderr).splitlines()]
    found = {row[0]: int(row[1]) for row in words if len(row) == 2 and row[1].lstrip("-").isdigit()}
    if "selftest" not in found:
        raise subprocess.CalledProcessError(said.returncode, board.machine, said.stdout, said.stderr)
    per_tick = 20e6 / found["ticks_of_20_million"]
    sizes = _sizes(folder / "model.o")
    return {
        "differ": found["differ"],
        "selftest": found["selftest"],
        "instructions": round(found["ticks"] * per_tick / len(samples)),
        **sizes,
    }


def _sizes(path: Path) -> dict[str, int]:
    """Bytes of code and of constants in an object file."""
    said = subprocess.run(["arm-none-eabi-size", "-A", str(path)], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in said.splitlines() if line.startswith(".")]
    found = {"code_bytes": 0, "constant_bytes": 0}
    for name, size, *_ in rows:
        if name.startswith(".text"):
            found["code_bytes"] += int(size)
        elif name.startswith(".rodata"):
            found["constant_bytes"] += int(size)
    return found


def main() -> None:
    """Parse the command line and run every model on every board."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--runtimes", nargs="*", default=("tflm",))
    parser.add_argument("--inputs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if (why := missing()) is not None:
        raise SystemExit(why)
    rows = []
    paths = [*sorted(options.models.glob("*.tflite")), *sorted(options.models.glob("more/*.tflite"))]
    for path in (path for path in paths if not options.names or path.stem in options.names):
        for runtime in map(on_this_machine, options.runtimes):
            try:
                model = lastbit.load(path)
                report = lastbit.export(model, runtime, name="model")
            except LastBitError as error:
                print(f"{path.stem:28} {runtime:20} not written: {' '.join(str(error).split())[:120]}", flush=True)
                continue
            samples = inputs_for(model, options.inputs + 3, options.seed, options.models / "inputs")[3:]
            with open_oracle(runtime, timeout=600) as oracle:
                outputs = [list(row) for row in oracle.run(model.content, samples).outputs]
            for name, board in BOARDS.items():
                with tempfile.TemporaryDirectory() as folder:
                    found = run_on_board(report, board, samples, outputs, Path(folder))
                arena = report.as_dict()["arena_bytes"]
                rows.append({"model": path.stem, "runtime": runtime, "board": name, "arena_bytes": arena, **found})
                print(f"{path.stem:28} {runtime:20} {name:10} {rows[-1]}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any(row["differ"] or row["selftest"] != -1 for row in rows) else 0)


if __name__ == "__main__":
    main()
