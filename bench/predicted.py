"""What LLVM's machine code analyser predicts of kernels for CPUs that are not here: ours beside XNNPACK's own.

    python bench/predicted.py [--mca llvm-mca]

For each kind of CPU it takes our micro-kernel, as LLVM compiles it for that CPU, and XNNPACK's int8 kernel out of the
installed LiteRT (its library has symbols), and lets llvm-mca (LLVM 19 or newer; Debian: llvm-19) simulate the loop over
the depth and what comes before and behind it. The figure is the ratio of predicted cycles per product: how many times
XNNPACK's speed, where all operands are in the first level cache. No memory, no Python, no clock rates, and a table that
LLVM has of a CPU can be wrong. Zen 3 stands in the list because it can be measured: that says how far to believe it.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir

from lastbit.engines.jit.forms import Ending
from lastbit.engines.jit.fused import FUSED, FUSED_SIGNED
from lastbit.engines.jit.linear import LINEAR, LINEAR_SIGNED
from lastbit.engines.jit.tile import Shape, build_tile
from lastbit.engines.jit.vectors import ISAS
from lastbit.rules.requantize.table import RULES

PREFIX = "xnn_qs8_qc8w_gemm_minmax_fp32_ukernel_"
DOTS = ("vpdpbusd", "vpmaddwd")
PRODUCTS = {("vpdpbusd", "z"): 64, ("vpdpbusd", "y"): 32, ("vpmaddwd", "y"): 16}
ROWS = 6
FORMS = {
    RULES["float32-half_even"].requantize: "LiteRT",
    FUSED: "others, and TFLM with a fused activation",
    FUSED_SIGNED: "TFLM, no activation",
}
DEPTHS = (128, 640, 4096)


@dataclass(frozen=True)
class Kind:
    """A CPU: its LLVM name, our kernels, and XNNPACK's with the outputs of a tile."""

    title: str
    cpu: str
    isa: str
    theirs: str
    outputs: int


KINDS = (
    Kind("Zen 3, AVX2", "znver3", "avx2", "3x8c8__avx2", 3 * 8),
    Kind("Zen 4, AVX512-VNNI", "znver4", "avx512vnni", "7x16c8__avx512vnni_prfm", 7 * 16),
    Kind("Ice Lake server, AVX512-VNNI", "icelake-server", "avx512vnni", "7x16c8__avx512vnni_prfm", 7 * 16),
    Kind("Sapphire Rapids, AVX512-VNNI", "sapphirerapids", "avx512vnni", "7x16c8__avx512vnni_prfm", 7 * 16),
    Kind("Alder Lake, AVX-VNNI", "alderlake", "avxvnni", "5x8c8__avxvnni_prfm", 5 * 8),
)


@dataclass(frozen=True)
class Pieces:
    """A kernel's instructions: one step of its loop, and all others that a tile needs."""

    loop: list[str]
    once: list[str]

    @property
    def products(self) -> int:
        """Products of one step of the loop."""
        return sum(
            PRODUCTS[dot, register]
            for dot, register in re.findall(r"(vp\w+).*%([yz])mm", "\n".join(self.loop))
            if dot in DOTS
        )


def our_pieces(kind: Kind, form: Ending) -> Pieces:
    """Our micro-kernel, compiled for that CPU."""
    module = ir.Module()
    module.triple = "x86_64-unknown-linux-gnu"
    build_tile(module, ISAS[kind.isa], Shape(form, ROWS, ISAS[kind.isa].vectors))
    parsed = llvm.parse_assembly(str(module))
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu=kind.cpu, opt=3)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(parsed, builder)
    lines = [line.split("#")[0].replace("{vex}", "").strip() for line in machine.emit_assembly(parsed).splitlines()]
    lines = [line for line in lines if line and (not line.startswith(".") or line.startswith(".LBB"))]
    dots = [number for number, line in enumerate(lines) if line.startswith(DOTS)]
    begin = max(number for number in range(dots[0]) if lines[number].endswith(":"))
    end = min(number for number in range(dots[-1], len(lines)) if lines[number].startswith("j"))
    # Behind a broadcast of float64 constants there may be more labels; jumps and labels cost nothing here.
    once = [line for line in lines[:begin] + lines[end + 1 :] if not line.endswith(":") and not line.startswith("ret")]
    return Pieces(lines[begin + 1 : end], [line for line in once if not line.startswith("j")])


