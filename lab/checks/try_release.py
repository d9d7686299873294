"""Install LastBit from a folder of wheels, outside the checkout, and run the README's first screen.

    python -m build && python lab/checks/try_release.py dist

Once from the wheel and once from the sdist, each in a new environment of the Python that runs this. Dependencies come
from the index that pip is set up with; LastBit itself can only come from the folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection
from pathlib import Path

SCREENS = ("demo", "doctor", "runtimes", "--version")
"""What is run in an installation that no checkout is beside."""

EVERY_INTERPRETER = sys.platform == "linux" and platform.machine() == "x86_64"
"""Elsewhere TensorFlow Lite Micro has no wheel, and the demo ends with 4: it says which interpreter is missing."""


def try_distribution(distribution: Path, scratch: Path) -> None:
    """Install one file with the interpreters that this system has, and run each screen; a failure ends this process.

    Args:
        distribution: a wheel or an sdist of LastBit.
        scratch: an empty folder, where the environment is made and the commands run.
    """
    environment = scratch / "environment"
    venv.create(environment, with_pip=True)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    requirement = f"lastbit[litert,tflm] @ {distribution.as_uri()}"
    _run([str(programs / "python"), "-m", "pip", "install", "-q", requirement], scratch)
    for screen in SCREENS:
        _run([str(programs / "lastbit"), screen], scratch, {0} if EVERY_INTERPRETER or screen != "demo" else {0, 4})


def _run(command: list[str], folder: Path, wanted: Collection[int] = (0,)) -> None:
    print("$", Path(command[0]).name, *command[1:], flush=True)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if result.returncode not in wanted:
        sys.exit(f"exit code {result.returncode}\n{result.stdout}{result.stderr}")
    lines = result.stdout.splitlines()
    print("\n".join(lines[:6]) + (f"\n... {len(lines) - 6} more lines" if len(lines) > 6 else ""), flush=True)


def main() -> None:
    """Try the wheel and the sdist in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where `python -m build` wrote its two files")
    folder = parser.parse_args().folder.resolve()
    found = [*folder.glob("lastbit-*.whl"), *folder.glob("lastbit-*.tar.gz")]
    if len(found) != 2:
        sys.exit(
            f"{folder}: found {len(found)} files of LastBit, wanted one wheel and one sdist: run `python -m build`"
        )
    for distribution in found:
        print(f"== {distribution.name}, Python {sys.version.split()[0]}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            try_distribution(distribution, Path(scratch))


if __name__ == "__main__":
    main()
