"""diagnose of hybrid and float32 convolutions: plain loops, with one mistake and without."""

import json

import numpy as np
import pytest

import lastbit
from lastbit.layers.mistakes.hybrid import FLOAT_WINDOWS, HYBRID_WINDOWS
from lastbit.model.errors import InputError, UnsupportedError
from tests.support.hybrid_models import hybrid_convolution
from tests.support.places import MODELS, needs_shared_models

PADS = ((0, 1), (1, 1))
MODEL = hybrid_convolution(stride=2, activation="RELU6")
REAL = hybrid_convolution(stride=2, real=True)
X = np.random.default_rng(3).normal(size=(2, 6, 7, 3)).astype(np.float32) * 3


def names(report):
    return [mistake.name for mistake in report.mistakes]


def convolved(x, w, pads=PADS, fill=0.0):
    """Sums of products, window by window, stride 2."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    kh, kw = w.shape[1:3]
    height, width = (x.shape[1] - kh) // 2 + 1, (x.shape[2] - kw) // 2 + 1
    y = np.zeros((len(x), height, width, len(w)))
    for i in range(height):
        for j in range(width):
            window = x[:, 2 * i : 2 * i + kh, 2 * j : 2 * j + kw]
            y[:, i, j] = np.tensordot(window, w, ([1, 2, 3], [1, 2, 3]))
    return y


def numbers(model):
    op = model.operators[0]
    w, bias = model.operand(op, 1), model.operand(op, 2).data.astype(np.float64)
    return w.data, None if w.quant is None else w.quant.scale.astype(np.float64), bias


def quantized(x):
    """Each image between its two ends, less its zero point; a step's worth; the zero point."""
    ends = x.reshape(len(x), -1).astype(np.float64)
    low, high = np.minimum(ends.min(1), 0), np.maximum(ends.max(1), 0)
    scale = ((high - low) / 255)[:, None, None, None]
    zero = np.rint(-128 - low[:, None, None, None] / scale)
    return np.clip(np.rint(x / scale) + zero, -128, 127) - zero, scale, zero


def hybrid(change=None, act=True, **options):
    w, s_w, bias = numbers(MODEL)
    q, s_x, _ = quantized(X)
    y = convolved(q, w if change is None else change(w), **options) * (s_x * s_w) + bias
    return (np.clip(y, 0, 6) if act else y).astype(np.float32)


def real(change=None, **options):
    w, _, bias = numbers(REAL)
    return (convolved(X, w if change is None else change(w), **options) + bias).astype(np.float32)


KERNELS = [
    ([], None),
    (["kernel_flipped"], lambda w: w[:, ::-1, ::-1]),
    (["kernel_as_hwio"], lambda w: w.reshape(3, 3, 3, 5).transpose(3, 0, 1, 2)),
    (["kernel_as_oihw"], lambda w: w.reshape(5, 3, 3, 3).transpose(0, 2, 3, 1)),
    (["kernel_transposed"], lambda w: w.reshape(5, 3, 3, 3).transpose(0, 2, 1, 3)),
]


@pytest.mark.parametrize(("wanted", "change"), KERNELS)
def test_kernels_that_are_laid_out_otherwise_are_named(wanted, change):
    for model, mine in ((MODEL, hybrid(change)), (REAL, real(change))):
        report = lastbit.diagnose(model, X, mine)
        assert names(report) == wanted
        assert report.verdict == ("mistakes" if wanted else "form")


def test_windows_that_begin_elsewhere_are_named():
    for model, made in ((MODEL, hybrid), (REAL, real)):
        assert names(lastbit.diagnose(model, X, made(pads=((1, 0), (1, 1))))) == ["padding_same_wrong_side"]
        assert names(lastbit.diagnose(model, X, made(pads=((0, 1), (0, 2))))) == ["padding_all_behind"]


def test_an_output_with_its_channels_first_is_named():
    for model, mine in ((MODEL, hybrid()), (REAL, real())):
        turned = mine.transpose(0, 3, 1, 2).reshape(mine.shape)
        assert names(lastbit.diagnose(model, X, turned)) == ["output_channels_first"]


