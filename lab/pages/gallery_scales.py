"""The second generated part of docs/gallery.md: public questions about scales, put to `lastbit quantize` and `inspect`.

Every number is calculated when `lab/pages/update.py` runs. Models that threads leave out are replaced by small layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

import lastbit
from lab.cases.quantize_maker import Maker
from lastbit.model.graph import Model, Subgraph
from lastbit.model.tflite import write
from lastbit.model.tflite.synthesize import dense_subgraph, quant

__all__ = ["QUESTIONS", "Question", "page"]

Floats = npt.NDArray[np.float32]
_ISSUES = "https://github.com/tensorflow/tensorflow/issues/"


@dataclass(frozen=True)
class Question:
    """One public question.

    Attributes:
        title: what it is called here.
        urls: where it was asked.
        facts: what was asked.
        used: what was run.
        answer: what came out, calculated on demand.
    """

    title: str
    urls: tuple[str, ...]
    facts: str
    used: str
    answer: Callable[[], str]


def _dense(weights: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> bytes:
    """A float32 file of one dense layer: input x, weights w, bias b, output y."""
    make, array = Maker(0), np.asarray(weights, np.float32)
    x, w = make.tensor((1, array.shape[1])), make.constant(array)
    b = -1 if bias is None else make.constant(np.asarray(bias, np.float32))
    y = make.op("FULLY_CONNECTED", [x, w, b], [(1, array.shape[0])])
    return write(Subgraph("main", tuple(make.tensors), tuple(make.operators), (x,), (y,)))


def _limits(content: bytes, first: tuple[float, float], last: tuple[float, float]) -> Mapping[int, Any]:
    """The ranges of a model's input and output."""
    model = lastbit.load(content)
    return {model.inputs[0].index: first, model.outputs[0].index: last}


def _weights(model: Model) -> Any:
    """The weights of a model's dense layer, as a tensor."""
    return model.tensors[model.dense_operators[0].inputs[1]]


def _params(quantized: Any) -> str:
    return f"scale {quantized.scale[0]:.9g}, zero point {quantized.zero_point[0]}"


def _zero_points() -> str:
    content = _dense(np.ones((2, 4)))
    lines = []
    for low, high in ((0, 6), (-1, 1), (-0.1, 3.3), (0.5, 1.5)):
        made = lastbit.quantize(content, ranges=_limits(content, (low, high), (-3, 5)), io="int8")
        lines.append(f"- {low} to {high}: {_params(made.inputs[0].quant)}")
    return "\n".join(["Ranges of an input, and what the file has:", "", *lines])


def _images() -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4))
    pixels[0, :2] = 0, 255
    ways = {"0 to 255": pixels, "0 to 1": pixels / 255, "-1 to 1": pixels / 127.5 - 1, "all 0": pixels * 0}
    lines = []
    for name, samples in ways.items():
        data: Floats = samples.astype(np.float32)
        made = lastbit.quantize(_dense(np.ones((2, 4))), data, io="uint8", calibrator="lastbit")
        lines.append(f"- samples of {name}: {_params(made.inputs[0].quant)}")
    return "\n".join(["The uint8 input of the file:", "", *lines])


def _extremes() -> str:
    weights = np.random.default_rng(1).normal(size=(500, 400))
    weights[:, 0] = -np.abs(weights).max(axis=1)
    content = _dense(weights)
    data = _weights(lastbit.quantize(content, ranges=_limits(content, (-1, 1), (-3, 5)))).data
    return (
        f"{data.size:,} integers from {data.min()} to {data.max()}: {(data == -127).sum()} are -127, and "
        f"{(data == -128).sum()} are -128. `lastbit inspect` says of a file's weights of -128 who takes them."
    )


