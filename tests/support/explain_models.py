"""Models for the tests of explain: dense layers from plain numbers."""

import numpy as np

from lastbit.model.graph import Operator, Subgraph, Tensor
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import DTYPE_BY_NAME, quant

INT8, INT32 = DTYPE_BY_NAME["int8"], DTYPE_BY_NAME["int32"]


def flat(report):
    """The text on one line, so that tests do not depend on where it is broken."""
    return " ".join(str(report).split())


def dense_model(*layers, rows=1):
    """A .tflite file of dense layers in a row; each a dict of weights, bias, scales and so on."""
    tensors, operators = [], []

    def add(name, shape, dtype, quantization, data=None):
        tensors.append(Tensor(len(tensors), name, shape, shape, dtype, quantization, data))
        return len(tensors) - 1

    first = layers[0]
    depth = np.asarray(first["w"]).shape[1]
    at = add("x_in", (rows, depth), INT8, quant(first.get("sx", 1.0), first.get("zx", 0)))
    for number, layer in enumerate(layers):
        w = np.asarray(layer["w"], np.int8)
        sx, sw, sy = layer.get("sx", 1.0), layer.get("sw", 1.0), layer.get("sy", 1.0)
        weights = add(f"w_{number}", w.shape, INT8, quant(sw, layer.get("zw", 0)), w)
        inputs = [at, weights]
        if "b" in layer:
            b = np.asarray(layer["b"], np.int32)
            bias_scale = layer.get("sb", np.float32(sx) * np.asarray(sw, np.float32))
            inputs.append(add(f"b_{number}", b.shape, INT32, quant(bias_scale), b))
        else:
            inputs.append(-1)
        at = add(f"y_{number}", (rows, w.shape[0]), INT8, quant(sy, layer.get("zy", 0)))
        options = {
            "fused_activation_function": layer.get("activation", "NONE"),
            "weights_format": "DEFAULT",
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": False,
            "quantized_bias_type": "float32",
        }
        operators.append(Operator(number, "FULLY_CONNECTED", 4, tuple(inputs), (at,), options))
    return write(Subgraph("main", tuple(tensors), tuple(operators), (0,), (at,)))


def scaling(accs, factor_scales, **more):
    """A layer whose accumulators are the biases, whatever the input is."""
    sx, sw, sy = factor_scales
    accs = np.asarray(accs)
    return dense_model({"w": np.zeros((accs.size, 1)), "b": accs, "sx": sx, "sw": sw, "sy": sy, **more})


def random_layer(rng, per_channel, activation="NONE"):
    units, depth = int(rng.integers(2, 7)), int(rng.integers(1, 40))
    return {
        "w": rng.integers(-127, 128, (units, depth)),
        "b": rng.integers(-5000, 5000, units),
        "sx": np.float32(rng.uniform(0.01, 0.1)),
        "zx": int(rng.integers(-128, 128)),
        "sw": rng.uniform(0.001, 0.02, units).astype(np.float32) if per_channel else np.float32(0.01),
        "zw": 0 if per_channel else int(rng.integers(-5, 6)),
        "sy": np.float32(rng.uniform(0.05, 0.5)),
        "zy": int(rng.integers(-128, 128)),
        "activation": activation,
    }


def two_layers(first_activation="NONE"):
    rng = np.random.default_rng(5)
    return dense_model(
        {"w": rng.integers(-9, 9, (4, 3)), "sw": 0.0625, "sy": 0.5, "activation": first_activation},
        {"w": rng.integers(-9, 9, (2, 4)), "sx": 0.5, "sw": 0.0625, "sy": 0.5},
    )
