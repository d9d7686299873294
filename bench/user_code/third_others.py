"""A third set, hybrid layers and networks: written before `diagnose` was run on any of them."""

import numpy as np

from .case import RIGHT, Case


def quantize_like_numpy(q, kernel, bias, kernel_scale):
    """Dynamic range in a loop; `q` is the user's name for the input. The scale is the largest value, not |x|."""
    rows = []
    for row in q:
        scale = np.float32(np.max(row) / 127)
        scaled = np.clip(np.round(row / scale), -127, 127).astype(np.int32)
        rows.append((kernel.astype(np.int32) @ scaled) * (scale * kernel_scale) + bias)
    return rows


def asymmetric_input(x, w, b, s_w):
    """A range of 0 to 255 for the input: zero point and scale of each row."""
    low, high = np.minimum(x.min(axis=1, keepdims=True), 0), np.maximum(x.max(axis=1, keepdims=True), 0)
    s = ((high - low) / 255).astype(np.float32)
    z = np.round(-128 - low / s)
    q = np.clip(np.round(x / s) + z, -128, 127)
    return ((q - z) @ w.astype(np.float32).T) * s * s_w + b


def bias_scaled_too(x, w, b, s_w):
    s = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    q = np.round(x / s).astype(np.int32)
    return ((q @ w.T.astype(np.int32)) + b) * s * s_w


def int4_offset_by_eight(x, w, s_w):
    return x @ ((w.astype(np.float32) + 8) * np.reshape(s_w, (-1, 1))).T.astype(np.float32)


def _scale(p):
    return np.float64(p["input_scale"]) * np.asarray(p["weights_scale"], np.float64) / np.float64(p["output_scale"])


class Network:
    """Layers in a list, called one after the other; a ReLU is a clamp at the zero point."""

    def __init__(self, layers, rounding=np.rint):
        self.layers, self.rounding = layers, rounding

    def dense(self, x, p, relu):
        """One layer."""
        acc = (x.astype(np.int64) - p["zx"]) @ p["weights"].T.astype(np.int64) + p["bias"]
        y = self.rounding(acc * _scale(p)) + p["zy"]
        return np.clip(y, p["zy"] if relu else -128, 127)

    def __call__(self, x):
        """All layers."""
        for number, p in enumerate(self.layers):
            x = self.dense(x, p, number < len(self.layers) - 1)
        return x.astype(np.int8)


def network_floors(layers):
    return Network(layers, np.floor)


def network_with_middle_truncated(layers):
    class Middle(Network):
        def dense(self, x, p, relu):
            self.rounding = np.trunc if p is self.layers[1] else np.rint
            return super().dense(x, p, relu)

    return Middle(layers)


def steps_by_name(layers):
    """Every layer's output by name, as a debugger dumps it; the second one forgets the output zero point."""

    def run(image):
        first = Network(layers).dense(image, layers[0], True)
        second = Network(layers).dense(first, layers[1] | {"zy": 0}, True)
        last = Network(layers).dense(second, layers[2], False)
        return {"fc1": first.astype(np.int8), "fc2": second.astype(np.int8), "logits": last.astype(np.int8)}

    return run


def one_sample_at_a_time(layers):
    """Pure Python, one sample; the bias is added in real numbers, which is right."""

    def predict(sample):
        values = [int(v) for v in np.ravel(sample)]
        for number, p in enumerate(layers):
            m, out = float(_scale(p)[0]), []
            for weights, bias in zip(p["weights"].tolist(), p["bias"].tolist(), strict=True):
                total = sum((v - p["zx"]) * w for v, w in zip(values, weights, strict=True))
                y = round(total * m + bias * m) + p["zy"]
                out.append(max(p["zy"] if number < 2 else -128, min(127, y)))
            values = out
        return values

    return predict


def cnn_truncates(layers):
    conv, dense = layers

    def predict(x):
        p = np.pad(x.astype(np.int64) - conv["zx"], ((0, 0), (1, 1), (1, 1), (0, 0)))
        n, h, w, _ = x.shape
        acc = np.zeros((n, h, w, len(conv["weights"])), np.int64) + conv["bias"]
        for i in range(3):
            for j in range(3):
                acc = acc + p[:, i : i + h, j : j + w] @ conv["weights"][:, i, j].astype(np.int64).T
        y = np.clip((acc * _scale(conv)).astype(np.int64) + conv["zy"], conv["zy"], 127)
        total = (y.reshape(n, -1) - dense["zx"]) @ dense["weights"].astype(np.int64).T + dense["bias"]
        return np.clip((total * _scale(dense)).astype(np.int64) + dense["zy"], -128, 127)

    return predict


HYBRID = "https://github.com/tensorflow/tflite-micro/issues/757"
DYNAMIC = "https://github.com/tensorflow/tensorflow/issues/38781"
PYRTLNET = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"
FORUM = "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089"

CASES = [
    Case(
        quantize_like_numpy, "hybrid_channels", ("hybrid_scale_of_largest_value",), DYNAMIC,
        "The scale is that of the largest value, not of the largest magnitude (a made-up name).",
    ),
    Case(
        asymmetric_input, "hybrid", ("hybrid_input_asymmetric",), DYNAMIC,
        "The rows are quantized with zero points, as some runtimes do (a made-up name).", also=(RIGHT,),
    ),
    Case(
        bias_scaled_too, "hybrid", ("hybrid_bias_scaled",), HYBRID,
        "The real-valued bias is scaled too (a made-up name).",
        also=(("bias_real_on_integer_sum",), ("hybrid_bias_real_on_integer_sum",)),
    ),
    Case(
        int4_offset_by_eight, "hybrid_int4", ("weights_int4_offset_by_8",), "https://github.com/Samsung/ONE/issues/12801",
        "Nibbles as 0 to 15, with 8 for zero, which these are not (a made-up name); real-valued weights.",
        also=(("hybrid_input_not_quantized", "weights_int4_offset_by_8"),),
    ),
    Case(network_floors, "mlp", ("rounding_floor",), PYRTLNET, made=True),
    Case(network_with_middle_truncated, "mlp", ("rounding_truncated",), PYRTLNET, made=True),
    Case(steps_by_name, "mlp", ("output_zero_point_missing",), FORUM, made=True,
         also=(("output_zero_point_missing", "activation_without_zero_point"),)),  # its ReLU as well
    Case(one_sample_at_a_time, "mlp", RIGHT, PYRTLNET, made=True),
    Case(cnn_truncates, "cnn", ("rounding_truncated",), FORUM, made=True),
]  # fmt: skip
