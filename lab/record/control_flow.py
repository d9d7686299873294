"""Record float32 files of WHILE, IF and an LSTM as the real converter writes them. Run with TensorFlow's Python.

    python lab/record/control_flow.py

Writes tests/recorded/control_flow.zip. With DIR as argument it writes there what the converter makes of the same models
with int8 activations and as dynamic range too (`src/lastbit/verbs/quantize/uncovered.py` says it).
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
import numpy as np
import tensorflow as tf

TARGET = Path(__file__).parents[2] / "tests" / "recorded" / "control_flow.zip"
FED = [tf.TensorSpec((1, 4))]
WEIGHTS = tf.constant(np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32) / 3)


@tf.function(input_signature=FED)
def loop(x: Any) -> Any:
    """Three times the same layer."""

    def step(i: Any, value: Any) -> Any:
        return i + 1, tf.nn.relu(tf.matmul(value, WEIGHTS))

    return tf.while_loop(lambda i, _: i < 3, step, [0, x])[1]


@tf.function(input_signature=FED)
def branch(x: Any) -> Any:
    """A layer or a product, by the sign of a sum."""
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.matmul(x, WEIGHTS), lambda: x * 2.0)


def convert(name: str, kind: str) -> bytes:
    """The converter's file."""
    if name == "lstm":
        layers = [tf.keras.Input((6, 4), batch_size=1), tf.keras.layers.LSTM(5), tf.keras.layers.Dense(3)]
        converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(layers))
    else:
        function = {"while": loop, "if": branch}[name]
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "int8":
        shape = (1, 6, 4) if name == "lstm" else (1, 4)

        def samples() -> Iterator[list[Any]]:
            random = np.random.default_rng(1)
            return ([random.normal(size=shape).astype(np.float32)] for _ in range(5))

        converter.representative_dataset = samples
    return bytes(converter.convert())


def main() -> None:
    """Write the archive, or the files of every kind."""
    tf.keras.utils.set_random_seed(1)
    if len(sys.argv) > 1:
        for name in ("while", "if", "lstm"):
            for kind in ("float", "int8", "dynamic"):
                Path(sys.argv[1], f"{name}.{kind}.tflite").write_bytes(convert(name, kind))
        return
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("while", "if", "lstm"):
            archive.writestr(f"{name}.float.tflite", convert(name, "float"))
    print(tf.__version__, TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
