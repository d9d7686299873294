"""Record what LiteRT prints on ARM64 for the small set of tools/time_machine.py, and for int16 activations.

    python tools/record_arm64.py --command 'qemu-aarch64-static -L ROOT ... python3.11' [--command ...]

Each command starts a Python on ARM64 that has NumPy and one version of ai-edge-litert: on an ARM64 machine just a
Python, elsewhere an emulator (docs: CONTRIBUTING.md). Writes tests/golden/dense_arm64.npz and .json.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import families_int16
from replay_version import find_target, open_target, prepare_cases
from time_machine import GOLDEN, Golden, golden_cases
from version_cases import VersionCase, lowered

RUNTIMES = ("litert-xnnpack-arm64", "litert-builtin-arm64", "litert-reference-arm64")


# Of models and their inputs, in bytes: the larger ones separate nothing more.
LARGEST_CASE = 2200


def int16_cases() -> Iterator[VersionCase]:
    """Layers with int16 activations and int8 or int4 weights (int16 weights run nowhere on ARM64)."""
    for group, case in families_int16.golden_cases():
        if group.startswith("int16 x int") and "int16 x int16" not in group:
            yield VersionCase(lowered(case), families_int16.rivals)


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", action="append", required=True)
    more = (
        entry
        for entry in prepare_cases(int16_cases(), evaluate=False)
        if len(entry.content) + sum(x.nbytes for x in entry.case.samples) <= LARGEST_CASE
    )
    golden = Golden([*golden_cases(), *more], GOLDEN / "dense_arm64.npz")
    for command in parser.parse_args().command:
        target = find_target(shlex.split(command))
        for runtime in RUNTIMES:
            with open_target(target, runtime) as oracle:
                golden.add(f"{runtime}@{target.version}", oracle)
    golden.write("tools/record_arm64.py")


if __name__ == "__main__":
    main()
