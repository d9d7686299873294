"""Record the forum question's Keras model and what the real TFLiteConverter makes of it. Run with TensorFlow's Python.

    pip install '.[converter]' && python lab/record/question.py

Writes into src/lastbit/data: question.keras (saved by Keras), question.int8.tflite (the converter's file), and
question.json (who made them, the digests of both files and the ranges that the converter measured).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

keras = tf.keras
TARGET = Path(__file__).parents[2] / "src" / "lastbit" / "data"
SAMPLES = 100


def calibration_data() -> np.ndarray:
    """The samples: as `lastbit demo` draws them. RandomState's numbers are the same in every NumPy."""
    return np.random.RandomState(0).standard_normal((SAMPLES, 16, 48)).astype(np.float32)


def convert(model: keras.Model, calibrate_only: bool) -> bytes:
    """The int8 file, or the float file with ranges."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in calibration_data())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    if calibrate_only:
        converter.inference_input_type = converter.inference_output_type = tf.float32
    converter._experimental_calibrate_only = calibrate_only
    return bytes(converter.convert())


def ranges(content: bytes) -> dict[str, list[float]]:
    """What the converter measured: [min, max] of input and output."""
    graph = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    ends = {"input": graph.inputs[0], "output": graph.outputs[0]}
    found = {name: graph.tensors[index].quantization for name, index in ends.items()}
    return {name: [float(quant.min[0]), float(quant.max[0])] for name, quant in found.items()}


def main() -> None:
    """Make, save and convert the model."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((16, 48)), keras.layers.Dense(32)])
    model.save(TARGET / "question.keras")
    (TARGET / "question.int8.tflite").write_bytes(convert(model, False))
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    about = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()},{cpu.partition(':')[2]}",
        "sha256": {
            name: hashlib.sha256((TARGET / name).read_bytes()).hexdigest()
            for name in ("question.keras", "question.int8.tflite")
        },
        "samples": SAMPLES,
        "ranges": ranges(convert(model, True)),
    }
    (TARGET / "question.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
