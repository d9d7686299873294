"""The generated part of docs/gallery.md: public threads, put to `lastbit diagnose`.

Everything is calculated by LastBit when `lab/pages/update.py` runs. The functions say in LastBit's own words what a
thread's code calculates; scales, sums and printed values are the threads' own where they give them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

import lastbit
from lastbit.model.graph import Model
from lastbit.model.tflite import load, write
from lastbit.model.tflite.synthesize import dense_subgraph, quant
from lastbit.runtimes import this_cpu
from lastbit.verbs.demo.verb import demo_model, numpy_as_asked
from lastbit.verbs.diagnose.verb import Diagnosis

__all__ = ["THREADS", "Thread", "answers", "page"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Thread:
    """One public thread.

    Attributes:
        title: what it is called here.
        url: where it is.
        facts: what it reports and gives.
        used: what was run.
        diagnoses: (what was diagnosed, the diagnosis), each calculated on demand.
        comment: what the answers mean.
    """

    title: str
    url: str
    facts: str
    used: str
    diagnoses: tuple[tuple[str, Callable[[], Diagnosis]], ...]
    comment: str


def _layer(weights: Any, scales: tuple[float, Any, float], zero_points: tuple[int, int, int], **more: Any) -> Model:
    s_x, s_w, s_y = scales
    zx, zw, zy = zero_points
    graph = dense_subgraph(
        np.asarray(weights),
        input_quant=quant(s_x, zx),
        weights_quant=quant(s_w, zw),
        output_quant=quant(s_y, zy),
        **more,
    )
    return load(write(graph))


def _printed(scales: tuple[float, float, float], output_zero_point: int, sums: list[int]) -> tuple[Model, Any]:
    """A layer whose accumulators are these sums, whatever the input is; and an input."""
    model = _layer(
        np.zeros((len(sums), 1), np.int8), scales, (0, 0, output_zero_point), bias=np.asarray(sums, np.int64)
    )
    return model, np.zeros((1, 1), np.int8)


def _forum() -> Diagnosis:
    return lastbit.diagnose(demo_model(), None, numpy_as_asked)


def _unsigned_layer() -> Model:
    rng = np.random.default_rng(5)
    return _layer(
        rng.integers(0, 256, (10, 100)).astype(np.uint8),
        (1 / 255, 0.004, 0.05),
        (0, 131, 0),
        bias=rng.integers(-3000, 3000, 10),
        activation="RELU",
        input_dtype="uint8",
        weights_dtype="uint8",
    )


def _wide_product(x: Any, w: Any, bias: Any) -> Ints:
    return np.maximum(x.astype(np.int64) @ w.astype(np.int64).T + bias, 0)


def _narrow_product(x: Any, w: Any, bias: Any) -> Ints:
    return np.maximum((x @ w.T).astype(np.int64) + bias, 0)  # uint8 @ uint8 stays uint8


def _window_layer() -> Model:
    rng = np.random.default_rng(9)
    return _layer(
        rng.integers(-127, 128, (8, 5)).astype(np.int8),
        (0.031, rng.uniform(0.002, 0.008, 8), 0.06),
        (-7, 0, 11),
        bias=rng.integers(-900, 900, 8),
    )


def _convolved(x: Any, w: Any, bias: Any, zx: int, s_x: Any, s_w: Any, s_y: Any, zy: int) -> Any:
    folded = bias - w.astype(np.int32).sum(axis=1) * zx
    windows = [[np.convolve(row.astype(np.int32), kernel.astype(np.int32), "valid")[0] for kernel in w] for row in x]
    value = (s_w * s_x / s_y) * (np.asarray(windows) + folded).astype(np.float32)
    return np.clip(value + zy, -128, 127).astype(np.int8)


def _digits_layer() -> Model:
    rng = np.random.default_rng(6)
    return _layer(
        rng.integers(-127, 128, (10, 18)).astype(np.int8),
        (0.05, 0.006, 0.14),
        (-128, 0, 14),
        bias=rng.integers(-900, 900, 10),
    )


def _fixed_point_32(x: Any, w: Any, bias: Any, zx: int, s_x: Any, s_w: Any, s_y: Any, zy: int) -> Any:
    fraction, exponent = np.frexp(s_w * s_x / s_y)
    multiplier = np.floor(fraction.astype(np.float64) * 2.0**32).astype(np.int64)
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T + bias
    shift = 32 - exponent.astype(np.int64)
    return (((acc * multiplier + (1 << (shift - 1))) >> shift) + zy).astype(np.int8)  # the cast wraps


def _tie() -> Diagnosis:
    model, x = _printed((0.05296124517917633, 0.024093778803944588, 0.11484327912330627), -126, [585])
    return lastbit.diagnose(model, x, np.asarray([[-119]], np.int8), runtime="litert-xnnpack")


def _convolution(*values: int) -> Diagnosis:
    scales = 0.15857075154781342, 0.010584672912955284, 0.5111709833145142
    model, x = _printed(scales, -3, [5907 - 885, -12264 - 885, -19651 - 885][: len(values)])
    return lastbit.diagnose(model, x, np.asarray([values], np.int8))


def _other(mine: str, held_against: str) -> Callable[[], Diagnosis]:
    def make() -> Diagnosis:
        x = np.random.default_rng(0).integers(-128, 128, (100, 16, 48)).astype(np.int8)
        return lastbit.diagnose(demo_model(), x, lastbit.run(demo_model(), x, mine).output, runtime=held_against)

    return make


def _small_multiplier(x: Any, w: Any, zx: int, m: Any) -> Any:
    """16 fraction bits, handed to a kernel that takes them for Q0.31 and a left shift of 16."""
    multiplier = np.rint(m * 2.0**16).astype(np.int64)
    acc = (x.astype(np.int64) - zx) @ w.astype(np.int64).T
    return ((acc << 16) * multiplier + (1 << 30)) >> 31


def _small_multiplier_diagnosis() -> Diagnosis:
    rng = np.random.default_rng(2)
    weights = rng.integers(-127, 128, (8, 24)).astype(np.int8)
    model = _layer(weights, (0.5416631102561951, 0.003441296052187681, 0.1264280378818512), (-3, 0, 0))
    return lastbit.diagnose(model, None, _small_multiplier)


def _cast(x: Any, w: Any, bias: Any) -> Any:
    return np.maximum((x.astype(np.int32) @ w.astype(np.int32).T + bias).astype(np.int8), 0)


def _cast_layer() -> Model:
    rng = np.random.default_rng(3)
    weights = rng.integers(-127, 128, (6, 27)).astype(np.int8)
    return _layer(weights, (0.02, 0.004, 0.05), (0, 0, -128), bias=rng.integers(-900, 900, 6), activation="RELU")


def _truncated_input() -> Diagnosis:
    rng = np.random.default_rng(4)
    model = _layer(rng.integers(-127, 128, (16, 1)).astype(np.int8), (0.0245, 0.0057, 0.029), (-128, 0, -12))
    real = rng.uniform(0, 6.25, (80, 1)).astype(np.float32)
    cast = np.clip(real / np.float32(0.0245) - 128, -128, 127).astype(np.int8)
    return lastbit.diagnose(model, real, lastbit.run(model, cast, "litert-xnnpack").output, quantize_input=True)


_CODE = "the code, in LastBit's words"

THREADS: tuple[Thread, ...] = (
    Thread(
        "Calculation of quantized dense layers",
        "https://discuss.ai.google.dev/t/calculation-of-quantized-dense-layers/29089",
        "A dense layer with input 16x48, 32 units, no bias, quantized to int8, written again in NumPy with the numbers "
        "of the .tflite file; the results are far off.",
        "`lastbit.verbs.demo.verb.numpy_as_asked` on the model that LastBit carries; the inputs are chosen.",
        ((_CODE, _forum),),
        "All three, and nothing else. The array is not rounded yet, so even the small differences between the "
        "channels' scales show.",
    ),
    Thread(
        "Run a quantized model in pure Python, Stack Overflow 53420994",
        "https://stackoverflow.com/questions/53420994",
        "Dense layers with uint8 weights out of a .tflite file, each as input times weights plus bias, then a ReLU. "
        "Accuracy fell from about 90 % to 10 %.",
        "The thread has the code and no numbers: a random uint8 layer of 100 inputs and 10 units with a ReLU, whose "
        "input's zero point is 0, as it is for pixels and after a ReLU. The thread does not say what type the weights "
        "had in NumPy, so both are tried.",
        (
            ("weights in a wide type", lambda: lastbit.diagnose(_unsigned_layer(), None, _wide_product)),
            ("weights as uint8", lambda: lastbit.diagnose(_unsigned_layer(), None, _narrow_product)),
        ),
        "",
    ),
    Thread(
        "TFLite inference in Python, Stack Overflow 78228612",
        "https://stackoverflow.com/questions/78228612",
        "A one-dimensional convolution in NumPy, off by 1.21 on average (mean squared error 4.91).",
        "One position of such a convolution is a dense layer whose weights are the kernel: a random layer of 5 inputs "
        "and 8 units. The thread does not show the function that adds the output's zero point; a plain sum was taken.",
        ((_CODE, lambda: lastbit.diagnose(_window_layer(), None, _convolved)),),
        "Folding the input's zero point into the bias is right there, and so is the float32 factor. Beyond what one "
        "position shows: `mode='same'` pads with 0, where TFLite pads with the input's zero point.",
    ),
    Thread(
        "pyrtlnet#6",
        "https://github.com/UCSBarchlab/pyrtlnet/issues/6",
        "A network in NumPy with fixed-point numbers; for one image LiteRT prints 18 and -87 for the first and last of "
        "ten outputs, NumPy 17 and -88, the other eight agree.",
        "The trained model is not in the repository, so those ten numbers cannot be calculated again. The code that is "
        "there today was read (pyrtlnet/numpy_inference.py @062746db6249): a multiplier with 32 fraction bits, one "
        "rounding half up, a cast to int8 that wraps. It was put to a random layer of 18 inputs and 10 units.",
        ((_CODE, lambda: lastbit.diagnose(_digits_layer(), None, _fixed_point_32)),),
        "The wrap is the only mistake on the inputs tried. It cannot make 17 of 18: that difference is no mistake of "
        "today's code on this layer, and whether the thread's model shows another cannot be said without it.",
    ),
    Thread(
        "tensorflow#102943",
        "https://github.com/tensorflow/tensorflow/issues/102943",
        "EfficientNet in Python; 8 of 33.4 million values off by one. Input scale 0.05296124517917633, weights scale "
        "0.024093778803944588, output scale 0.11484327912330627, output zero point -126, accumulator 585: TFLite "
        "prints -120, the Python code -119.",
        "These numbers, as a layer of one unit whose bias is the accumulator; -119 compared with `litert-xnnpack`.",
        (("-119", _tie),),
        "585 times the factor is 6.5 in float32, an exact tie, which XNNPACK takes to the even 6; in float64 and in "
        "fixed point it is a little more, and goes to 7. [585.md](585.md) works it in full.",
    ),
    Thread(
        "tensorflow#104605",
        "https://github.com/tensorflow/tensorflow/issues/104605",
        "The same author's convolutions, 1 % of the values off by one. Input scale 0.15857075154781342, weights scale "
        "0.010584672912955284, output scale 0.5111709833145142, output zero point -3, bias -885 (in the [forum's "
        "copy](https://discuss.ai.google.dev/t/issue-replicating-tf-lite-conv2d-quantized-inference-output/109636)), "
        "and three sums with what TFLite printed for them: 5907 13, -12264 -46, -19651 -30. The Python code's single "
        "rounding gave 12, -46 and -31.",
        "These numbers, as a layer of units whose biases are the sums with -885 added.",
        (
            ("TFLite's 13 and -46", lambda: _convolution(13, -46)),
            ("Python's 12 and -46", lambda: _convolution(12, -46)),
            ("TFLite's 13, -46 and -30", lambda: _convolution(13, -46, -30)),
        ),
        "The first two are what every runtime prints. 5022 times the factor is 16.49, so no rounding to the nearest "
        "makes 15 of it, and a single number does not tell which other mistake did. The third sum belongs to a channel "
        "whose scale and bias the thread does not give: with these numbers it is -70 in every runtime.",
    ),
    Thread(
        "CMSIS-NN#214, LiteRT#8567, LiteRT#7441",
        "https://github.com/ARM-software/CMSIS-NN/issues/214",
        "CMSIS-NN compared with LiteRT's reference kernels: dense layers match only when CMSIS-NN is built with single "
        "rounding. [LiteRT#8567](https://github.com/google-ai-edge/LiteRT/issues/8567) says why: the reference kernel "
        "of dense layers requantizes in floating point. "
        "[LiteRT#7441](https://github.com/google-ai-edge/LiteRT/issues/7441) finds XNNPACK rounding once and other "
        "kernels twice.",
        "None of them gives a dense layer's numbers: the forum's layer and 51,200 outputs of random inputs, each in "
        "one runtime's arithmetic, compared with another's.",
        (
            ("`cmsis-nn` compared with `litert-reference`", _other("cmsis-nn", "litert-reference")),
            (
                "`cmsis-nn-single-rounding` compared with `litert-reference`",
                _other("cmsis-nn-single-rounding", "litert-reference"),
            ),
            ("`litert-builtin-x86` compared with `litert-xnnpack`", _other("litert-builtin-x86", "litert-xnnpack")),
        ),
        "All are right, each in its own way. Single rounding is the same on these inputs only: it takes negative ties "
        "up, and the reference kernels take them away from zero.",
    ),
    Thread(
        "CMSIS-NN#184",
        "https://github.com/ARM-software/CMSIS-NN/issues/184",
        "A multiplier of 966 and a shift of 16, found as factor * 2^16 for scales 0.5416631102561951, "
        "0.003441296052187681 and 0.1264280378818512, given to a kernel: it prints 163 for 5523, about twice what was "
        "expected.",
        "The same way to make multiplier and shift, on a random layer with these scales.",
        ((_CODE, _small_multiplier_diagnosis),),
        "The kernel takes the multiplier for a fraction of 2^31 and the shift for a left shift: 966 and 16 make "
        "966 / 2^15. One factor of two, and 16 bits where there are 31.",
    ),
    Thread(
        "How are conv layer's outputs quantized?",
        "https://discuss.ai.google.dev/t/how-are-conv-layer-and-others-layers-outputs-quantized/31772",
        "C code for an FPGA that casts the sum with its bias to a char and applies a ReLU at 0.",
        "The thread gives no numbers: a random layer of 27 inputs (a 3x3 kernel on 3 channels) and 6 units.",
        ((_CODE, lambda: lastbit.diagnose(_cast_layer(), None, _cast)),),
        "",
    ),
    Thread(
        "zephyr#88638",
        "https://github.com/zephyrproject-rtos/zephyr/issues/88638",
        "An example program that quantizes its input as x / scale + zero point, cast to int8.",
        "A random layer of 1 input and 16 units (the example's model has such a layer), inputs from 0 to 6.25; the "
        "rest of the layer is right.",
        (("the output", _truncated_input),),
        "",
    ),
)


def _answer(name: str, diagnosis: Diagnosis) -> list[str]:
    explanation, given = diagnosis.explanation, diagnosis.given
    lines = [f"**{name[0].upper()}{name[1:]}:** "]
    if explanation is None:
        nearest = diagnosis.nearest
        assert nearest is not None
        shown = " + ".join(f"`{m}`" for m in nearest.mistakes) or "the right calculation"
        lines[0] += (
            "no set of up to three known mistakes reproduces every element. "
            f"Nearest: {shown}, {nearest.matching} of {diagnosis.right_output.size}."
        )
        return lines
    first, count = explanation.runtimes[0], len(explanation.runtimes)
    who = f"`{first}`" + (f" and {count - 1} more" if count > 1 else "")
    if diagnosis.verdict == "other runtime":
        assert diagnosis.difference is not None
        lines[0] += (
            f"{diagnosis.difference.mismatched} of {diagnosis.right_output.size:,} differ. This is what {who} "
            f"print{'s' * (count == 1)}; it was compared with `{given.asked}`."
        )
    elif not explanation.mistakes:
        lines[0] += f"nothing is wrong: this is what {who} print{'s' * (count == 1)}."
    else:
        size = diagnosis.given.mine.size
        lines[0] += f"all {size:,} elements are reproduced, in the arithmetic of {who}, by"
        lines.append("")
        lines += [f"{n}. `{m.name}` ({m.stage}): {m.why}." for n, m in enumerate(diagnosis.mistakes, 1)]
        lines += _more(diagnosis)
    return lines


def _more(diagnosis: Diagnosis) -> list[str]:
    lines = []
    others = len(diagnosis.explanations) - 1
    if others:
        assert diagnosis.explanation is not None
        size = len(diagnosis.explanation.mistakes)
        what = "1 other mistake reproduces" if others == 1 else f"{others} other mistakes reproduce"
        if size > 1:
            what = f"{others} other set{'s' * (others > 1)} of {size} reproduce{'s' * (others == 1)}"
        lines += ["", f"{what} it as well: these data do not decide."]
    at, steps = diagnosis.element(), diagnosis.worked()
    step = next((step for step in steps if step.differs), None)
    if at is not None and step is not None:
        lines += [
            "",
            f"First wrong element, row {at[0]}, unit {at[1]}: *{step.name}* is {_value(step.right)} where it is right, "
            f"and {_value(step.wrong)} with the mistakes; the output is {_value(steps[-1].right)} and "
            f"{_value(steps[-1].wrong)}.",
        ]
    return lines


def _value(text: str) -> str:
    return text.split("  ")[0]


def as_on_one_cpu() -> Any:
    """For a function: among runtimes that print the same, `diagnose` names that of the CPU first, here always one."""
    return mock.patch.object(this_cpu, "widest_vectors", mock.Mock(return_value="AVX512-VNNI"))


@cache
@as_on_one_cpu()
def answers(thread: Thread) -> tuple[tuple[str, Diagnosis], ...]:
    """What was diagnosed of a thread, and each diagnosis."""
    return tuple((name, make()) for name, make in thread.diagnoses)


@as_on_one_cpu()
def page() -> str:
    """The generated part, as Markdown."""
    parts = []
    for thread in THREADS:
        lines = [f"## {thread.title}", "", f"[The thread]({thread.url}). {thread.facts}", ""]
        lines += [f"*Run:* {thread.used}", ""]
        for name, diagnosis in answers(thread):
            lines += [*_answer(name, diagnosis), ""]
        if thread.comment:
            lines += [thread.comment, ""]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts)