def _large_bias() -> str:
    old = dense_subgraph(
        np.array([[12, -127], [127, 5]]),
        input_quant=quant(0.0235, -128),
        weights_quant=quant([0.01, 1e-12], 0),
        output_quant=quant(0.1, 0),
        bias=np.array([500, -2147483647]),
    )
    found = lastbit.inspect(lastbit.load(write(old))).data["specification"][0]["text"]
    content = _dense([[0.5, -1.27], [1e-10, 1e-11]], [1.5, -50])
    made = lastbit.quantize(content, ranges=_limits(content, (0, 6), (-60, 5)))
    bias = made.tensors[made.dense_operators[0].inputs[2]]
    assert bias.data is not None
    assert bias.quant is not None
    value, scale = int(bias.data[1]), float(bias.quant.scale[1])
    return (
        f"Of a file with such a bias `inspect` says: *{found}.* A converter of today widens the weights' scale with "
        f"the bias's. A float bias of -50 above weights of 1e-10 becomes {value} with the scale {scale:.9g}, which is "
        f"{value * scale:.6g}."
    )


def _small_weights() -> str:
    lines = []
    for units, depth in ((31, 33), (32, 32)):
        content = _dense(np.random.default_rng(2).normal(size=(units, depth)))
        alone = _weights(lastbit.quantize(content)).dtype.name
        ranged = _weights(lastbit.quantize(content, ranges=_limits(content, (-1, 1), (-3, 5)))).dtype.name
        lines.append(f"- {units} x {depth} = {units * depth:,} weights: {alone} without data, {ranged} with data")
    return "\n".join(["The type of a dense layer's weights:", "", *lines])


def _only_a_file() -> str:
    source = (resources.files("lastbit") / "data" / "question.float.tflite").read_bytes()
    shape = lastbit.load(source).inputs[0].shape
    data = np.random.default_rng(3).normal(size=(16, *shape[1:])).astype(np.float32)
    made = lastbit.quantize(source, data, io="int8", calibrator="lastbit")
    after = " ".join(op.name for op in made.operators)
    return (
        f"A float file of {len(source):,} bytes becomes one of {len(bytes(made.content)):,} bytes: {after}, input "
        f"{made.inputs[0].dtype.name} with {_params(made.inputs[0].quant)}. The file says: *{made.description}*."
    )


QUESTIONS = (
    Question(
        "Where does my zero point come from? tensorflow#38978",
        (f"{_ISSUES}38978",),
        "How the converter gets from a range to a zero point. (The thread is not in the copy that was read.)",
        "`lastbit quantize` with these ranges.",
        _zero_points,
    ),
    Question(
        "The scale of a uint8 input is not reasonable, tensorflow#53069",
        (f"{_ISSUES}53069",),
        "A model for pictures, with float32 pictures as representative data set, has an input scale that its author "
        "did not expect.",
        "One layer, the same pictures scaled in four ways.",
        _images,
    ),
    Question(
        "255 or 256 values of a weight, tensorflow#20739",
        (f"{_ISSUES}20739",),
        "Training gave weights a narrow range, and the converter of that time did not.",
        "500 units of 400 weights, whose largest one is negative.",
        _extremes,
    ),
    Question(
        "Biases of -2147483647, tensorflow#33735",
        (f"{_ISSUES}33735",),
        "Biases in the file are very large, and their scale is not what input and weights give.",
        "A layer with such a bias, and a float layer whose bias would not fit.",
        _large_bias,
    ),
    Question(
        "Fewer than 1024 elements, tensorflow#53094",
        (f"{_ISSUES}53094",),
        "The converter says that it skips a tensor, as it has fewer than 1024 elements.",
        "Two dense layers, without data and with ranges.",
        _small_weights,
    ),
    Question(
        "I have only a .tflite, tensorflow#48637 and litert-torch#296",
        (f"{_ISSUES}48637", "https://github.com/google-ai-edge/litert-torch/issues/296"),
        "A float .tflite is there and its Keras or PyTorch model is not: can it be quantized?",
        "`lastbit quantize` on the float model that LastBit carries, random samples.",
        _only_a_file,
    ),
)


def page() -> str:
    """The generated part, as Markdown."""
    parts = []
    for question in QUESTIONS:
        links = " and ".join(f"[the thread]({url})" for url in question.urls)
        head = f"{links[:1]}{links[1].upper()}{links[2:]}. {question.facts}"
        parts += [f"### {question.title}", head, f"*Run:* {question.used}", question.answer()]
    return "\n\n".join(parts)
