"""Which real interpreters are installed, and which of them this CPU is."""

from __future__ import annotations

import importlib.util

import pytest

from lab.cases.dense import HERE
from lastbit.oracles import on_this_machine

# Of today's runtimes on x86-64, those of this machine's CPU.
INTERPRETERS = {name: "tflite_micro" if name == "tflm" else "ai_edge_litert" for name in HERE}
XNNPACK = on_this_machine("litert-xnnpack")


def interpreter_missing(runtime: str) -> bool:
    return importlib.util.find_spec(INTERPRETERS[runtime]) is None


needs_all_interpreters = pytest.mark.skipif(
    any(interpreter_missing(name) for name in INTERPRETERS),
    reason="needs ai-edge-litert and tflite-micro: pip install '.[litert,tflm]'",
)
