"""Extreme scales: every verb ends in order, with strict JSON, and without a warning of NumPy's."""

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lastbit
from lastbit.cli import main
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.runtimes import RUNTIMES

# Scales of input, weights and output: their product or quotient vanishes, or is beyond float32 or float64.
SCALES = [
    (1e-38, 1e-38, 1e-3),
    (1e-38, 1e-3, 3e38),
    (1e-3, 3e38, 3e38),
    (1e-3, 3e38, 1e-3),
    (3e38, 1e-3, 1e-38),
    (3e38, 3e38, 1e-3),
    (3e38, 3e38, 3e38),
]
VERBS = {
    "inspect": ["--op", "0", "--json"],
    "explain": ["-i", "x.npy", "--runtime", "tflm", "--json"],
    "run": ["-i", "x.npy", "-o", "o.npz", "--all", "--runtime", "litert-builtin-x86", "--json"],
    "run --quantize-input": ["-i", "r.npy", "-o", "o.npz", "--quantize-input", "--engine", "numpy", "--json"],
    "evaluate": ["--data", "x.npy", "--labels", "w.npy", "--engine", "numpy", "--json"],
    "evaluate two": ["--data", "x.npy", "--runtime", "litert-reference", "--runtime", "onnxruntime", "--json"],
    "thresholds": ["--json"],
    "compare": ["--runtime", "tflm", "--runtime", "litert-builtin-x86", "--samples", "50", "--no-oracle", "--json"],
    "diagnose": ["-i", "x.npy", "--output", "y.npy", "--json"],
    "vectors": ["-o", "v", "--count", "2", "--random", "5", "--no-oracle", "--json"],
}


@pytest.fixture
def here(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rng.integers(-128, 128, (3, 4)).astype(np.int8))
    np.save("y.npy", rng.integers(-128, 128, (3, 3)).astype(np.int8))
    np.save("r.npy", rng.normal(size=(3, 4)))
    np.save("w.npy", np.full((3, 3), 1e30))


@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_every_verb(here, scales):
    a, b, c = scales
    weights = np.random.default_rng(0).integers(-127, 128, (3, 4)).astype(np.int8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = dense_subgraph(
            weights,
            input_quant=quant(a, 3),
            weights_quant=quant(b),
            output_quant=quant(c, -5),
            bias=np.array([1, -(2**31), 2**31 - 1]),
        )
        Path("m.tflite").write_bytes(write(graph))
        for verb, options in VERBS.items():
            result = CliRunner().invoke(main, ["--debug", verb.split()[0], "m.tflite", *options])
            assert result.exit_code in (0, 1, 2, 3), (verb, result.output)
            if result.stdout.strip():
                json.loads(result.stdout, parse_constant=pytest.fail)


@pytest.mark.parametrize("scale", [1e-38, 3e38])
def test_int16_and_hybrid_layers(here, rng, scale):
    weights = rng.integers(-127, 128, (3, 4)).astype(np.int8)
    np.save("f.npy", np.asarray([[3e38, -3e38, 1e-40, 0], [1e-45, 0, 0, 0], [0, 0, 0, 0]], np.float32))
    np.save("i.npy", rng.integers(-32768, 32768, (3, 4)).astype(np.int16))
    np.save("j.npy", np.zeros((3, 3), np.int16))
    wide = {"input_quant": quant(scale), "output_quant": quant(0.1), "input_dtype": "int16", "bias_dtype": "int64"}
    real = {"input_quant": None, "output_quant": None, "input_dtype": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bias = np.array([1, 2**40, -(2**40)])
        Path("i.tflite").write_bytes(write(dense_subgraph(weights, weights_quant=quant(0.01), bias=bias, **wide)))
        Path("f.tflite").write_bytes(write(dense_subgraph(weights, weights_quant=quant(scale), **real)))
        for command in (
            ["diagnose", "i.tflite", "-i", "i.npy", "--output", "j.npy", "--json"],
            ["run", "i.tflite", "-i", "i.npy", "-o", "o.npz", "--json"],
            ["evaluate", "f.tflite", "--data", "f.npy", "--engine", "numpy", "--json"],
            ["run", "f.tflite", "-i", "f.npy", "-o", "o.npz", "--runtime", "litert-builtin-x86", "--json"],
        ):
            result = CliRunner().invoke(main, ["--debug", *command])
            assert result.exit_code in (0, 1, 2, 3), (command, result.output)
            if result.stdout.strip():
                json.loads(result.stdout, parse_constant=pytest.fail)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scales", [*SCALES, (1.0, 2.0**30, 1.0), (1.0, 2.0**32, 1.0)], ids=str)
def test_explain_in_every_runtime_agrees_with_the_engine_or_refuses(rng, scales):
    a, b, c = scales
    weights = rng.integers(-127, 128, (3, 4)).astype(np.int8)
    options = {"input_quant": quant(a, 3), "weights_quant": quant(b), "output_quant": quant(c, -5)}
    model = load(write(dense_subgraph(weights, bias=np.arange(3), **options)))
    for runtime in RUNTIMES:
        with contextlib.suppress(lastbit.UnsupportedError):
            x = rng.integers(-128, 128, (2, 4)).astype(np.int8)
            assert str(lastbit.explain(model, x, at=(0, 1), runtime=runtime))
