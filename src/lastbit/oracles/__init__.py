"""Oracles: the real interpreters that an exact runtime is held against, each run in a process of its own."""

from __future__ import annotations

from lastbit.errors import RuntimeNameError
from lastbit.oracles.base import (
    Fingerprint,
    Oracle,
    OracleFailure,
    OracleRefusal,
    OracleRun,
    OracleSpec,
    fingerprint_of,
)

__all__ = [
    "ORACLES",
    "Fingerprint",
    "Oracle",
    "OracleFailure",
    "OracleRefusal",
    "OracleRun",
    "OracleSpec",
    "installed",
    "open_oracle",
]

# Keyed by the name of the runtime that the oracle is held against.
ORACLES: dict[str, OracleSpec] = {
    "litert-xnnpack": OracleSpec(
        name="litert-xnnpack",
        distribution="ai-edge-litert",
        extra="litert",
        mode="default delegates (XNNPACK)",
        worker=("litert", "AUTO"),
    ),
    "litert-builtin-x86": OracleSpec(
        name="litert-builtin-x86",
        distribution="ai-edge-litert",
        extra="litert",
        mode="builtin, no delegate",
        worker=("litert", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"),
    ),
    "litert-reference": OracleSpec(
        name="litert-reference",
        distribution="ai-edge-litert",
        extra="litert",
        mode="reference kernels",
        worker=("litert", "BUILTIN_REF"),
    ),
    "tflm": OracleSpec(
        name="tflm",
        distribution="tflite-micro",
        extra="tflm",
        mode="TensorFlow Lite Micro",
        worker=("tflm", "-"),
        where="Its wheels exist for Linux on x86-64 only.",
    ),
}


def open_oracle(name: str, *, timeout: float = 120.0, threads: int = 1) -> Oracle:
    """Open a real interpreter. Use it in a `with` statement, or `close` it.

    Args:
        name: a key of `ORACLES`.
        timeout: seconds that one model may take with all its samples.
        threads: threads that LiteRT may use; TensorFlow Lite Micro has one.

    Returns:
        The oracle; its worker process is loading.

    Raises:
        RuntimeNameError: there is no oracle of this name.
        OracleMissingError: the interpreter is not installed; the message says how to install it.
        InputError: `timeout` or `threads` is not positive.
    """
    return Oracle(_spec(name), timeout=timeout, threads=threads)


def installed(name: str) -> Fingerprint | None:
    """The fingerprint of an oracle if it is installed, else None. Quick: nothing is imported or started.

    Raises:
        RuntimeNameError: there is no oracle of this name.
    """
    return fingerprint_of(_spec(name))


def _spec(name: str) -> OracleSpec:
    try:
        return ORACLES[name]
    except KeyError:
        raise RuntimeNameError(f"no oracle is named {name!r}; there are {', '.join(ORACLES)}") from None
