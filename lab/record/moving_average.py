"""Record a file of the real ai-edge-quantizer, whose ranges are moving averages (tests/recorded/moving_average.tflite).

Usage, in an environment with ai-edge-quantizer and ai-edge-litert: PYTHON -m lab record moving_average FLOAT.tflite

The float model is tflm_hello_world_float of the third-party models; the samples follow from a seed, as in
tests/verbs/diff/test_diff.py. The quantizer wants a signature, which the float file lacks, so one is added first.
"""

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import quantizer, recipe

KEY = "serving_default"
GOLDEN = Path(__file__).parents[2] / "tests" / "recorded"


def signed(content: bytes) -> bytes:
    """The model with a signature."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = KEY, 0
    for role in ("inputs", "outputs"):
        maps = []
        for number, index in enumerate(getattr(model.subgraphs[0], role)):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = f"{role}{number}", index
            maps.append(entry)
        setattr(signature, role, maps)
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    """Quantize, and write the file and where it comes from."""
    content = Path(sys.argv[1]).read_bytes()
    samples = np.random.default_rng(13).uniform(0, 6.28, (40, 1, 1)).astype(np.float32)
    made = quantizer.Quantizer(signed(content), recipe.static_wi8_ai8())
    calibrated = made.calibrate({KEY: [{"inputs0": sample} for sample in samples]})
    result = bytes(made.quantize(calibrated).quantized_model)
    (GOLDEN / "moving_average.tflite").write_bytes(result)
    about = {
        "made by": {name: metadata.version(name) for name in ("ai-edge-quantizer", "ai-edge-litert")},
        "recipe": "static_wi8_ai8",
        "float model": hashlib.sha256(content).hexdigest(),
        "samples": "numpy.random.default_rng(13).uniform(0, 6.28, (40, 1, 1)), float32",
    }
    (GOLDEN / "moving_average.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