def test_pixels_that_are_quantized_alone_and_an_image_that_is_stored_as_nchw():
    """XNNPACK quantizes every pixel for itself, where windows have one tap."""
    model = hybrid_convolution(kernel=(1, 1), units=4)
    w, s_w, bias = numbers(model)
    image = X.transpose(0, 3, 1, 2).reshape(2, 6, 7, 3)
    pixels = image.reshape(-1, 3).astype(np.float64)
    low, high = np.minimum(pixels.min(1), 0), np.maximum(pixels.max(1), 0)
    scale = ((high - low) / 255)[:, None]
    zero = np.rint(-128 - low[:, None] / scale)
    q = np.clip(np.rint(pixels / scale) + zero, -128, 127) - zero
    mine = (q @ w.reshape(4, 3).T.astype(float)) * (scale * s_w) + bias
    report = lastbit.diagnose(model, X, mine.reshape(2, 6, 7, 4).astype(np.float32))
    assert names(report) == ["image_stored_as_nchw"]


def test_where_the_wrong_elements_lie_is_told():
    for model, mine in ((MODEL, hybrid()), (REAL, real())):
        channel, column = mine.copy(), mine.copy()
        channel[..., 3] += 1
        column[:, :, -1] -= 1
        assert "The wrong elements lie only in channel 3." in str(lastbit.diagnose(model, X, channel, most=0))
        report = lastbit.diagnose(model, X, column, most=0)
        assert report.places == ("only in the last column",)
        assert json.loads(report.json())["places"] == ["only in the last column"]


def test_what_a_runtime_prints_is_right():
    for runtime in ("litert-xnnpack", "litert-builtin", "litert-reference"):
        report = lastbit.diagnose(MODEL, X, lastbit.run(MODEL, X, runtime=runtime).output)
        assert report.verdict == "right"
    for runtime in ("litert-xnnpack", "litert-reference"):
        assert lastbit.diagnose(REAL, X, lastbit.run(REAL, X, runtime=runtime).output).verdict == "right"


def test_mistakes_of_quantizing_images_are_named():
    w, s_w, bias = numbers(MODEL)
    q, s_x, zero = quantized(X)
    assert names(lastbit.diagnose(MODEL, X, hybrid(act=False))) == ["activation_missing"]
    assert names(lastbit.diagnose(MODEL, X, np.clip(convolved(X, w) * s_w + bias, 0, 6))) == [
        "hybrid_input_not_quantized"
    ]
    padded = [convolved(q[n : n + 1], w, fill=-float(zero[n, 0, 0, 0])) for n in range(2)]
    y = np.clip(np.concatenate(padded) * (s_x * s_w) + bias, 0, 6)
    report = lastbit.diagnose(MODEL, X, y.astype(np.float32))
    assert names(report) == ["padding_zero"]
    assert "stands for the real 0" in str(report)
    scale = np.abs(X).reshape(2, -1).max(1)[:, None, None, None] / np.float32(127)
    y = np.clip(convolved(np.trunc(X / scale), w) * (scale * s_w) + bias, 0, 6)
    assert names(lastbit.diagnose(MODEL, X, y)) == ["hybrid_input_truncated"]
    y = np.clip(convolved(q.reshape(2, 3, 6, 7).transpose(0, 2, 3, 1), w) * (s_x * s_w) + bias, 0, 6)
    assert names(lastbit.diagnose(MODEL, X, y)) == ["image_read_as_nchw"]


