"""Oracles: the real interpreters that an exact runtime is held against, each run in a process of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from lastbit.errors import InputError, OracleMissingError, RuntimeNameError
from lastbit.oracles.base import (
    Fingerprint,
    Oracle,
    OracleFailure,
    OracleRefusal,
    OracleRun,
    OracleSpec,
    fingerprint_of,
)
from lastbit.runtimes.machine import X86_64
from lastbit.runtimes.this_cpu import ON_ARM64, ON_X86_64

__all__ = [
    "ORACLES",
    "Fingerprint",
    "Oracle",
    "OracleFailure",
    "OracleRefusal",
    "OracleRun",
    "OracleSpec",
    "check_library",
    "installed",
    "is_library",
    "on_this_machine",
    "open_oracle",
]

# As `platform.machine` calls it on Linux, macOS and Windows.
ARM64 = ("aarch64", "arm64", "ARM64")

# LiteRT's op resolvers -> how their kernels are called.
_MODES = {
    "AUTO": "default delegates (XNNPACK)",
    "BUILTIN_WITHOUT_DEFAULT_DELEGATES": "builtin, no delegate",
    "BUILTIN_REF": "reference kernels",
}


def _litert(name: str, resolver: str, **more: Any) -> OracleSpec:
    """LiteRT's interpreter under one op resolver; `more` as OracleSpec takes it."""
    given = {"mode": _MODES[resolver]} | more
    return OracleSpec(name=name, distribution="ai-edge-litert", extra="litert", worker=("litert", resolver), **given)


# Libraries that are handed single dense layers -> the kernels that these go to.
_LIBRARY_MODES = {"onnxruntime": "CPU, QGemm and QLinearMatMul", "torch": "quantized.linear, engine fbgemm"}


def _library(name: str, library: str, **more: Any) -> OracleSpec:
    """One of these libraries on one kind of CPU; `more` as OracleSpec takes it."""
    return OracleSpec(
        name=name,
        distribution=library,
        extra=library,
        mode=_LIBRARY_MODES[library],
        worker=(library, "-"),
        script="dense_worker",
        **more,
    )


# Keyed by the name of the runtime that the oracle is held against.
ORACLES: dict[str, OracleSpec] = {
    **{
        spec.name: spec
        for spec in (
            *(_litert(name, "AUTO", machines=X86_64, vectors=(kind,)) for kind, name in ON_X86_64.items()),
            _litert("litert-builtin-x86", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", machines=X86_64),
            _litert("litert-reference", "BUILTIN_REF", machines=X86_64),
            _litert(
                "litert-builtin-portable",
                "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
                mode="builtin, no delegate, ruy's portable code",
                environment={"RUY_PATHS": "0x1"},
            ),
            *(_litert(name, "AUTO", machines=ARM64, vectors=(kind,)) for kind, name in ON_ARM64.items()),
            _litert(
                "litert-builtin-arm64",
                "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
                machines=ARM64,
                vectors=("I8MM", "DOTPROD"),
            ),
            _litert(
                "litert-builtin-arm64-neon",
                "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
                machines=ARM64,
                vectors=("NEON", "NEON-A53"),
            ),
            _litert("litert-reference-arm64", "BUILTIN_REF", machines=ARM64, vectors=("I8MM", "DOTPROD")),
            _litert("litert-reference-arm64-neon", "BUILTIN_REF", machines=ARM64, vectors=("NEON", "NEON-A53")),
        )
    },
    "tflm": OracleSpec(
        name="tflm",
        distribution="tflite-micro",
        extra="tflm",
        mode="TensorFlow Lite Micro",
        worker=("tflm", "-"),
        where="Its wheels exist for Linux on x86-64 only.",
    ),
    "cmsis-nn": OracleSpec(
        name="cmsis-nn",
        distribution="CMSIS-NN",
        extra="",
        mode="arm_fully_connected_s8, plain C, two roundings",
        worker=("cmsis-double", "-"),
        script="dense_worker",
        library=True,
    ),
    "cmsis-nn-single-rounding": OracleSpec(
        name="cmsis-nn-single-rounding",
        distribution="CMSIS-NN",
        extra="",
        mode="arm_fully_connected_s8, plain C, CMSIS_NN_USE_SINGLE_ROUNDING",
        worker=("cmsis-single", "-"),
        script="dense_worker",
        library=True,
    ),
    # Without VNNI, both add uint8 x int8 products in pairs of 16 bits. fbgemm does not use AVX-VNNI.
    "onnxruntime": _library("onnxruntime", "onnxruntime", vectors=("AVX512-VNNI", "AVX-VNNI")),
    "onnxruntime-avx2": _library("onnxruntime-avx2", "onnxruntime", machines=X86_64, vectors=("AVX2", "AVX512")),
    "torch-fbgemm": _library("torch-fbgemm", "torch", vectors=("AVX512-VNNI",)),
    "torch-fbgemm-avx2": _library(
        "torch-fbgemm-avx2", "torch", machines=X86_64, vectors=("AVX2", "AVX512", "AVX-VNNI")
    ),
}


def open_oracle(
    name: str, *, timeout: float = 120.0, threads: int = 1, library: str | os.PathLike[str] | None = None
) -> Oracle:
    """Open a real interpreter. Use it in a `with` statement, or `close` it.

    Args:
        name: a key of `ORACLES`.
        timeout: seconds that one model may take with all its samples.
        threads: threads that the interpreter may use; TensorFlow Lite Micro and CMSIS-NN have one.
        library: the path of the shared library that CMSIS-NN was built into; the other oracles need none.

    Returns:
        The oracle; its worker process is loading.

    Raises:
        RuntimeNameError: there is no oracle of this name.
        OracleMissingError: the interpreter is not installed; the message says how to install it.
        InputError: `timeout` or `threads` is not positive.
    """
    spec = _spec(name)
    try:
        return Oracle(spec, timeout=timeout, threads=threads, library=library if spec.library else None)
    except OracleMissingError as error:
        here = on_this_machine(name)
        if here == name:
            raise
        raise OracleMissingError(f"{error} On this CPU, ask for {here}.") from None


def check_library(name: str, library: str | os.PathLike[str] | None) -> None:
    """Refuse a library that a runtime has no use for.

    Raises:
        InputError: it is given, and the runtime's interpreter is no library that the user builds.
    """
    if library is not None and not is_library(name):
        raise InputError(f"a library ({library}) is given, and {name} needs none; leave it out")


def is_library(name: str) -> bool:
    """Whether a runtime's interpreter is a shared library that the user builds.

    Raises:
        RuntimeNameError: there is no oracle of this name.
    """
    return _spec(name).library


def installed(name: str) -> Fingerprint | None:
    """The fingerprint of an oracle if it is installed, else None. Quick: nothing is imported or started.

    Raises:
        RuntimeNameError: there is no oracle of this name.
    """
    return fingerprint_of(_spec(name))


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


def _spec(name: str) -> OracleSpec:
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