def their_pieces(library: Path, name: str) -> Pieces:
    """XNNPACK's kernel, from the library: along the way of a full tile whose depth fills whole steps."""
    command = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={PREFIX}{name}", str(library)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*([0-9a-f]+):\s+(?:\{vex\} )?(.+?)\s*(?:<.*|#.*)?$", text, re.MULTILINE)
    code = [(int(address, 16), line.strip()) for address, line in found]
    place = {address: number for number, (address, _) in enumerate(code)}

    def target(number: int) -> int | None:
        jump = re.match(r"j\w+\s+([0-9a-f]+)", code[number][1])
        return place.get(int(jump[1], 16)) if jump else None

    back = [(to, end) for end in range(len(code)) if (to := target(end)) is not None and to <= end]
    busy = {loop: sum(line.startswith(DOTS) for _, line in code[loop[0] : loop[1] + 1]) for loop in back}
    inner = [
        loop for loop in back if busy[loop] and not any(x != loop and loop[0] <= x[0] <= x[1] <= loop[1] for x in back)
    ]
    begin, end = max(inner, key=lambda loop: busy[loop])
    start, last = max((loop for loop in back if loop[0] < begin and loop[1] > end), key=lambda loop: loop[0])
    once, number = [], start
    while number != last:
        line = code[number][1]
        if number == begin:
            number = end + 1
        elif line.startswith("jmp"):
            to = target(number)
            assert to is not None
            assert to > number, line
            number = to
        else:
            if not line.startswith("j"):
                once.append(line)
            number += 1
    assert not any(line.startswith(DOTS) for line in once), name
    return Pieces([line for _, line in code[begin:end]], once)


def cycles(mca: str, cpu: str, lines: Sequence[str]) -> float:
    """Cycles of one round, of a hundred, one after the other."""
    rounds = 100
    text = "\n".join(line for line in lines if not line.startswith(("nop", "data16", "cs ")))
    command = [
        mca,
        f"-mcpu={cpu}",
        "-mtriple=x86_64",
        f"-iterations={rounds}",
        "-instruction-info=0",
        "-resource-pressure=0",
    ]
    result = subprocess.run(command, input=text, capture_output=True, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", result.stdout)
    if total is None:
        raise SystemExit(f"{mca}: {result.stderr.strip()[-400:]}")
    return int(total[1]) / rounds


class Predicted:
    """What a kernel takes on a CPU."""

    def __init__(self, pieces: Pieces, outputs: int, mca: str, cpu: str) -> None:
        self.loop, self.once = (cycles(mca, cpu, part) for part in (pieces.loop, pieces.once))
        self.products, self.outputs = pieces.products, outputs

    @property
    def rate(self) -> float:
        """Products per cycle in the loop."""
        return self.products / self.loop

    def each(self, depth: int) -> float:
        """Cycles of one product of a layer."""
        return 1 / self.rate + self.once / (self.outputs * depth)


def behind_the_loop(mca: str, kind: Kind) -> None:
    """Print how many instructions each form takes for a vector of sums, and their cycles."""
    forms = dict.fromkeys(rule.requantize for rule in RULES.values() if rule.sums.bits == 32)
    vectors = ROWS * ISAS[kind.isa].vectors
    print(f"\nBehind the loop, for each vector of sums ({kind.title}):\n")
    print("| form | instructions | cycles |\n|---|---:|---:|")
    for form in (*forms, FUSED, FUSED_SIGNED, LINEAR, LINEAR_SIGNED):
        once = our_pieces(kind, form).once
        count = sum(line.startswith("v") for line in once) / vectors
        print(f"| {form} | {count:.1f} | {cycles(mca, kind.cpu, once) / vectors:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mca", default="llvm-mca-19")
    mca = parser.parse_args().mca
    litert = importlib.util.find_spec("ai_edge_litert")
    if litert is None or litert.origin is None:
        raise SystemExit("LiteRT is not installed: pip install '.[litert]'")
    library = Path(litert.origin).parent / "libpywrap_litert_common.so"
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    print("Predicted speed of our tile, in multiples of XNNPACK's; products per cycle of both loops.\n")
    print(f"| CPU | rule | {' | '.join(f'depth {depth}' for depth in DEPTHS)} | ours | XNNPACK's |")
    print("|---|---|" + "---:|" * (len(DEPTHS) + 2))
    for kind in KINDS:
        isa = ISAS[kind.isa]
        their = Predicted(their_pieces(library, kind.theirs), kind.outputs, mca, kind.cpu)
        for form, title in FORMS.items():
            our = Predicted(our_pieces(kind, form), ROWS * isa.vectors * isa.lanes, mca, kind.cpu)
            ratios = " | ".join(f"{their.each(depth) / our.each(depth):.2f}" for depth in DEPTHS)
            print(f"| {kind.title} | {title} | {ratios} | {our.rate:.0f} | {their.rate:.0f} |", flush=True)
    behind_the_loop(mca, next(kind for kind in KINDS if kind.cpu == "sapphirerapids"))


if __name__ == "__main__":
    main()
