"""Small convolutions that many tests begin with."""

import numpy as np

from lab.cases.operators import Case, Operand
from lastbit.model.tflite import load


def make_convolution(
    op="CONV_2D",
    image=(6, 7),
    channels=3,
    units=4,
    kernel=(3, 3),
    stride=1,
    dilation=1,
    padding="SAME",
    dtype="int8",
    per_channel=True,
    activation="NONE",
    zero_points=(-5, 3),
    seed=0,
    power_of_two=False,
):
    """A model of one convolution with random weights and a bias; outputs are spread over their range."""
    rng = np.random.default_rng(seed)
    depthwise = op == "DEPTHWISE_CONV_2D"
    taps = kernel[0] * kernel[1] * (1 if depthwise else channels)
    shape = (1, *kernel, units) if depthwise else (units, *kernel, channels)
    wide = dtype == "int16"
    weights_type = "uint8" if dtype == "uint8" else "int8"
    info = np.iinfo(weights_type)
    zw = 121 if dtype == "uint8" else 0
    zx, zy = (0, 0) if wide else zero_points if dtype == "int8" else (zero_points[0] + 128, zero_points[1] + 128)
    weights = rng.integers(info.min, info.max + 1, shape)
    s_w = rng.uniform(0.002, 0.01, units if per_channel and dtype != "uint8" else 1).astype(np.float32)
    if power_of_two:  # products are whole numbers of half steps, so that there are ties
        s_w = np.exp2(np.round(np.log2(s_w)))
    s_x, s_y = 0.02, float(0.02 * s_w.mean() * 70 * taps**0.5)
    if power_of_two:
        s_x, s_y = 2.0**-6, float(np.exp2(np.round(np.log2(s_y))))
    dilations = (dilation, dilation) if isinstance(dilation, int) else dilation
    outputs = [
        -(-n // stride) if padding == "SAME" else (n - (k - 1) * d - 1) // stride + 1
        for n, k, d in zip(image, kernel, dilations, strict=True)
    ]
    options = {
        "padding": padding,
        "stride_h": stride,
        "stride_w": stride,
        "dilation_h_factor": dilations[0],
        "dilation_w_factor": dilations[1],
        "fused_activation_function": activation,
    }
    if depthwise:
        options["depth_multiplier"] = units // channels
    case = Case(
        op,
        [
            Operand((1, *image, channels), dtype, s_x, zx),
            Operand(shape, weights_type, s_w, zw, weights, 3 if depthwise else 0),
            Operand((units,), "int64" if wide else "int32", np.float32(s_x) * s_w, 0, rng.integers(-4000, 4000, units)),
        ],
        [Operand((1, *outputs, units), dtype, s_y, zy)],
        [],
        options,
        {"int8": 3, "uint8": 2, "int16": 4}[dtype],
    )
    return load(case.content())


def random_images(model, count=1, seed=1):
    """Images over the whole range of the input's type."""
    info = np.iinfo(model.inputs[0].dtype.numpy)
    shape = (count, *model.inputs[0].shape[1:])
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(info.dtype)
