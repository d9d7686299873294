"""A uint8 segmentation network like DeepLab on MobileNet V2, of any size: 65 operators, most of them convolutions."""

import math

import numpy as np

from lastbit.model.tflite.synthesize import quant
from tests.support.models import ModelBuilder

__all__ = ["segmentation_model"]

# (expansion, channels, blocks, stride, dilation) of MobileNet V2's inverted bottlenecks.
BOTTLENECKS = (
    *((1, 16, 1, 1, 1), (6, 24, 2, 2, 1), (6, 32, 3, 2, 1), (6, 64, 4, 2, 1)),
    *((6, 96, 3, 1, 1), (6, 160, 3, 1, 2), (6, 320, 1, 1, 2)),
)
CLASSES = 21


def segmentation_model(size=513, seed=0, dtype="uint8"):
    """The network for `[1, size, size, 3]` images; its output is `[1, about size / 16, about size / 16, 21]`.

    Args:
        size: height and width of the image.
        seed: of the weights.
        dtype: `uint8`, or `int8` with one scale of weights for each channel.
    """
    net = _Network(seed, dtype)
    image = net.values("image", (1, size, size, 3))
    x = net.convolution(image, 32, size=3, stride=2)
    for expansion, channels, blocks, stride, dilation in BOTTLENECKS:
        for block in range(blocks):
            x = _bottleneck(net, x, expansion, channels, stride if block == 0 else 1, dilation)
    return net.model([image], [_head(net, x)])


def _bottleneck(net, x, expansion, channels, stride, dilation):
    start = x
    if expansion > 1:
        x = net.convolution(x, expansion * net.shape(x)[3])
    x = net.depthwise(x, stride, dilation)
    x = net.convolution(x, channels, activation="NONE")
    return net.add(start, x) if net.shape(start) == net.shape(x) else x


def _head(net, x):
    """The pooled features beside those of each place, then classes."""
    return net.convolution(net.convolution(net.pool(x), 256), CLASSES, activation="NONE")


class _Network(ModelBuilder):
    """The layers of the network, with random weights."""

    def __init__(self, seed, dtype):
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.dtype, self.numpy = dtype, np.dtype(dtype)
        self.low, self.high = (0, 255) if dtype == "uint8" else (-128, 127)

    def values(self, name, shape, data=None, scale=6 / 255, zero_point=None, dtype=None, axis=0):
        zero_point = self.low if zero_point is None else zero_point
        return self.tensor(shape, dtype or self.dtype, quant(scale, zero_point, axis), data, name)

    def shape(self, index):
        return self.tensors[index].shape

    def step(self, name, version, inputs, shape, zero_point=None, **options):
        output = self.values(f"{name}_{len(self.operators)}", shape, zero_point=zero_point)
        return self.operator(name, inputs, [output], version=version, **options)

    def weights(self, shape, depth, channels, axis):
        """Random weights and a bias, scaled so that outputs are spread over the output's range."""
        if self.dtype == "uint8":
            values, zero_point = self.rng.integers(1, 256, shape).astype(np.uint8), 128
            scale = [1 / (74 * math.sqrt(depth))]
        else:
            values, zero_point = self.rng.integers(-127, 128, shape).astype(np.int8), 0
            scale = self.rng.uniform(0.5, 1.5, channels) / (74 * math.sqrt(depth))
        kernel = self.values("weights", shape, values, scale, zero_point, axis=axis)
        bias = self.rng.integers(-2000, 2000, channels).astype(np.int32)
        scales = np.asarray(scale, np.float32) * np.float32(6 / 255)
        return kernel, self.values("bias", (channels,), bias, scales, 0, "int32")

    def convolution(self, x, channels, size=1, stride=1, activation="RELU6"):
        n, h, w, depth = self.shape(x)
        operands = self.weights((channels, size, size, depth), size * size * depth, channels, 0)
        shape = (n, -(-h // stride), -(-w // stride), channels)
        options = {"padding": "SAME", "stride_w": stride, "stride_h": stride, "fused_activation_function": activation}
        zero_point = None if activation == "RELU6" else self.low + 128
        return self.step("CONV_2D", 3, (x, *operands), shape, zero_point, **options)

    def depthwise(self, x, stride, dilation):
        n, h, w, channels = self.shape(x)
        operands = self.weights((1, 3, 3, channels), 9, channels, 3)
        steps = {"stride_w": stride, "stride_h": stride, "depth_multiplier": 1}
        dilations = {"dilation_w_factor": dilation, "dilation_h_factor": dilation}
        options = {"padding": "SAME", "fused_activation_function": "RELU6", **steps, **dilations}
        return self.step(
            "DEPTHWISE_CONV_2D", 3, (x, *operands), (n, -(-h // stride), -(-w // stride), channels), **options
        )

    def add(self, first, second):
        return self.step("ADD", 2, (first, second), self.shape(first), self.low + 128)

    def pool(self, x):
        n, h, w, channels = self.shape(x)
        zero_point = int(self.tensors[x].quant.zero_point[0])
        options = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "filter_width": 3, "filter_height": 3}
        return self.step("AVERAGE_POOL_2D", 2, (x,), (n, h, w, channels), zero_point, **options)