def test_depthwise_layers_and_their_layout():
    model = hybrid_convolution("DEPTHWISE_CONV_2D", channels=4, units=8)
    x = np.random.default_rng(0).normal(size=(1, 6, 7, 4)).astype(np.float32)
    w, s_w, bias = numbers(model)
    q, s_x, _ = quantized(x)
    q = np.pad(q, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def depthwise(w, order):
        y = np.zeros((1, 6, 7, 8))
        for o in range(8):
            for i in range(3):
                for j in range(3):
                    y[..., o] += q[:, i : i + 6, j : j + 7, order(o)] * w[i, j, o]
        return y * (s_x * s_w) + bias

    assert lastbit.diagnose(model, x, depthwise(w[0].astype(float), lambda o: o // 2)).verdict == "form"
    wrong = depthwise(w[0].astype(float), lambda o: o % 4)
    assert names(lastbit.diagnose(model, x, wrong)) == ["depthwise_multiplier_order"]
    wrong = depthwise(w.ravel().reshape(8, 3, 3).transpose(1, 2, 0).astype(float), lambda o: o // 2)
    assert names(lastbit.diagnose(model, x, wrong)) == ["depthwise_layout"]


def test_a_function_gets_images_and_the_kernel_as_stored():
    def mine(x, weights, bias, scale):
        assert weights.shape == (5, 3, 3, 3)
        return np.clip(convolved(x, weights) * scale + bias, 0, 6)

    report = lastbit.diagnose(MODEL, None, mine)
    assert names(report) == ["hybrid_input_not_quantized"]
    assert "3 images chosen" in report.input_source
    assert lastbit.diagnose(REAL, None, lambda x, w, b: convolved(x, w) + b).verdict == "form"
    with pytest.raises(InputError, match=r"found|wanted float32 with \[2, 3, 4, 5\]; that is what"):
        lastbit.diagnose(MODEL, X, np.zeros((2, 6, 7, 5), np.float32))
    noise = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    report = lastbit.diagnose(MODEL, X, noise, most=1)
    assert report.verdict == "unexplained"
    assert report.in_short()[0] == "No set of known mistakes fits every element."


@needs_shared_models
def test_a_layer_in_a_network_gets_what_each_runtime_makes_of_the_models_input():
    """MLPerf Tiny's keyword spotter with dynamic range: five hybrid convolutions between depthwise ones in float32."""
    model = lastbit.load(MODELS / "more" / "mlt_kws_float32.tflite")
    x = np.random.default_rng(0).normal(size=model.inputs[0].shape).astype(np.float32)
    for runtime in ("litert-builtin-x86", "litert-reference"):
        printed = lastbit.run(model, x, runtime=runtime, partial=True).tensors
        for op in (2, 3):
            mine = printed[model.operators[op].outputs[0]]
            report = lastbit.diagnose(model, x, mine, op=op)
            assert report.verdict == "right"
            assert runtime in report.explanations[0].runtimes
            whole = lastbit.diagnose(model, x, mine)  # without op it is found by its shape and its values
            assert (whole.verdict, whole.layer) == ("right", model.operators[op].label)
    with pytest.raises(UnsupportedError, match=r"diagnosed one by one, not as a network[\s\S]*operator 3 DEPTHWISE"):
        lastbit.diagnose(model, x, {"a": mine, "b": mine})


def test_the_one_parameter_of_a_function_is_the_input_whatever_its_name():
    w, _, bias = numbers(REAL)
    assert lastbit.diagnose(REAL, None, lambda q: convolved(q, w) + bias).verdict == "form"  # q is a multiplier, else
    with pytest.raises(InputError, match=r"test_float_convolutions\.py:\d+: ZeroDivisionError"):
        lastbit.diagnose(MODEL, None, lambda q: 1 // 0)


def test_large_images_are_searched_by_some_of_their_windows():
    model = hybrid_convolution(image=(60, 50), stride=1)
    x = np.random.default_rng(1).normal(size=(1, 60, 50, 3)).astype(np.float32)
    right = lastbit.run(model, x, runtime="litert-builtin-x86").output
    nearly = right.copy()
    nearly[0, 30, 20, 1] += 1  # one wrong element is not lost among them
    assert lastbit.diagnose(model, x, nearly, most=1).verdict == "unexplained"
    bias = model.operand(model.operators[0], 2).data
    report = lastbit.diagnose(model, x, right - bias)
    assert names(report) == ["bias_missing"]
    assert json.loads(report.json())["explanations"][0]["mistakes"][0]["name"] == "bias_missing"


def test_the_catalogues_have_the_mistakes_of_convolutions():
    for known in (HYBRID_WINDOWS, FLOAT_WINDOWS):
        assert {"kernel_flipped", "padding_same_wrong_side", "dilation_ignored", "depthwise_layout"} <= set(known)
        assert not {"weights_as_in_out", "weights_reversed"} & set(known)
    assert "padding_zero" not in FLOAT_WINDOWS


def test_steps_of_integer_layers_are_refused_in_words():
    right = lastbit.run(MODEL, X).output
    with pytest.raises(InputError, match=r"CONV_2D prints float32: acc and scaled are steps of layers"):
        lastbit.diagnose(MODEL, X, right, acc=np.zeros((24, 5), np.int32))
    shown = lastbit.inspect(MODEL).as_dict()["convolutions"][0]
    assert (shown["channels"], shown["taps"], shown["constants"]) == (5, 27, None)
