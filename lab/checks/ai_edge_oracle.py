"""Quantize a folder of float models with the installed ai-edge-quantizer.

Usage: PYTHON lab/checks/ai_edge_oracle.py FOLDER RECIPE...

RECIPE is static_8_8, static_8_16, static_4_8, static_4_16 (bits of weights and activations; ranges are in the file as
min and max), dynamic_8, dynamic_4, weights_8, weights_4; with _float at its end inputs and outputs stay float32. For
each NAME.tflite it writes FOLDER/RECIPE/NAME.tflite, or NAME.error with the message. Nothing of LastBit is needed.
"""

import logging
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

ALL = qtyping.TFLOperationName.ALL_SUPPORTED


def configured(content, recipe):
    """A quantizer with its recipe."""
    made = quantizer.Quantizer(content)
    kind, *bits = recipe.removesuffix("_float").split("_")
    bits = [int(part) for part in bits]
    if kind == "static":
        made.add_static_config(".*", ALL, activation_num_bits=bits[1], weight_num_bits=bits[0])
    elif kind == "dynamic":
        made.add_dynamic_config(".*", ALL, num_bits=bits[0])
    else:
        made.add_weight_only_config(".*", ALL, num_bits=bits[0])
    if recipe.endswith("_float"):
        for operation in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            made.update_quantization_recipe(".*", operation, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
    return made


def ranges(content):
    """The ranges that stand in a file, as calibration results."""
    found = {}
    for tensor in schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].tensors:
        params = tensor.quantization
        if params is None or params.min is None or not len(params.min):
            continue
        shape = (1,) * len(tensor.shape if tensor.shape is not None else ())
        found[tensor.name.decode()] = {
            "min": np.full(shape, params.min[0], np.float32),
            "max": np.full(shape, params.max[0], np.float32),
        }
    return found


def main():
    """Quantize every model with every recipe."""
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1])
    for recipe in sys.argv[2:]:
        target = folder / recipe
        target.mkdir(exist_ok=True)
        for path in sorted(folder.glob("*.tflite")):
            content = path.read_bytes()
            try:
                made = configured(content, recipe)
                limits = ranges(content) if made.need_calibration else None
                result = made.quantize(limits, enable_progress_bar=False, enable_progress_report=False)
            except Exception as error:
                (target / f"{path.stem}.error").write_text(f"{type(error).__name__}: {error}")
            else:
                (target / path.name).write_bytes(bytes(result.quantized_model))


if __name__ == "__main__":
    main()
