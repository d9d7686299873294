"""Which real interpreter an oracle is, in which mode, and whether it is installed on this machine."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from lastbit.model.errors import InputError, OracleMissingError
from lastbit.model.extras import install_text
from lastbit.runtimes.machine import X86_64, Vectors, cpu_text, platform_text, widest_vectors

__all__ = ["Fingerprint", "OracleSpec", "fingerprint_of", "missing_error"]


@dataclass(frozen=True)
class OracleSpec:
    """One real interpreter in one mode.

    Attributes:
        name: the name of the runtime that this oracle is compared with.
        distribution: the installed distribution that has it.
        extra: LastBit's optional dependency that installs it.
        mode: which kernels run, in words.
        worker: the worker's arguments: the interpreter and its operator resolver.
        where: a limit of where it can be installed, for the message when it is missing.
        script: the worker's file: one whose interpreters read .tflite files, one that takes a dense layer out of them.
        library: whether it is no distribution but a shared library, which the user builds and names.
        environment: variables that its worker process gets beside this process's.
        machines: the machine types it holds for, as `platform.machine` spells them; empty for any.
        version: the version that must be installed; empty for any.
        vectors: the kinds of CPUs for which alone it holds; empty for all. Of other machine types than x86-64 it says
            nothing where `machines` is empty.
    """

    name: str
    distribution: str
    extra: str
    mode: str
    worker: tuple[str, str]
    where: str = ""
    script: Literal["tflite_worker", "dense_worker"] = "tflite_worker"
    library: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    machines: tuple[str, ...] = ()
    version: str = ""
    vectors: tuple[Vectors, ...] = ()

    @property
    def whole_models(self) -> bool:
        """Whether it runs whole models; the others are handed one dense layer at a time."""
        return self.script == "tflite_worker"

    @property
    def fits_machine(self) -> bool:
        """Whether this machine and CPU are those that it holds for. A CPU that does not tell counts as one of those."""
        if self.machines and platform.machine() not in self.machines:
            return False
        if not self.vectors or (not self.machines and platform.machine() not in X86_64):
            return True
        return widest_vectors() in (*self.vectors, None)


@dataclass(frozen=True)
class Fingerprint:
    """What a result of a real interpreter holds for.

    Attributes:
        oracle: the distribution, such as `ai-edge-litert`.
        version: its installed version.
        mode: which kernels run, in words.
        cpu: the CPU's name and the features that select kernels.
        platform: operating system, machine type and Python version.
    """

    oracle: str
    version: str
    mode: str
    cpu: str
    platform: str

    def as_dict(self) -> dict[str, str]:
        """The same as a dictionary for JSON."""
        return asdict(self)


def fingerprint_of(spec: OracleSpec, library: str | os.PathLike[str] | None = None) -> Fingerprint | None:
    """The fingerprint of an oracle, None if it is not installed. Starts nothing and imports nothing.

    Args:
        spec: the oracle.
        library: the shared library's path, for an oracle that is one. Its version is the file's SHA-256.
    """
    if spec.library:
        if library is None:
            return None
        try:
            version = "library with SHA-256 " + hashlib.sha256(Path(library).read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise InputError(f"oracle {spec.name}: the library {library} cannot be read: {error.strerror}") from error
        return Fingerprint(spec.distribution, version, spec.mode, cpu_text(), platform_text())
    try:
        version = metadata.version(spec.distribution)
    except metadata.PackageNotFoundError:
        return None
    if (spec.version and version != spec.version) or not spec.fits_machine:
        return None
    return Fingerprint(spec.distribution, version, spec.mode, cpu_text(spec.environment), platform_text())


def missing_error(spec: OracleSpec) -> OracleMissingError:
    """What to do about an interpreter that is not installed."""
    if spec.library:
        return OracleMissingError(
            f"the real {spec.distribution} is needed for {spec.name}: build it (docs/cmsis_nn.md) and give ",
            python="library=FILE.",
            command="--library FILE.",
        )
    return OracleMissingError(_missing_text(spec))


def _missing_text(spec: OracleSpec) -> str:
    where = f" {spec.where}" if spec.where else ""
    if spec.machines and platform.machine() not in spec.machines:
        return (
            f"oracle {spec.name} needs {spec.distribution} on a machine of type {' or '.join(spec.machines)}; this one "
            f"is {platform.machine()}. lab/reach/replay_version.py runs it under an emulator."
        )
    if not spec.fits_machine:
        kinds = " or ".join(spec.vectors)
        return (
            f"oracle {spec.name} needs a CPU of the kind {kinds}; this one is {widest_vectors()}: {cpu_text()}, "
            "where the same interpreter picks other kernels. `lastbit doctor` lists the runtimes whose interpreters "
            "run here."
        )
    if spec.version:
        try:
            found = f"{metadata.version(spec.distribution)} is installed"
        except metadata.PackageNotFoundError:
            found = "none is installed"
        return (
            f"oracle {spec.name} needs {spec.distribution} {spec.version}; {found}. "
            f"Install it in an environment of its own: pip install '{spec.distribution}=={spec.version}'"
        )
    return (
        f"oracle {spec.name} needs {spec.distribution}, which is not installed. "
        f"Install it: {install_text(spec.extra)}.{where}"
    )
