"""Copy this Python and some of its packages, with the C libraries that they need, into a folder that becomes a disk.

    python copy_python.py FOLDER NAME [...]

NAME: what the folders in site-packages begin with, such as numpy. Paths stay what they are here; the packages of a
virtual environment go to the base Python's site-packages. `python` on the disk starts it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

LEFT_OUT = ("site-packages", "test", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-*")


def libraries(file: Path) -> set[Path]:
    """The shared libraries that a program or library is linked with."""
    told = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
    return {Path(word) for line in told.splitlines() for word in line.split() if word.startswith("/")}


def place(file: Path, disk: Path) -> None:
    """Copy a file to the same path on the disk."""
    target = disk / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def main() -> None:
    """Copy."""
    disk, names = Path(sys.argv[1]), tuple(sys.argv[2:])
    program = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    place(program, disk)
    shutil.copytree(standard, disk / standard.relative_to("/"), ignore=shutil.ignore_patterns(*LEFT_OUT))
    packages = disk / standard.relative_to("/") / "site-packages"
    found = [source for folder in map(Path, sys.path) if folder.is_dir() for source in folder.iterdir()]
    for source in found:
        if source.parent.name == "site-packages" and source.name.startswith(names) and source.is_dir():
            shutil.copytree(source, packages / source.name, dirs_exist_ok=True)
    missing = [name for name in names if not any(source.name.startswith(name) for source in packages.iterdir())]
    if missing:
        sys.exit(f"{program}: no {', '.join(missing)} in the folders of packages that it reads")
    objects = [program, *standard.glob("lib-dynload/*.so"), *packages.rglob("*.so*")]
    for library in set().union(*map(libraries, objects)):
        if disk not in library.parents:
            place(library, disk)
    start = disk / "bin" / "python"
    start.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={standard.parent} HOME=/tmp exec {program} -B "$@"\n')
    start.chmod(0o755)


if __name__ == "__main__":
    main()
