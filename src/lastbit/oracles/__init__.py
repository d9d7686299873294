"""Oracles: the real interpreters that an exact runtime is compared with, each run in a process of its own."""

from __future__ import annotations

import os
from dataclasses import replace

from lastbit.model.errors import InputError, OracleMissingError, RuntimeNameError
from lastbit.oracles.base import Oracle, OracleFailure, OracleRefusal, OracleRun
from lastbit.oracles.spec import Fingerprint, OracleSpec, fingerprint_of
from lastbit.runtimes import Runtime, cpus

__all__ = [
    "ORACLES",
    "Fingerprint",
    "Oracle",
    "OracleFailure",
    "OracleRefusal",
    "OracleRun",
    "OracleSpec",
    "check_library",
    "has_oracle",
    "installed",
    "is_library",
    "on_this_machine",
    "open_oracle",
]

ORACLES: dict[str, OracleSpec] = {
    cpu.name: OracleSpec(
        name=cpu.name,
        distribution=mode.distribution,
        extra=mode.extra,
        mode=mode.words,
        worker=mode.worker,
        where=mode.where,
        script=mode.script,
        library=mode.library,
        environment=mode.environment,
        machines=cpu.machines,
        vectors=cpu.vectors,
    )
    for cpu, mode in cpus()
}
"""Keyed by the name of the runtime that the oracle is compared with."""


def open_oracle(
    runtime: str | Runtime, *, timeout: float = 120.0, threads: int = 1, library: str | os.PathLike[str] | None = None
) -> Oracle:
    """Open a real interpreter. Use it in a `with` statement, or `close` it.

    Args:
        runtime: a key of `ORACLES`, or a runtime of this name.
        timeout: seconds that one model may take with all its samples.
        threads: threads that the interpreter may use; TensorFlow Lite Micro and CMSIS-NN have one.
        library: the path of the shared library that CMSIS-NN was built into; the other oracles need none.

    Returns:
        The oracle; its worker process is loading.

    Raises:
        RuntimeNameError: there is no oracle of this name.
        OracleMissingError: the interpreter is not installed (the message says how to install it), or there is none
            that a runtime of your own stands for.
        InputError: `timeout` or `threads` is not positive.
    """
    spec = _spec(runtime)
    try:
        return Oracle(spec, timeout=timeout, threads=threads, library=library if spec.library else None)
    except OracleMissingError as error:
        here = on_this_machine(spec.name)
        if here == spec.name:
            raise
        raise OracleMissingError(f"{error} On this CPU, ask for {here}.") from None


def check_library(runtime: Runtime, library: str | os.PathLike[str] | None) -> None:
    """Refuse a library that a runtime has no use for.

    Raises:
        InputError: it is given, and the runtime's interpreter is no library that the user builds.
    """
    if library is not None and not is_library(runtime):
        raise InputError(f"a library ({library}) is given, and {runtime.name} needs none; leave it out")


def has_oracle(runtime: Runtime) -> bool:
    """Whether there is an interpreter that a runtime stands for: not if the runtime is your own."""
    return runtime.name.partition("@")[0] in ORACLES


def is_library(runtime: Runtime) -> bool:
    """Whether a runtime's interpreter is a shared library that the user builds."""
    return has_oracle(runtime) and _spec(runtime).library


def installed(runtime: str | Runtime) -> Fingerprint | None:
    """The fingerprint of an oracle if it is installed, else None. Quick: nothing is imported or started.

    Raises:
        RuntimeNameError: there is no oracle of this name.
    """
    if isinstance(runtime, Runtime) and not has_oracle(runtime):
        return None
    return fingerprint_of(_spec(runtime))


def on_this_machine(name: str) -> str:
    """The name under which this machine's CPU follows what another one follows as `name`.

    One interpreter in one mode picks other kernels on another CPU. Where none of its runtimes is for this CPU, the name
    stays.

    >>> on_this_machine("litert-xnnpack").startswith("litert-xnnpack")
    True

    Raises:
        RuntimeNameError: there is no oracle of this name.
    """
    spec = _spec(name)
    if spec.fits_machine:
        return name
    for other in ORACLES.values():
        if (other.distribution, other.worker) == (spec.distribution, spec.worker) and other.fits_machine:
            return other.name
    return name


# What a prefix of a version stands for: (distribution, the worker's name for it).
_VERSIONED = {"tf": ("tensorflow-cpu", "tensorflow"), "tflite": ("tflite-runtime", "tflite-runtime")}


def _spec(runtime: str | Runtime) -> OracleSpec:
    if isinstance(runtime, Runtime) and not has_oracle(runtime):
        raise OracleMissingError(
            f"LastBit knows no interpreter that calculates as {runtime.name} does ({runtime.title}), so nothing can be "
            "compared with one. What needs none: run, explain, thresholds, compare, vectors, diagnose, identify, "
            "evaluate"
        )
    name = runtime.name if isinstance(runtime, Runtime) else runtime
    base, _, version = name.partition("@")
    try:
        spec = ORACLES[base]
        if not version:
            return spec
        prefix = version.rstrip("0123456789.")
        number = version.removeprefix(prefix)
        distribution, kind = _VERSIONED[prefix] if prefix else (spec.distribution, spec.worker[0])
        if distribution == "tflite-micro":
            number = f"0.dev{number}"
        worker = (kind, spec.worker[1])
        # Of versions of the single-layer runtimes, only types are stated in which no CPU's products saturate.
        vectors = spec.vectors if spec.whole_models else ()
        return replace(spec, name=name, distribution=distribution, worker=worker, version=number, vectors=vectors)
    except KeyError:
        raise RuntimeNameError(f"no oracle is named {name!r}; there are {', '.join(ORACLES)}") from None
