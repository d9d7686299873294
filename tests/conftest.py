"""What the tests share: where things are, and which real interpreters are installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.oracles import on_this_machine

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
MODELS = ROOT.parent / "shared" / "models"

sys.path.insert(0, str(ROOT / "tools"))  # tools are scripts, not a package; some tests run their parts
from dense_families import HERE  # noqa: E402  (it lies there)

# Of today's runtimes on x86-64, those of this machine's CPU.
INTERPRETERS = {name: "tflite_micro" if name == "tflm" else "ai_edge_litert" for name in HERE}
XNNPACK = on_this_machine("litert-xnnpack")


def interpreter_missing(runtime: str) -> bool:
    return importlib.util.find_spec(INTERPRETERS[runtime]) is None


needs_all_interpreters = pytest.mark.skipif(
    any(interpreter_missing(name) for name in INTERPRETERS),
    reason="needs ai-edge-litert and tflite-micro: pip install '.[litert,tflm]'",
)

needs_shared_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is not there")


def shared_models() -> list[Path]:
    """The third-party models, where this checkout has them; without the malformed one."""
    if not MODELS.is_dir():
        return []
    return [path for path in sorted(MODELS.glob("*.tflite")) if path.stem != "cpetig_hello_world_5"]


def make_dense_model(units=5, depth=7, seed=0, per_channel=False, bias=True, **options):
    """A small dense model with random weights, as a loaded Model."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.002, 0.01, units) if per_channel else [0.005]
    graph = dense_subgraph(
        rng.integers(-127, 128, (units, depth)).astype(np.int8),
        input_quant=quant(0.02, 3),
        weights_quant=quant(scales),
        output_quant=quant(options.pop("output_scale", 0.02), -5),
        bias=rng.integers(-2000, 2000, units) if bias else None,
        **options,
    )
    return load(write(graph))


@pytest.fixture
def rng():
    return np.random.default_rng(1234)
