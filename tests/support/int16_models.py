"""Models for the tests of dense layers with int16 activations."""

import numpy as np

from lab.cases.dense_int16 import random_layers
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.ops.prepare import prepare_operator
from tests.support.interpreters import XNNPACK

NAMES = (XNNPACK, "litert-builtin-x86", "litert-reference", "tflm")
LITERT = NAMES[:3]


def layer(
    weights, *, scales=(1.0, 1.0, 1.0), zero_points=(0, 0, 0), bias=None, dtype="int8", bias_dtype="int64", **more
):
    """A loaded one-layer model with int16 activations, from plain numbers."""
    sx, sw, sy = scales
    zx, zw, zy = zero_points
    graph = dense_subgraph(
        np.asarray(weights),
        input_quant=quant(sx, zx),
        weights_quant=quant(sw, zw),
        output_quant=quant(sy, zy),
        bias=None if bias is None else np.asarray(bias),
        input_dtype="int16",
        weights_dtype=dtype,
        bias_dtype=bias_dtype,
        **more,
    )
    return load(write(graph))


def layer_of(kind, seed=3):
    """A random layer of this kind, of more than one unit: one scale would be per-tensor."""
    rng = np.random.default_rng(seed)
    while True:
        graph = random_layers(rng, kind).graph
        if graph.tensors[1].shape[0] > 1 and graph.tensors[1].shape[1] < 500:
            return load(write(graph))


def prepared(model, runtime):
    return prepare_operator(model, model.operators[0], runtime)
