"""Small models that many tests begin with."""

from __future__ import annotations

import numpy as np

from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant


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
