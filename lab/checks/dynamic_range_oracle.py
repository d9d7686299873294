"""Random float models and what TFLiteConverter makes of them without data: dynamic range, and float16.

Usage: PYTHON lab/checks/dynamic_range_oracle.py FOLDER FIRST LAST [KIND...]

PYTHON has a TensorFlow; nothing of LastBit is needed. For each seed it writes FOLDER/SEED.tflite (the converter's float
file), FOLDER/dynamic/SEED.tflite and FOLDER/float16/SEED.tflite; KIND names some of float, dynamic, float16. A model
has 20 to 50 operators: dense layers, convolutions, products of batches and lookups with constants of fewer and of more
than 1,024 elements, some of them shared, and what stands between them. Weights are near ties, tiny, huge, denormal, of
one sign, or all zero.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

SIZES = (4, 8, 16, 31, 32, 33, 64)


class Maker:
    """Builds one model while TensorFlow traces it."""

    def __init__(self, rng):
        self.rng = rng
        self.values = []
        self.unread = []
        self.constants = []
        self.count = 0

    def add(self, value):
        """Keep a value for later operators."""
        self.values.append(value)
        self.unread.append(value)
        self.count += 1
        return value

    def pick(self, rank):
        """A value of a rank, preferably one that nothing has read."""
        fresh = [value for value in self.unread if len(value.shape) == rank]
        if fresh and self.rng.random() < 0.8:
            value = fresh[int(self.rng.integers(len(fresh)))]
        else:
            fit = [value for value in self.values if len(value.shape) == rank]
            value = fit[int(self.rng.integers(len(fit)))]
        self.unread = [other for other in self.unread if other is not value]
        return value

    def weights(self, shape, axis):
        """Weights, at times those of an operator before; near the ties of their own scale, or strange."""
        rng = self.rng
        same = [array for array in self.constants if array.shape == tuple(shape)]
        if same and rng.random() < 0.3:
            return same[int(rng.integers(len(same)))]
        values = rng.normal(size=shape).astype(np.float32) * np.float32(np.exp(rng.normal() * 2))
        if rng.random() < 0.7:
            for channel in np.moveaxis(values, axis, 0):
                strange(rng, channel)
        elif rng.random() < 0.6:
            strange(rng, values)
        self.constants.append(values)
        return values


def strange(rng, values):
    """Change values in place to what is near a tie, tiny, huge, denormal, of one sign or zero."""
    kind = rng.integers(8)
    top = np.float32(np.exp(rng.uniform(-12, 8)))
    if kind in (0, 1):
        ties = (rng.integers(-127, 127, values.shape) + 0.5).astype(np.float32) * (top / np.float32(127))
        moved = (ties.view(np.int32) + rng.integers(-2, 3, values.shape)).astype(np.int32).view(np.float32)
        values[...] = np.clip(moved, -top, top)
        values.flat[0] = top * rng.choice([-1, 1])
    elif kind == 2:
        values[...] = 0
    elif kind == 3:
        values[...] = np.float32(rng.choice([1e-9, -1e-9, 1e-30, 1e-41, 4e-7, 6e-7, -2.0]))
    elif kind == 4:
        values[...] = np.abs(values)
    elif kind == 5:
        values[...] = -np.abs(values) * np.float32(np.exp(rng.uniform(-30, 10)))
    elif kind == 6:
        values[...] *= np.float32(1e-41)


def finish(make, value, units):
    """Bias and activation, at times."""
    rng = make.rng
    if rng.random() < 0.7:
        value = tf.nn.bias_add(value, rng.normal(size=units).astype(np.float32))
    kind = rng.integers(4)
    if kind < 2:
        value = (tf.nn.relu, tf.nn.relu6)[kind](value)
    make.add(value)


def dense(make):
    """MatMul with a constant."""
    source = make.pick(2)
    depth, units = int(source.shape[1]), int(make.rng.choice(SIZES))
    finish(make, tf.matmul(source, make.weights((depth, units), 1)), units)


def conv(make):
    """Conv2D, depthwise or transposed."""
    source = make.pick(4)
    rng, depth = make.rng, int(source.shape[3])
    kind, side = rng.integers(3), int(rng.integers(1, 4))
    if kind == 0:
        units = int(rng.choice(SIZES))
        finish(make, tf.nn.conv2d(source, make.weights((side, side, depth, units), 3), 1, "SAME"), units)
    elif kind == 1:
        times = 2 if depth < 40 and rng.random() < 0.4 else 1
        filters = make.weights((side + 2, side + 2, depth, times), 2)
        finish(make, tf.nn.depthwise_conv2d(source, filters, [1, 1, 1, 1], "SAME"), depth * times)
    else:
        units = int(rng.choice(SIZES[:5]))
        shape = [int(source.shape[0]), int(source.shape[1]) * 2, int(source.shape[2]) * 2, units]
        if shape[1] > 16:
            return
        filters = make.weights((side, side, units, depth), 2)
        finish(make, tf.nn.conv2d_transpose(source, filters, shape, 2, "SAME"), units)


def batches(make):
    """BatchMatMul with a constant of two or three dimensions, on either side, or of two values."""
    source = make.pick(3)
    rng = make.rng
    batch, rows, depth = (int(part) for part in source.shape)
    kind, units = rng.integers(4), int(rng.choice(SIZES))
    if kind == 0:
        make.add(tf.matmul(source, make.weights((batch, depth, units), 0)))
    elif kind == 1:
        make.add(tf.matmul(source, make.weights((depth, units), 1)))
    elif kind == 2 and units * depth < 3000:
        make.add(tf.matmul(make.weights((batch, units, rows), 0), source))
    else:
        make.add(tf.matmul(source, source, transpose_b=True))


# The converter knows a function of this name as EMBEDDING_LOOKUP.
@tf.function(experimental_implements="embedding_matmul")
def embed(table, indices):
    """Rows of a table."""
    return tf.gather(table, indices)


def lookup(make, indices):
    """Gather of rows of a constant, fewer or more than it has; or an embedding."""
    rng = make.rng
    table = make.weights((int(rng.choice((16, 40, 64))), int(rng.choice(SIZES))), 0)
    which = int(rng.integers(3))
    if which == 2:
        make.add(embed(tf.constant(table), indices[0]))
    else:
        make.add(tf.gather(table, indices[which]))


def between(make):
    """An operator without weights, or with a constant operand that is not a constant."""
    rng = make.rng
    rank = int(rng.choice([2, 3, 4]))
    source = make.pick(rank)
    kind = rng.integers(8)
    if kind == 0:
        make.add(tf.nn.softmax(source))
    elif kind == 1:
        make.add((tf.nn.tanh, tf.nn.sigmoid, tf.nn.leaky_relu)[int(rng.integers(3))](source))
    elif kind in (2, 3):
        shape = source.shape[1:] if rng.random() < 0.5 else source.shape[-1:]
        value = rng.normal(size=[int(part) for part in shape]).astype(np.float32)
        make.add((tf.add, tf.multiply, tf.subtract)[int(rng.integers(3))](source, value))
    elif kind == 4 and rank == 4:
        size = int(np.prod([int(part) for part in source.shape[1:]]))
        if size <= 256:
            make.add(tf.reshape(source, [1, size]))
    elif kind == 5 and rank == 4 and int(source.shape[1]) > 2:
        make.add(tf.nn.max_pool2d(source, 2, 2, "VALID"))
    elif kind == 6 and rank == 2 and int(source.shape[1]) in (16, 32, 64):
        make.add(tf.reshape(source, [int(source.shape[0]), 4, int(source.shape[1]) // 4]))
    elif kind == 7 and int(source.shape[-1]) <= 64:
        make.add(tf.concat([source, tf.nn.relu(source)], -1))


def build(seed):
    """The concrete function of a seed."""
    rng = np.random.default_rng(seed)
    shapes = [(1, 4, 4, int(rng.choice(SIZES))), (1, int(rng.choice(SIZES))), (2, 3, int(rng.choice(SIZES)))]
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes] + [
        tf.TensorSpec((5,), tf.int32),
        tf.TensorSpec((50,), tf.int32),
    ]
    wanted = int(rng.integers(20, 51))

    def model(*inputs):
        make = Maker(rng)
        for value in inputs[:3]:
            make.add(value)
        make.count = 0
        for _ in range(400):
            if make.count >= wanted:
                break
            part = int(rng.choice(6, p=[0.27, 0.27, 0.14, 0.08, 0.12, 0.12]))
            if part == 3:
                lookup(make, inputs[3:])
            else:
                (dense, conv, batches, None, between, between)[part](make)
        return [value for value in make.unread if not any(value is given for given in inputs)]

    return tf.function(model, input_signature=signature).get_concrete_function()


def convert(function, kind):
    """The converter's file."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def main():
    """Write the files of some seeds."""
    folder = Path(sys.argv[1])
    places = {"float": folder, "dynamic": folder / "dynamic", "float16": folder / "float16"}
    for seed in range(int(sys.argv[2]), int(sys.argv[3])):
        function = build(seed)
        for kind in sys.argv[4:] or places:
            place = places[kind]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{seed:06}.tflite").write_bytes(convert(function, kind))


if __name__ == "__main__":
    main()
