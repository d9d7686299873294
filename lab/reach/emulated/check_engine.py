"""Compare the compiled engine with the reference on this machine's CPU, real or emulated: every output, bit for bit.

    python -m lab check engine [--parts sums,forms,...] [--rounds N] [--seed N] [--kernels NAME]

Prints the CPU kind whose kernels were chosen, what was compared in every part, and one line of JSON at the end. Exit
code 1 where anything differs. Needs Numba; lab/reach/emulated/ENGINE.md says how a machine in an emulator runs it, for
which `--needs FILE` writes what it compiles to a file, and `--compile FILE` compiles that for another CPU, without
running it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np

from lab.reach.emulated import engine_cases
from lab.reach.emulated.engine_cases import Comparison
from lastbit.engines.jit import compile as jit_compile
from lastbit.engines.jit import cpu as jit_cpu
from lastbit.engines.jit import entry as jit_entry
from lastbit.engines.jit import hybrid as jit_hybrid
from lastbit.engines.jit import images as jit_images
from lastbit.engines.jit import matmul as jit_matmul
from lastbit.engines.jit import rows as jit_rows
from lastbit.engines.jit import tile as jit_tile
from lastbit.engines.jit.pack import kernels_for
from lastbit.engines.jit.taps import TapShape, taps_address
from lastbit.engines.jit.vectors import ISAS
from lastbit.engines.jit.windows import Windows


class Watch:
    """Counts outputs by the kernels that make them; notes what was compiled."""

    def __init__(self, isa: str | None) -> None:
        self.kernels: Counter[str] = Counter()
        self.packed: set[tuple[jit_tile.Shape, bool]] = set()
        self.taps: set[TapShape] = set()
        original, chain = jit_matmul.pack, jit_matmul.Chain

        def pack(*args: Any, **options: Any) -> Any:
            if isa is not None and options.get("isa") is None:
                options["isa"] = ISAS[isa]
            layer = original(*args, **options)
            if layer is not None:
                bytes_only = layer.input.itemsize == 1 and not layer.wide
                unsigned = layer.output == np.uint8
                shape = jit_tile.Shape(layer.form, 1, 1, "", layer.output.itemsize, unsigned, layer.narrow, layer.wide)
                self.packed.add((replace(shape, windows=isinstance(layer.rows, Windows)), bytes_only))
            return layer

        class Counted(chain):  # type: ignore[misc, valid-type]
            """A chain that says what it ran."""

            def __call__(this, x: Any, threads: int = 1) -> Any:
                out = super().__call__(x, threads)
                layer = next((op for op in this._kept if isinstance(op, jit_matmul.PackedDense)), None)
                if layer is not None:
                    rows = "one row" if layer.rows == 1 and len(out) == 1 else "rows"
                    rows = "windows" if isinstance(layer.rows, Windows) else rows
                    self.kernels[f"{layer.isa.name} {layer.form}{'/64' * layer.wide} {rows}"] += out.size
                return out

        by_channel = jit_images.pack_depthwise

        def pack_depthwise(*args: Any, **options: Any) -> Any:
            layer = by_channel(*args, **options, isa=None if isa is None else ISAS[isa])
            if layer is not None:
                self.taps.add(layer.shape)
            return layer

        for module in (jit_matmul, jit_hybrid):
            module.pack = pack  # type: ignore[attr-defined]
        jit_images.pack_depthwise = pack_depthwise
        jit_matmul.Chain = Counted  # type: ignore[misc]
        from lastbit.engines.jit import backend as jit_backend

        jit_backend.Chain = Counted  # type: ignore[misc]

    def needs(self) -> dict[str, Any]:
        """The kernels, and the Numba functions."""
        functions = sorted(name for name in jit_compile.made() if name.partition(".")[0] == "lastbit")
        return {"kernels": list(self.packed), "taps": list(self.taps), "functions": functions}


def compile_needs(path: Path, isa: str) -> int:
    """Compile what a file of `--needs` lists, for the CPU that NUMBA_CPU_NAME names, into the cache."""
    needs = pickle.loads(path.read_bytes())
    begun = time.time()
    for name in needs["functions"]:
        module, _, function = name.rpartition(".")
        jit_compile.function_address(getattr(importlib.import_module(module), function))
    jit_entry.enter()
    for taps in needs["taps"]:
        taps_address(kernels_for(ISAS[isa], np.dtype(f"int{8 * taps.output_bytes}"), taps.wide), taps)
    for unsigned in (False, True):
        jit_rows.pairs_address(ISAS[isa], unsigned)
    for shape, bytes_only in needs["kernels"]:
        kind = kernels_for(ISAS[isa], np.dtype("int8" if bytes_only else "int16"), shape.wide)
        for width in range(1, kind.vectors + 1):
            for rows in (*([] if shape.windows else [1]), jit_tile.FEW_ROWS, jit_tile.tile_rows(kind, width)):
                narrow = rows == 1 and kind.activations == "int16" and not shape.wide
                weights = "int8" if narrow else "packed"
                jit_tile.tile_address(kind, replace(shape, rows=rows, width=width, weights=weights))
        print(f"{time.time() - begun:6.0f} s  {kind.name} {shape.form} {shape.output_bytes}", file=sys.stderr)
    print(f"compiled {len(jit_compile.made())} functions for {numba.config.CPU_NAME}", file=sys.stderr)
    return 0


PARTS: dict[str, Callable[[np.random.Generator, int], Iterator[Comparison]]] = engine_cases.PARTS


def main() -> int:
    """Run the parts asked for; 1 where an output differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="of: %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="how often each part is gone through")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernels", choices=ISAS, help="another kind than the CPU's best")
    parser.add_argument("--needs", type=Path, metavar="FILE", help="write what was compiled to FILE")
    parser.add_argument("--compile", type=Path, metavar="FILE", help="compile that for --kernels, run nothing")
    args = parser.parse_args()
    if args.compile is not None:
        return compile_needs(args.compile, args.kernels or jit_cpu.host_isa().name)
    host = jit_cpu.host_isa().name
    print(f"CPU kind: {host}; kernels: {args.kernels or host}", flush=True)
    watch = Watch(args.kernels)
    outputs: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for number in range(args.rounds):
        for part in args.parts.split(","):
            begun = time.time()
            for comparison in PARTS[part](np.random.default_rng([args.seed, number, len(part)]), number):
                outputs[part] += comparison.wanted.size
                wrong[part] += comparison.differing
                if comparison.differing and wrong[part] < 2000:
                    print(f"DIFFERS {part}: {comparison.what}: {comparison.example()}", flush=True)
            seconds = time.time() - begun
            print(f"{part}: {outputs[part]} outputs, {wrong[part]} differ ({seconds:.0f} s)", flush=True)
    for kernel, count in sorted(watch.kernels.items()):
        print(f"  {kernel}: {count}")
    if args.needs is not None:
        args.needs.write_bytes(pickle.dumps(watch.needs()))
    summary = {
        "host": host,
        "kernels": args.kernels or host,
        "outputs": dict(outputs),
        "differ": sum(wrong.values()),
        "by_kernel": dict(sorted(watch.kernels.items())),
    }
    print(json.dumps(summary))
    return 1 if sum(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
