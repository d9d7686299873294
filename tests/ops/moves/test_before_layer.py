"""What only moves a dense layer's input on its way there, and the mistakes that it invites."""

import numpy as np
import pytest

import lastbit
from lastbit.layers.mistakes import MISTAKES, applicable
from lastbit.model.tflite.synthesize import quant
from lastbit.ops.dense.layer import dense_layer
from lastbit.ops.prepare import prepare_operator
from tests.support.explain_models import flat
from tests.support.models import ModelBuilder

S_X, S_W, S_Y = np.float32(0.02), np.float32(0.01), np.float32(0.1)
ZY = 2
BOTH = {"input_channels_first", "input_transpose_missing"}


class Net:
    """A dense layer behind operators that only move its input, written down step by step.

    Args:
        shape: the model input's shape.
        moves: the operators before the layer: (name, output shape, what it takes as its second input or None).
        dtype: of input, weights and output.
    """

    def __init__(self, shape, moves, dtype="int8", units=5, seed=40, keep_num_dims=False):
        rng = np.random.default_rng(seed)
        self.dtype, self.shape = np.dtype(dtype), shape
        self.zx, self.zw = (-3, 0) if dtype == "int8" else (120, 131)
        depth = moves[-1][1][-1] if moves else shape[-1]
        low, high = (-127, 128) if dtype == "int8" else (0, 256)
        self.w, self.b = rng.integers(low, high, (units, depth)), rng.integers(-400, 400, units)
        build = ModelBuilder()
        x = at = build.tensor(shape, dtype, quant(S_X, self.zx))
        for name, after, constant in moves:
            inputs = [at]
            if constant is not None:
                inputs.append(build.constant(constant, "int32"))
            at = build.operator(name, inputs, [build.tensor(after, dtype, quant(S_X, self.zx))])
        weights = build.constant(self.w, dtype, quant(S_W, self.zw))
        bias = build.constant(self.b, "int32", quant(S_X * S_W))
        out = build.tensor((*build.tensors[at].shape[:-1], units), dtype, quant(S_Y, ZY))
        options = {"fused_activation_function": "NONE", "weights_format": "DEFAULT", "keep_num_dims": keep_num_dims}
        options |= {"asymmetric_quantize_inputs": False, "quantized_bias_type": "float32"}
        self.op = len(build.operators)
        build.operator("FULLY_CONNECTED", [at, weights, bias], [out], version=4, **options)
        self.model = build.model([x], [out])

    def input(self, count, seed=1):
        ends = np.iinfo(self.dtype)
        rng = np.random.default_rng(seed)
        return rng.integers(ends.min, ends.max + 1, (count, *self.shape[1:])).astype(self.dtype)

    def dense(self, x, w=None):
        """The layer in plain NumPy with float32 scaling, of a matrix [rows, depth]."""
        w = self.w.T if w is None else w
        acc = (x.astype(np.int64) - self.zx) @ (w - self.zw) + self.b
        ends = np.iinfo(self.dtype)
        return np.clip(np.rint(acc.astype(np.float32) * (S_X * S_W / S_Y)) + ZY, ends.min, ends.max).astype(self.dtype)

    def layer(self):
        return dense_layer(self.model, self.model.operators[self.op])

    def mistakes(self):
        prepared = prepare_operator(self.model, self.model.operators[self.op], "litert-reference")
        return {mistake.name for mistake in applicable(prepared)}


def channels_first(x):
    return x.transpose(0, 3, 1, 2)


IMAGES = {
    "RESHAPE": Net((1, 3, 2, 4), [("RESHAPE", (1, 24), (1, 24))]),
    "uint8": Net((1, 5, 3, 6), [("RESHAPE", (1, 90), (1, 90))], "uint8", units=3, seed=7),
    "SQUEEZE": Net((1, 1, 4, 3), [("SQUEEZE", (4, 3), None), ("RESHAPE", (1, 12), (1, 12))], seed=8),
    "EXPAND_DIMS": Net(
        (1, 6, 5), [("EXPAND_DIMS", (1, 6, 1, 5), (2,)), ("RESHAPE", (1, 30), (1, 30))], units=9, seed=9
    ),
    "two RESHAPE": Net(
        (1, 4, 3, 2), [("RESHAPE", (1, 12, 2), (1, 12, 2)), ("RESHAPE", (1, 24), (1, 24))], "uint8", seed=10
    ),
}  # fmt: skip


def is_the_one_mistake(report, name):
    assert [found.name for found in report.mistakes] == [name], flat(report)
    text = flat(report)
    assert "This one mistake reproduces all" in text
    assert flat(MISTAKES[name].fix_numpy) in text
    assert flat(MISTAKES[name].fix_c) in text
    assert "do not decide" not in text


