"""Make the two dense models that LastBit carries, with TensorFlow 2.21's converter. Run once; the files are committed.

    pip install '.[converter]' && python -m lab record demo_models

The model is the forum question's: input 16x48, Dense(32) without bias, fully quantized to int8. It is converted twice:
per-channel weights (the converter's default today) and per-tensor weights. Weights and calibration data are random with
a fixed seed, so a second run gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

SEED = 20261123
TARGET = Path(__file__).parents[2] / "src" / "lastbit" / "data"


def build() -> tf.keras.Model:
    """The Keras model: one dense layer on the last axis, no bias."""
    rng = np.random.default_rng(SEED)
    inputs = tf.keras.Input((16, 48), batch_size=1, name="input")
    layer = tf.keras.layers.Dense(32, use_bias=False, name="dense")
    model = tf.keras.Model(inputs, layer(inputs))
    # Units of different sizes, as training leaves them: otherwise every channel would have about the same scale.
    sizes = rng.uniform(0.3, 1.5, 32)
    layer.set_weights([(rng.normal(0, 0.12, (48, 32)) * sizes).astype(np.float32)])
    return model


def representative() -> Iterator[list[np.ndarray]]:
    """Calibration data: what fixes the input's and the output's scale."""
    rng = np.random.default_rng(SEED + 1)
    for _ in range(100):
        yield [rng.normal(0.4, 1.0, (1, 16, 48)).astype(np.float32)]


def convert(model: tf.keras.Model, per_channel: bool) -> bytes:
    """The model as a fully quantized int8 .tflite file."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel
    return converter.convert()


def main() -> None:
    """Convert both and write them."""
    if not tf.__version__.startswith("2.21."):
        raise SystemExit(f"found TensorFlow {tf.__version__}, wanted 2.21: pip install '.[converter]'")
    TARGET.mkdir(exist_ok=True)
    model = build()
    for name, per_channel in (("per_channel", True), ("per_tensor", False)):
        content = convert(model, per_channel)
        (TARGET / f"forum_dense_{name}.tflite").write_bytes(content)
        print(name, len(content), "bytes")


if __name__ == "__main__":
    main()
