"""A second set, networks and operators without weights: written before `diagnose` was run on any of them.

An operator without weights is a dict as well: input_scales, input_zeros, output_scale, zy.
"""

import numpy as np

from .case import RIGHT, Case


def _m(p):
    return np.float64(p["input_scale"]) * p["weights_scale"].astype(np.float64) / np.float64(p["output_scale"])


def _dense(x, p, low=-128):
    acc = (x.astype(np.int64) - p["zx"]) @ p["weights"].astype(np.int64).T + p["bias"]
    return np.clip(np.rint(acc * _m(p)) + p["zy"], low, 127).astype(np.int8)


def _conv(x, p, low=-128):
    n, h, w, _ = x.shape
    padded = np.pad(x.astype(np.int64) - p["zx"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.tile(p["bias"].astype(np.int64), (n, h, w, 1))
    for ky in range(3):
        for kx in range(3):
            acc += padded[:, ky : ky + h, kx : kx + w] @ p["weights"][:, ky, kx].astype(np.int64).T
    return np.clip(np.rint(acc * _m(p)) + p["zy"], low, 127).astype(np.int8)


def _fixed(v, f):
    """A factor below 1 on an integer, as gemmlowp does it."""
    frac, exp = np.frexp(f)
    product = np.asarray(v, object) * round(float(frac) * 2**31)
    high = np.vectorize(lambda p: int(abs(p) + 2**30 - (p < 0)) // 2**31 * (1 if p >= 0 else -1), [object])(product)
    shift = int(-exp)
    if shift == 0:
        return high
    half = np.vectorize(
        lambda q: (abs(q) + (1 << (shift - 1))) >> shift if q >= 0 else -((-q + (1 << (shift - 1))) >> shift), [object]
    )
    return half(high)


def _add(a, b, p):
    (sa, sb), (za, zb) = (np.float64(s) for s in p["input_scales"]), p["input_zeros"]
    most = 2 * max(sa, sb)
    left = _fixed((a.astype(np.int64) - za) << 20, sa / most) + _fixed((b.astype(np.int64) - zb) << 20, sb / most)
    y = _fixed(left, most / ((1 << 20) * np.float64(p["output_scale"]))).astype(np.int64) + p["zy"]
    return np.clip(y, -128, 127).astype(np.int8)


def _half_away(v):
    return np.sign(v) * np.floor(np.abs(v) + 0.5)


def _mean(x):
    return np.clip(_half_away(x.astype(np.int64).mean(axis=(1, 2))), -128, 127).astype(np.int8)


def _residual(add, pool=_mean):
    """convolution, ADD with its input, average pool over the whole image, dense."""

    def made(layers):
        conv, addition, _, dense = layers
        return lambda x: _dense(pool(add(x, _conv(x, conv, conv["zy"]), addition)), dense)

    return made


def residual_right(layers):
    return _residual(_add)(layers)


def residual_in_real_numbers(layers):
    """Right within what some runtime prints? It adds real numbers and rounds once."""

    def add(a, b, p):
        (sa, sb), (za, zb) = p["input_scales"], p["input_zeros"]
        real = (a.astype(np.float64) - za) * sa + (b.astype(np.float64) - zb) * sb
        return np.clip(_half_away(real / p["output_scale"]) + p["zy"], -128, 127).astype(np.int8)

    return _residual(add)(layers)


def residual_adds_bytes(layers):
    def add(a, b, p):
        return np.clip(a.astype(int) + b.astype(int), -128, 127).astype(np.int8)

    return _residual(add)(layers)


def residual_without_zero_points(layers):
    def add(a, b, p):
        sa, sb = p["input_scales"]
        return np.clip(np.rint((a * np.float64(sa) + b * np.float64(sb)) / p["output_scale"]), -128, 127).astype(
            np.int8
        )

    return _residual(add)(layers)


def residual_truncates(layers):
    def add(a, b, p):
        (sa, sb), (za, zb) = p["input_scales"], p["input_zeros"]
        real = (a.astype(np.float64) - za) * sa + (b.astype(np.float64) - zb) * sb
        return np.clip((real / p["output_scale"]).astype(int) + p["zy"], -128, 127).astype(np.int8)

    return _residual(add)(layers)


def residual_wraps(layers):
    def add(a, b, p):
        (sa, sb), (za, zb) = p["input_scales"], p["input_zeros"]
        real = (a.astype(np.float64) - za) * sa + (b.astype(np.float64) - zb) * sb
        return (np.rint(real / p["output_scale"]) + p["zy"]).astype(np.int64).astype(np.int8)

    return _residual(add)(layers)


def residual_rounds_both(layers):
    def add(a, b, p):
        (sa, sb), (za, zb), so = p["input_scales"], p["input_zeros"], p["output_scale"]
        left, right = (np.rint((v.astype(np.float64) - z) * s / so) for v, z, s in ((a, za, sa), (b, zb, sb)))
        return np.clip(left + right + p["zy"], -128, 127).astype(np.int8)

    return _residual(add)(layers)


def mean_rounds_down(layers):
    def pool(x):
        return (x.astype(np.int64).sum(axis=(1, 2)) // (x.shape[1] * x.shape[2])).astype(np.int8)

    return _residual(_add, pool)(layers)


def mean_as_c_divides(layers):
    def pool(x):
        return np.trunc(x.astype(np.int64).sum(axis=(1, 2)) / (x.shape[1] * x.shape[2])).astype(np.int8)

    return _residual(_add, pool)(layers)


def _pooled(pool):
    """convolution, a pool of 3x3 with stride 2 and SAME, dense."""

    def made(layers):
        conv, _, dense = layers

        def predict(x):
            y = _conv(x, conv, conv["zy"])
            return _dense(pool(y).reshape(len(y), -1), dense)

        return predict

    return made


def _windows(y, value):
    """8 x 8 with SAME, 3 and stride 2: nothing in front, one row and one column behind."""
    padded = np.pad(y.astype(np.float64), ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=value)
    return np.stack([padded[:, i : i + 7 : 2, j : j + 7 : 2] for i in range(3) for j in range(3)])


def average_of_what_is_there(layers):
    """Right: the average is over the elements inside the image."""
    return _pooled(lambda y: _half_away(np.round(np.nanmean(_windows(y, np.nan), axis=0), 9)).astype(np.int8))(layers)


def average_by_the_full_window(layers):
    return _pooled(lambda y: _half_away(_windows(y, 0).sum(axis=0) / 9).astype(np.int8))(layers)


def average_truncates(layers):
    return _pooled(lambda y: np.nanmean(_windows(y, np.nan), axis=0).astype(np.int8))(layers)


def maximum_with_zeros(layers):
    return _pooled(lambda y: _windows(y, 0).max(axis=0).astype(np.int8))(layers)


def _classifier(softmax):
    def made(layers):
        dense, last = layers
        return lambda x: softmax(_dense(x, dense), last)

    return made


def _probabilities(q, p):
    real = (q.astype(np.float64) - p["input_zeros"][0]) * p["input_scales"][0]
    e = np.exp(real - real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_truncates(layers):
    return _classifier(lambda q, p: np.clip((_probabilities(q, p) * 256).astype(int) - 128, -128, 127).astype(np.int8))(
        layers
    )


def softmax_times_255(layers):
    return _classifier(lambda q, p: (np.rint(_probabilities(q, p) * 255) - 128).astype(np.int8))(layers)


def softmax_of_integers(layers):
    def softmax(q, p):
        return np.clip(np.rint(_probabilities(q, p | {"input_scales": [1.0]}) * 256) - 128, -128, 127).astype(np.int8)

    return _classifier(softmax)(layers)


def softmax_with_wrong_zero(layers):
    return _classifier(lambda q, p: np.clip(np.rint(_probabilities(q, p) * 256), -128, 127).astype(np.int8))(layers)


def _mlp(layer):
    def made(layers):
        def predict(x):
            for i, p in enumerate(layers):
                x = layer(x, p, i, layers)
            return x

        return predict

    return made


def no_activation_between(layers):
    return _mlp(lambda x, p, i, all: _dense(x, p))(layers)


def zero_point_of_the_first_layer(layers):
    return _mlp(lambda x, p, i, all: _dense(x, p | {"zx": all[0]["zx"]}, p["zy"] if i < 2 else -128))(layers)


def input_scale_of_the_first_layer(layers):
    return _mlp(lambda x, p, i, all: _dense(x, p | {"input_scale": all[0]["input_scale"]}, p["zy"] if i < 2 else -128))(
        layers
    )


def bias_after_each_scaling(layers):
    def layer(x, p, i, all):
        acc = (x.astype(np.int64) - p["zx"]) @ p["weights"].astype(np.int64).T
        y = np.rint(acc * _m(p)) + p["bias"] + p["zy"]
        return np.clip(y, p["zy"] if i < 2 else -128, 127).astype(np.int8)

    return _mlp(layer)(layers)


def last_layer_has_a_relu(layers):
    return _mlp(lambda x, p, i, all: _dense(x, p, p["zy"]))(layers)


def real_numbers_between_layers(layers):
    """Right but for values next to ties: fake quantization between the layers."""

    def predict(x):
        real = (x.astype(np.float64) - layers[0]["zx"]) * np.float64(layers[0]["input_scale"])
        for i, p in enumerate(layers):
            scale = np.float64(p["input_scale"]) * p["weights_scale"].astype(np.float64)
            y = real @ (p["weights"] * p["weights_scale"].astype(np.float64)[:, None]).T + p["bias"] * scale
            y = np.maximum(y, 0) if i < 2 else y
            q = np.clip(np.rint(y / p["output_scale"]) + p["zy"], -128, 127)
            real = (q - p["zy"]) * np.float64(p["output_scale"])
        return q.astype(np.int8)

    return predict


def cnn_kernel_as_hwio(layers):
    conv, dense = layers
    o, kh, kw, i = conv["weights"].shape
    turned = conv | {"weights": conv["weights"].reshape(kh, kw, i, o).transpose(3, 0, 1, 2)}
    return lambda x: _dense(_conv(x, turned, conv["zy"]).reshape(len(x), -1), dense)


def cnn_without_input_zero_point(layers):
    conv, dense = layers
    without = conv | {"zx": 0}
    return lambda x: _dense(_conv(x, without, conv["zy"]).reshape(len(x), -1), dense | {"zx": 0})


def softmax_alone_truncates(x, s_in, zp_in):
    real = (x.astype(np.float64) - zp_in) * s_in
    e = np.exp(real - real.max(axis=-1, keepdims=True))
    return (np.clip(np.trunc(256 * e / e.sum(axis=-1, keepdims=True)) - 128, -128, 127)).astype(np.int8)


def pool_alone_by_the_full_window(x):
    return _half_away(_windows(x, 0).sum(axis=0) / 9).astype(np.int8)


def add_alone_truncates(a, b, s1, z1, s2, z2, s_out, zp_out):
    real = (a.astype(np.float64) - z1) * s1 + (b.astype(np.float64) - z2) * s2
    return np.clip((real / s_out).astype(int) + zp_out, -128, 127).astype(np.int8)


PYRTLNET = "https://github.com/UCSBarchlab/pyrtlnet/issues/6"
TF = "https://github.com/tensorflow/tensorflow/issues/"
POOL = "https://github.com/tensorflow/tensorflow/issues/23598"
SOFTMAX = "https://github.com/tensorflow/tensorflow/issues/38781"
ADD = "https://github.com/pytorch/pytorch/issues/37343"
MEAN = "https://github.com/tensorflow/tensorflow/issues/33588"

CASES = [
    Case(residual_right, "residual", RIGHT, ADD, made=True),
    Case(
        residual_in_real_numbers, "residual", ("calculated_in_real_numbers",), ADD, "In the ADD.", made=True,
        also=(RIGHT, ("calculated_in_real_numbers_float64",)),
    ),
    Case(residual_adds_bytes, "residual", ("add_without_rescaling",), ADD, "A new name: bytes are added.", made=True),
    Case(
        residual_without_zero_points, "residual", ("input_zero_point_missing", "output_zero_point_missing"), ADD,
        "In the ADD.", made=True,
    ),
    Case(residual_truncates, "residual", ("rounding_truncated",), ADD, "In the ADD.", made=True),
    Case(residual_wraps, "residual", ("output_wraps",), ADD, "In the ADD.", made=True),
    Case(
        residual_rounds_both, "residual", ("each_operand_rounded",), ADD,
        "In the ADD both operands are rounded before they are added (a new name).", made=True,
    ),
    Case(mean_rounds_down, "residual", ("rounding_floor",), MEAN, "In the average pool.", made=True),
    Case(mean_as_c_divides, "residual", ("rounding_truncated",), MEAN, "In the average pool.", made=True),
    Case(average_of_what_is_there, "pooled", RIGHT, POOL, made=True),
    Case(
        average_by_the_full_window, "pooled", ("divided_by_full_window",), POOL,
        "The average divides by the full window at the border (a new name).", made=True,
    ),
    Case(average_truncates, "pooled", ("rounding_truncated",), POOL, "In the average pool.", made=True),
    Case(
        maximum_with_zeros, "max_pooled", ("padding_zero",), POOL, "In the maximum: 0 where nothing is.", made=True,
    ),
    Case(softmax_truncates, "classifier", ("rounding_truncated",), SOFTMAX, "In the SOFTMAX.", made=True),
    Case(
        softmax_times_255, "classifier", ("softmax_times_255",), SOFTMAX, "255 for 256 (a new name).", made=True,
        also=(("output_scale_one_over_255",),),
    ),
    Case(softmax_of_integers, "classifier", ("input_scale_missing",), SOFTMAX, "In the SOFTMAX.", made=True),
    Case(softmax_with_wrong_zero, "classifier", ("output_zero_point_missing",), SOFTMAX, "In the SOFTMAX.", made=True),
    Case(no_activation_between, "mlp", ("activation_missing",), PYRTLNET, "In both layers with a ReLU.", made=True),
    Case(
        zero_point_of_the_first_layer, "mlp", ("input_zero_point_of_first_layer",), PYRTLNET,
        "In the second and the third layer (a new name).", made=True,
    ),
    Case(
        input_scale_of_the_first_layer, "mlp", ("input_scale_of_first_layer",), PYRTLNET,
        "In the second and the third layer (a new name).", made=True,
    ),
    Case(bias_after_each_scaling, "mlp", ("bias_after_scaling",), TF + "62640", "In all three layers.", made=True),
    Case(last_layer_has_a_relu, "mlp", ("relu_that_is_not_there",), PYRTLNET, "In the last layer.", made=True),
    Case(
        real_numbers_between_layers, "mlp", ("calculated_in_real_numbers",), TF + "53370", "Next to ties alone.",
        made=True, also=(RIGHT, ("calculated_in_real_numbers_float64",)),
    ),
    Case(cnn_kernel_as_hwio, "cnn", ("kernel_as_hwio",), TF + "53370", "In the convolution.", made=True),
    Case(
        cnn_without_input_zero_point, "cnn", ("input_zero_point_missing",), TF + "49937", "In both layers.", made=True,
        also=(("input_zero_point_missing", "input_zero_point_missing_in_image"),),  # the padding adds nothing
    ),
    Case(softmax_alone_truncates, "softmax", ("rounding_truncated",), SOFTMAX),
    Case(pool_alone_by_the_full_window, "pool", ("divided_by_full_window",), POOL, "A new name."),
    Case(add_alone_truncates, "add", ("rounding_truncated",), ADD),
]  # fmt: skip
