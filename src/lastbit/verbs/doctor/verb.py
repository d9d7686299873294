"""Whether this installation works: versions, the CPU, and which real interpreters are there and start."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from ...engines import reference
from ...engines.jit.cache import Cache, system_folder
from ...model.errors import LastBitError, UnsupportedError
from ...model.extras import install_text
from ...model.tflite.reader import load
from ...model.tflite.synthesize import dense_subgraph, quant
from ...model.tflite.writer import write
from ...ops.prepare import prepare
from ...oracles import ORACLES, Oracle, open_oracle
from ...report.blocks import Block, Heading, Report, Table, Text
from ...runtimes import RUNTIMES, interpreter_here
from ...runtimes.machine import cpu_text, platform_text
from .screen import screen_blocks

__all__ = ["DoctorReport", "doctor", "lastbit_version"]

SCHEMA = "lastbit.doctor/1"
BROKEN = 70
CORE = ("numpy", "flatbuffers", "tflite", "click", "rich")
_START_SECONDS = 60.0


@dataclass(frozen=True)
class _Extra:
    """An optional distribution: what installs it and what it is for."""

    distribution: str
    extra: str
    purpose: str


_EXTRAS = (
    _Extra("ai-edge-litert", "litert", "the real LiteRT, for verify and demo"),
    _Extra("tflite-micro", "tflm", "the real TensorFlow Lite Micro, for verify and demo"),
    _Extra("onnxruntime", "onnxruntime", "the real ONNX Runtime, for verify of single dense layers"),
    _Extra("torch", "torch", "the real PyTorch with fbgemm, for verify of single dense layers (large)"),
    _Extra("numba", "fast", "the compiled engine: run, evaluate and bench at the speed of the CPU"),
    _Extra("h5py", "keras", "reading Keras files: quantize model.keras"),
    _Extra("matplotlib", "plot", "pictures: --plot, report.plot(), pictures in --html pages"),
    _Extra("pandas", "pandas", "tables for notebooks: report.to_pandas()"),
    _Extra("sphinx", "docs", "building the site of the documents"),
    _Extra("tensorflow-cpu", "converter", "making the demo models again (large)"),
)


@dataclass(frozen=True, eq=False, repr=False)
class DoctorReport(Report):
    """What `doctor` found.

    Attributes:
        data: the findings as plain data.
    """

    data: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """0, or 70 where LastBit's own core does not work. A missing interpreter is no fault."""
        return 0 if self.data["core"]["works"] else BROKEN

    def in_short(self) -> list[str]:
        """This CPU's runtime, whether the core works, and which interpreters do."""
        works = [entry["name"] for entry in self.data["oracles"] if entry["state"] == "works"]
        return [
            _this_cpu_block(self.data["this_cpu"]).text,
            f"LastBit {self.data['lastbit']}: {self.data['core']['detail']}",
            f"{len(works)} of {len(self.data['oracles'])} real interpreters run: {', '.join(works)}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """The findings as plain data (schema `lastbit.doctor/1`)."""
        return self.data

    def first_screen(self) -> list[Block]:
        """What works here, by family of runtimes."""
        return screen_blocks(self.data)

    def blocks(self) -> list[Block]:
        """The findings, and what to do about each."""
        data = self.data
        blocks: list[Block] = [_this_cpu_block(data["this_cpu"]), Heading(f"LastBit {data['lastbit']}")]
        blocks.append(Text(f"{data['platform']}, {data['python_implementation']} at {data['executable']}"))
        blocks.append(Text(f"CPU: {data['cpu']}"))
        blocks.append(Text(", ".join(f"{name} {version or 'MISSING'}" for name, version in data["versions"].items())))
        core = data["core"]
        blocks.append(Text(f"Core: {core['detail']}", "good" if core["works"] else "bad"))
        rows = [
            (entry["distribution"], entry["installed"] or "-", entry["proven"] or "-", entry["purpose"])
            for entry in data["extras"]
        ]
        blocks += [Heading("Optional"), Table(("distribution", "installed", "proven with", "what for"), rows)]
        blocks += [Text(advice) for entry in data["extras"] if (advice := _advice(entry))]
        kept = data["compiled_code"]
        blocks.append(
            Text(f"Compiled code is not kept: {kept['problem']}", "bad")
            if kept["problem"]
            else Text(f"Compiled code is kept in {kept['folder']}")
        )
        states = [(entry["name"], entry["mode"], entry["detail"]) for entry in data["oracles"]]
        blocks += [Heading("Real interpreters"), Table(("oracle", "kernels", "state"), states)]
        return blocks


def lastbit_version() -> str:
    """LastBit's installed version."""
    return _version("lastbit") or "(not installed: run from its source)"


def doctor(*, progress: Callable[[int, int, str], None] | None = None) -> DoctorReport:
    """Check this installation, and start each real interpreter that is installed on a small layer.

    Args:
        progress: is told (done, total, what).

    Returns:
        The Diagnosis. It never fails for what is missing.
    """
    return DoctorReport(
        {
            "schema": SCHEMA,
            "lastbit": lastbit_version(),
            "python": platform.python_version(),
            "python_implementation": platform.python_implementation(),
            "executable": sys.executable,
            "platform": platform_text(),
            "cpu": cpu_text(),
            "versions": {name: _version(name) for name in CORE},
            "this_cpu": _this_cpu(),
            "core": _check_core(),
            "extras": [_extra(extra) for extra in _EXTRAS],
            "compiled_code": _compiled_code(),
            "oracles": _start_oracles(progress or (lambda done, total, what: None)),
        }
    )


def _this_cpu() -> dict[str, str | None]:
    """The runtime that `auto` means here, or why none."""
    try:
        return {"runtime": interpreter_here(), "why_none": None}
    except UnsupportedError as error:
        return {"runtime": None, "why_none": str(error)}


def _this_cpu_block(found: dict[str, str | None]) -> Text:
    if found["runtime"] is None:
        return Text(str(found["why_none"]), "warning")
    return Text(f"Interpreter(model) on this CPU is {found['runtime']}")


def _compiled_code() -> dict[str, str | None]:
    """Where the compiled engine keeps its code, or why it does not."""
    found = Cache.at(system_folder())
    return {"folder": None if found.folder is None else str(found.folder), "problem": found.problem}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def proven_versions() -> dict[str, str]:
    """Distribution -> the version that the claims for this machine's CPU were shown with."""
    # "ai-edge-litert 2.3.0, Interpreter(model)"
    oracles = ((runtime, ORACLES[runtime.name]) for runtime in RUNTIMES.values())
    distributions = [runtime for runtime, oracle in oracles if oracle.fits_machine and not oracle.library]
    pairs = (runtime.oracle.partition(",")[0].split() for runtime in distributions)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _extra(extra: _Extra) -> dict[str, Any]:
    installed = _version(extra.distribution)
    proven = proven_versions().get(extra.distribution)
    status = "missing" if installed is None else "installed"
    # "2.13.0+cpu" is a build of 2.13.0.
    if installed is not None and proven is not None and installed.partition("+")[0] != proven:
        status = "another version"
    available = extra.extra != "tflm" or (sys.platform == "linux" and platform.machine() == "x86_64")
    return {
        "distribution": extra.distribution,
        "extra": extra.extra,
        "purpose": extra.purpose,
        "installed": installed,
        "proven": proven,
        "status": status,
        "available": available,
        "install": install_text(extra.extra),
    }


def _advice(entry: dict[str, Any]) -> str:
    name = entry["distribution"]
    if entry["status"] == "missing" and not entry["available"]:
        return f"{name}: no wheel for this platform ({platform_text()}); it exists for Linux on x86-64 only."
    if entry["status"] == "missing":
        return f"{name} is not installed. If you need it: {entry['install']}"
    if entry["status"] == "another version":
        return (
            f"{name} {entry['installed']} is not the version that LastBit was proven with; `lastbit verify` "
            f'tells whether it computes the same. The proven one: pip install "{name}=={entry["proven"]}"'
        )
    return ""


def _check_core() -> dict[str, Any]:
    """Write a small layer, read it, run it on every runtime, and compare with the values worked by hand."""
    try:
        model = load(_small_model())
        for name in RUNTIMES:
            found = reference.run(prepare(model, name), [_INPUT]).output.tolist()
            if found != _OUTPUT:
                return {
                    "works": False,
                    "detail": f"computes {found} on {name}, wanted {_OUTPUT}; install it again",
                }
    except Exception as error:  # a broken dependency may raise anything
        return {
            "works": False,
            "detail": f"does not work: {type(error).__name__}: {error}; install LastBit again",
        }
    return {"works": True, "detail": "works (a layer worked by hand has the right values on every runtime)"}


def _start_oracles(progress: Callable[[int, int, str], None]) -> list[dict[str, Any]]:
    """Start each interpreter that is installed and let it run the small layer."""
    opened: dict[str, Oracle | LastBitError] = {}
    for name in ORACLES:
        # All of them before the first is asked, so that they load at the same time.
        try:
            opened[name] = open_oracle(name, timeout=_START_SECONDS)
        except LastBitError as error:
            opened[name] = error
    results = []
    for number, (name, oracle) in enumerate(opened.items()):
        progress(number, len(opened), name)
        entry: dict[str, Any] = {"name": name, "mode": ORACLES[name].mode}
        if isinstance(oracle, Oracle):
            with oracle:
                entry |= {"fingerprint": oracle.fingerprint.as_dict(), **_try(oracle)}
        else:
            detail = "not installed"
            if ORACLES[name].library:
                detail = "needs a library that you build (docs/cmsis_nn.md)"
            elif not ORACLES[name].fits_machine:
                detail = "for another CPU"
            entry |= {"fingerprint": None, "state": "missing", "detail": detail}
        results.append(entry)
    progress(len(opened), len(opened), "")
    return results


def _try(oracle: Oracle) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        found = oracle.run(_small_model(), [[_INPUT]], label="doctor").outputs[0][0].tolist()
    except LastBitError as error:
        return {"state": "fails", "detail": f"installed, but does not start: {error}"}
    seconds = time.perf_counter() - start
    if found != _OUTPUT:
        return {"state": "differs", "detail": f"starts, but computes {found}, wanted {_OUTPUT}"}
    return {
        "state": "works",
        "detail": f"starts and computes a small layer ({seconds:.1f} s)",
        "seconds": seconds,
    }


# [1, 2] times [[1, 2], [3, 4]] transposed is [5, 11]; plus the bias [1, -1]; all scales are 1.
_INPUT = np.array([[1, 2]], np.int8)
_OUTPUT = [[6, 10]]


def _small_model() -> bytes:
    weights = np.array([[1, 2], [3, 4]], np.int8)
    bias = np.array([1, -1], np.int32)
    one = quant(1)
    graph = dense_subgraph(weights, input_quant=one, weights_quant=one, output_quant=one, bias=bias)
    return write(graph, "LastBit doctor")
