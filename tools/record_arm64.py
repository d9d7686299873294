"""Record what LiteRT prints on ARM64 for the small set of dense layers of tools/time_machine.py.

    python tools/record_arm64.py --command 'qemu-aarch64-static -L ROOT ... python3.11' [--command ...]

Each command starts a Python on ARM64 that has NumPy and one version of ai-edge-litert: on an ARM64 machine just a
Python, elsewhere an emulator (docs: CONTRIBUTING.md). Writes tests/golden/dense_arm64.npz and .json.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from replay_version import find_target, open_target
from time_machine import GOLDEN, Golden, golden_cases

RUNTIMES = ("litert-xnnpack-arm64", "litert-builtin-arm64", "litert-reference-arm64")


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", action="append", required=True)
    golden = Golden(golden_cases(), GOLDEN / "dense_arm64.npz")
    for command in parser.parse_args().command:
        target = find_target(shlex.split(command))
        for runtime in RUNTIMES:
            with open_target(target, runtime) as oracle:
                golden.add(f"{runtime}@{target.version}", oracle)
    golden.write("tools/record_arm64.py")


if __name__ == "__main__":
    main()