@pytest.mark.parametrize("name", IMAGES)
def test_channels_flattened_first_are_named_from_the_models_input_and_from_the_layers(name):
    net = IMAGES[name]
    count = 12 if name != "SQUEEZE" else 1  # a squeezed batch of 1 leaves no dimension for more
    x = net.input(count)
    image = x if x.ndim == 4 else x[:, :, None]
    mine = net.dense(channels_first(image).reshape(count, -1))
    flattened = x.reshape(count, -1)
    for given in (x, {net.layer().input.name: flattened}):
        for op in (None, net.op):
            is_the_one_mistake(lastbit.diagnose(net.model, given, mine, op=op), "input_channels_first")
    right = lastbit.diagnose(net.model, x, net.dense(flattened))
    assert right.verdict == "right"
    in_out = net.dense(flattened, net.w.ravel().reshape(net.w.shape[::-1]))
    assert [m.name for m in lastbit.diagnose(net.model, x, in_out).mistakes] == ["weights_as_in_out"]


def test_a_part_of_the_rows_is_enough():
    net = IMAGES["RESHAPE"]
    x = net.input(12)
    report = lastbit.diagnose(net.model, x, net.dense(channels_first(x).reshape(12, -1))[:7])
    assert [m.name for m in report.mistakes] == ["input_channels_first"]


def test_a_function_that_flattens_channels_first_is_named():
    net = IMAGES["RESHAPE"]

    def dense(x):
        return net.dense(channels_first(x.reshape(-1, 3, 2, 4)).reshape(len(x), -1))

    assert [m.name for m in lastbit.diagnose(net.model, None, dense).mistakes] == ["input_channels_first"]


def test_a_dense_layer_of_each_pixel_may_take_its_image_channels_first():
    net = Net((1, 3, 2, 4), [], keep_num_dims=True)
    x = net.input(6)
    mine = net.dense(channels_first(x).reshape(-1, 4)).reshape(6, 3, 2, 5)
    is_the_one_mistake(lastbit.diagnose(net.model, x, mine), "input_channels_first")


TRANSPOSED = {
    "to channels first": (
        Net((1, 3, 2, 4), [("TRANSPOSE", (1, 4, 3, 2), (0, 3, 1, 2)), ("RESHAPE", (1, 24), (1, 24))]), (0, 3, 1, 2),
    ),
    "to channels last": (
        Net((1, 4, 3, 2), [("TRANSPOSE", (1, 3, 2, 4), (0, 2, 3, 1)), ("RESHAPE", (1, 24), (1, 24))], "uint8", seed=3),
        (0, 2, 3, 1),
    ),
    "of height and width": (
        Net(
            (1, 30), [
                ("RESHAPE", (1, 5, 3, 2), (1, 5, 3, 2)), ("TRANSPOSE", (1, 3, 5, 2), (0, 2, 1, 3)),
                ("RESHAPE", (1, 30), (1, 30)),
            ], units=7, seed=4,
        ),
        (0, 2, 1, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposition_that_was_left_out_is_named(name):
    net, order = TRANSPOSED[name]
    before = net.model.tensors[next(op for op in net.model.operators if op.name == "TRANSPOSE").inputs[0]].shape
    x = net.input(12)
    flattened = x.reshape(12, *before[1:]).transpose(order).reshape(12, -1)
    mine = net.dense(x.reshape(12, -1))
    for given in (x, {net.layer().input.name: flattened}):
        is_the_one_mistake(lastbit.diagnose(net.model, given, mine), "input_transpose_missing")
    assert lastbit.diagnose(net.model, x, net.dense(flattened)).verdict == "right"


def test_what_moves_nothing_invites_no_mistake():
    flat_input = Net((1, 24), [])
    one_channel = Net((1, 3, 8, 1), [("RESHAPE", (1, 24), (1, 24))])
    one_pixel = Net((1, 1, 1, 24), [("RESHAPE", (1, 24), (1, 24))])
    same = Net((1, 1, 8, 3), [("TRANSPOSE", (1, 8, 1, 3), (0, 2, 1, 3)), ("RESHAPE", (1, 24), (1, 24))])
    back = Net((1, 3, 8), [
        ("TRANSPOSE", (1, 8, 3), (0, 2, 1)), ("TRANSPOSE", (1, 3, 8), (0, 2, 1)), ("RESHAPE", (1, 24), (1, 24)),
    ])  # fmt: skip
    assert [net.mistakes() & BOTH for net in (flat_input, one_channel, one_pixel)] == [set()] * 3
    assert same.mistakes() & BOTH == back.mistakes() & BOTH == {"input_channels_first"}
    # Across samples: no order within each.
    across = Net((2, 3, 4), [("TRANSPOSE", (3, 2, 4), (1, 0, 2)), ("RESHAPE", (2, 12), (2, 12))])
    assert across.layer().transposed is None


def test_the_shape_before_the_layer_is_the_one_with_most_dimensions():
    assert IMAGES["two RESHAPE"].layer().sample == (4, 3, 2)
    assert IMAGES["SQUEEZE"].layer().sample == (4, 3)
    assert Net((1, 7), []).layer().sample == (7,)
    assert Net((3, 2, 4), [("RESHAPE", (1, 24), (1, 24))]).layer().sample == (3, 2, 4)
