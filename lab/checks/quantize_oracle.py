"""Quantize a folder of calibrated float models with the real converter of the Python that runs this.

Usage: PYTHON lab/checks/quantize_oracle.py FOLDER HOW [OPTIONS]

HOW is tflite (the MLIR quantizer of an installed TensorFlow, int8), tflite-old or tflite-int16 (TensorFlow's older
quantizer), litert or litert-int16 (the older quantizer in the wheel of ai-edge-litert). For every NAME.tflite in FOLDER
it writes FOLDER/HOW/NAME.tflite, or NAME.error with the message. It needs nothing of LastBit, so any environment can
run it. OPTIONS is JSON: name (of the folder), io (or input and output), per_tensor, per_tensor_dense, allow_float.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

NUMBERS = {name: np.dtype(name).num for name in ("int8", "uint8", "int16", "int32", "int64", "float32")}


def mlir(options):
    """TensorFlow's MLIR quantizer, as TFLiteConverter calls it after calibration."""
    import inspect

    from tensorflow.lite.python import convert
    from tensorflow.python.framework import dtypes

    types = {"int8": dtypes.int8, "uint8": dtypes.uint8, "float32": dtypes.float32}
    known = inspect.signature(convert.mlir_quantize).parameters
    wanted = {
        "disable_per_channel": options.get("per_tensor", False),
        "input_data_type": types[options.get("input", options.get("io", "float32"))],
        "output_data_type": types[options.get("output", options.get("io", "float32"))],
        "disable_per_channel_for_dense_layers": options.get("per_tensor_dense", False),
    }
    arguments = {name: value for name, value in wanted.items() if name in known}
    return lambda content: convert.mlir_quantize(content, **arguments)


def older(wrapper, options, activations):
    """The older quantizer (C++): min and max are in the file."""
    bias = "int32" if activations == "int8" else "int64"
    io = [NUMBERS[options.get(end, options.get("io", "float32"))] for end in ("input", "output")]

    def quantize(content):
        calibrator = wrapper.CalibrationWrapper(content, [], [])
        arguments = [*io, options.get("allow_float", True), NUMBERS[activations], NUMBERS[bias]]
        arguments.append(options.get("per_tensor", False))
        try:
            return calibrator.QuantizeModel(*arguments, options.get("per_tensor_dense", False))
        except TypeError:  # versions without the option for dense layers
            return calibrator.QuantizeModel(*arguments)

    return quantize


def quantizer(how, options):
    """The function of HOW: bytes to bytes."""
    if how == "tflite":
        return mlir(options)
    if how.startswith("tflite-"):
        from tensorflow.lite.python.optimize import _pywrap_tensorflow_lite_calibration_wrapper as wrapper
    else:
        from ai_edge_litert import _pywrap_tensorflow_lite_calibration_wrapper as wrapper
    return older(wrapper, options, "int16" if how.endswith("int16") else "int8")


def main():
    """Quantize every model of the folder."""
    folder, how = Path(sys.argv[1]), sys.argv[2]
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    quantize = quantizer(how, options)
    target = folder / options.get("name", how)
    target.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.tflite")):
        # A process of its own for each model: some versions end with an assertion where others raise.
        child = os.fork()
        if child == 0:
            quantize_one(quantize, path, target)
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            (target / f"{path.stem}.error").write_text("the converter's process died")


def quantize_one(quantize, path, target):
    """Quantize one model, or write down why not."""
    try:
        result = bytes(quantize(path.read_bytes()))
    except Exception as error:
        (target / f"{path.stem}.error").write_text(f"{type(error).__name__}: {error}")
    else:
        (target / path.name).write_bytes(result)


main()
