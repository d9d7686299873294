"""LiteRT's calibrator, in a process of its own: a float file and samples to each tensor's range.

Started by its path with a folder: model.tflite, data.npz and job.json go in, ranges.json comes out. It imports NumPy
and the wheel of ai-edge-litert, whose calibrator is a private module: what fails here ends this process only.
"""

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Calibrate one model."""
    from ai_edge_litert import _pywrap_tensorflow_lite_calibration_wrapper as wrapper
    from ai_edge_litert import schema_py_generated as schema

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    content = wrapper.AddIntermediateTensors((folder / "model.tflite").read_bytes())
    calibrator = wrapper.CalibrationWrapper(content, [], [])
    calibrator.Prepare(job["shapes"])
    with np.load(folder / "data.npz", allow_pickle=False) as data:
        for row in range(job["samples"]):
            calibrator.FeedTensor([np.ascontiguousarray(data[f"{row}/{index}"]) for index in job["inputs"]])
    calibrated = schema.ModelT.InitFromPackedBuf(bytes(calibrator.Calibrate()), 0)
    ranges = {}
    for index, tensor in enumerate(calibrated.subgraphs[0].tensors):
        params = tensor.quantization
        if params is not None and params.min is not None and len(params.min):
            ranges[index] = [float(params.min[0]), float(params.max[0])]
    (folder / "ranges.json").write_text(json.dumps(ranges), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
