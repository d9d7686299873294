"""Small hybrid and float32 convolutions that several tests begin with."""

import numpy as np

from lab.cases.operators import Case, Operand
from lastbit.model.tflite import load


def hybrid_convolution(
    op="CONV_2D",
    image=(6, 7),
    channels=3,
    units=5,
    kernel=(3, 3),
    stride=1,
    groups=1,
    per_channel=True,
    axis=None,
    zero_point=0,
    bias=True,
    activation="NONE",
    weights=None,
    real=False,
    seed=0,
):
    """A model of one convolution with float32 in and out, int8 weights or (`real`) float32 ones, padding SAME."""
    rng = np.random.default_rng(seed)
    depthwise = op == "DEPTHWISE_CONV_2D"
    shape = (1, *kernel, units) if depthwise else (units, *kernel, channels // groups)
    weights = rng.integers(-127, 128, shape) if weights is None else weights
    scales = rng.uniform(0.01, 0.02, units if per_channel else 1).astype(np.float32)
    along = axis if axis is not None else 3 if depthwise else 0
    stored = Operand(shape, "int8", scales, zero_point, weights, along)
    if real:
        stored = Operand(shape, "float32", data=(weights * 0.01).astype(np.float32))
    options = {
        "padding": "SAME",
        "stride_h": stride,
        "stride_w": stride,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": activation,
    }
    if depthwise:
        options["depth_multiplier"] = units // channels
    operands = [Operand((1, *image, channels), "float32"), stored]
    operands.append(Operand((units,), "float32", data=rng.normal(size=units)) if bias else None)
    output = Operand((1, *(-(-n // stride) for n in image), units), "float32")
    return load(Case(op, operands, [output], [], options, 5).content())
