"""Models for the tests of explain: dense layers from plain numbers."""

import numpy as np

from lastbit.model.tflite.synthesize import quant
from tests.support.models import ModelBuilder


def flat(report):
    """The text on one line, so that tests do not depend on where it is broken."""
    return " ".join(str(report).split())


def dense_model(*layers, rows=1):
    """A .tflite file of dense layers in a row; each a dict of weights, bias, scales and so on."""
    build = ModelBuilder()
    first = layers[0]
    depth = np.asarray(first["w"]).shape[1]
    at = build.tensor((rows, depth), "int8", quant(first.get("sx", 1.0), first.get("zx", 0)), name="x_in")
    for number, layer in enumerate(layers):
        w = np.asarray(layer["w"], np.int8)
        sx, sw, sy = layer.get("sx", 1.0), layer.get("sw", 1.0), layer.get("sy", 1.0)
        weights = build.constant(w, "int8", quant(sw, layer.get("zw", 0)), f"w_{number}")
        inputs = [at, weights]
        if "b" in layer:
            bias_scale = layer.get("sb", np.float32(sx) * np.asarray(sw, np.float32))
            inputs.append(build.constant(layer["b"], "int32", quant(bias_scale), f"b_{number}"))
        else:
            inputs.append(-1)
        at = build.tensor((rows, w.shape[0]), "int8", quant(sy, layer.get("zy", 0)), name=f"y_{number}")
        options = {
            "fused_activation_function": layer.get("activation", "NONE"),
            "weights_format": "DEFAULT",
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": False,
            "quantized_bias_type": "float32",
        }
        build.operator("FULLY_CONNECTED", inputs, [at], version=4, **options)
    return build.content([0], [at])


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
