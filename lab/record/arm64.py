"""Record what LiteRT prints on ARM64: the small set of lab/reach/time_machine.py, int16 and float32 activations.

    python -m lab record arm64 --command 'qemu-aarch64-static -L ROOT ... python3.11' [--command ...]
        [--dotprod COMMAND ...] [--neon COMMAND ...] [--sme COMMAND ...] [--stored-cases]

Each command starts a Python on ARM64 that has NumPy and one version of ai-edge-litert: on an ARM64 machine just a
Python, elsewhere an emulator (docs: CONTRIBUTING.md). --dotprod is for CPUs without i8mm (qemu: -cpu cortex-a76),
--neon for those without dot products (-cpu cortex-a72), --sme for those with SME (-cpu max); what the file holds of
CPUs not asked stays. --stored-cases asks the cases that the files have, whatever rules have come since. Writes
tests/recorded/dense_arm64.npz and .json, and those of dense_arm64_float (layers with float32 activations).
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator

from lab.cases import dense_float, dense_hybrid_arm64, dense_int16
from lab.cases.versions import VersionCase, lowered
from lab.reach.replay_version import Prepared, find_target, open_target, prepare_cases
from lab.reach.version_golden import FOLDER as GOLDEN
from lab.reach.version_golden import Golden, golden_cases, stored_cases
from lastbit.model.tflite import write

RUNTIMES = ("litert-xnnpack-arm64", "litert-builtin-arm64", "litert-reference-arm64")

# Kind of CPU -> the runtimes that it follows, in the order of RUNTIMES.
KINDS = {
    "command": RUNTIMES,
    "dotprod": ("litert-xnnpack-arm64-dotprod", *RUNTIMES[1:]),
    "neon": tuple(f"{name}-neon" for name in RUNTIMES),
    "sme": ("litert-xnnpack-arm64-sme", *RUNTIMES[1:]),
}


# Of models and their inputs, in bytes: the larger ones separate nothing more.
LARGEST_CASE = 2200


def int16_cases() -> Iterator[VersionCase]:
    """Layers with int16 activations and int8 or int4 weights (int16 weights run nowhere on ARM64)."""
    for group, case in dense_int16.golden_cases():
        if group.startswith("int16 x int") and "int16 x int16" not in group:
            yield VersionCase(lowered(case), dense_int16.rivals)


def float_cases() -> Iterator[VersionCase]:
    """Layers with float32 activations and integer or float32 weights."""
    for case in dense_hybrid_arm64.golden_cases():
        yield VersionCase(lowered(case), dense_hybrid_arm64.rivals)
    for _, case in dense_float.golden_cases():
        if len(write(case.graph)) + sum(x.nbytes for x in case.samples) <= LARGEST_CASE:
            yield VersionCase(lowered(case), dense_float.rivals)


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", action="append", default=[])
    parser.add_argument("--only", choices=("dense_arm64", "dense_arm64_float"), help="one of the two files")
    parser.add_argument("--stored-cases", action="store_true", help="the cases that the file has")
    options = parser.parse_args()
    every: dict[str, Callable[[], list[Prepared]]] = {
        "dense_arm64": lambda: [*golden_cases(), *filter(small, prepare_cases(int16_cases(), evaluate=False))],
        "dense_arm64_float": lambda: list(prepare_cases(float_cases(), evaluate=False)),
    }
    for name in [options.only] if options.only else every:
        path = GOLDEN / f"{name}.npz"
        golden = Golden(stored_cases(path) if options.stored_cases else every[name](), path)
        golden.keep_old()
        for kind, runtimes in KINDS.items():
            for command in getattr(options, kind):
                target = find_target(shlex.split(command))
                for runtime in runtimes:
                    # A runtime that another kind of CPU follows too has that kind's name behind its version.
                    also = kind != "command" and runtime in RUNTIMES
                    with open_target(target, runtime) as oracle:
                        golden.add(f"{runtime}@{target.version}{f' {kind}' if also else ''}", oracle)
        golden.write("lab/record/arm64.py")


def small(entry: Prepared) -> bool:
    """Whether a case is small enough for the golden file."""
    return len(entry.content) + sum(x.nbytes for x in entry.case.samples) <= LARGEST_CASE


if __name__ == "__main__":
    main()
