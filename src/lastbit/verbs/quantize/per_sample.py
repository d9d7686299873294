"""Each sample's own ranges: which sample and element set the ends, and what a moving average makes of them.

The samples run in LiteRT's builtin kernels, those that its calibrator uses, or in LastBit's own float32 operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...model.errors import InputError
from ...model.graph import Model
from ...model.tflite.writer import with_outputs
from ...model.types import Array
from ...oracles import on_this_machine, open_oracle
from ..run.verb import run
from .calibrate import CALIBRATORS, samples_of
from .ranges import Ranges

__all__ = ["SampleRanges", "average_ranges", "sample_ranges"]

# The runtime whose float32 kernels stand for each calibrator.
_RUNTIMES = {"litert": "litert-builtin-x86", "lastbit": "litert-reference"}
_CHUNK_BYTES = 1 << 26
# ai-edge-quantizer: so much of the old end stays with each further sample.
_KEPT = 0.95
# and values from here on do not count, unless there are no others.
_WIDEST = 3e38


@dataclass(frozen=True, eq=False)
class SampleRanges:
    """What one tensor was in each sample. Arrays are `[samples]`.

    Attributes:
        least: the least value, float32; NaN are left out.
        greatest: the greatest.
        least_at: the flat index of the least value.
        greatest_at: that of the greatest.
        shape: the tensor's shape.
    """

    least: npt.NDArray[np.float32]
    greatest: npt.NDArray[np.float32]
    least_at: npt.NDArray[np.int64]
    greatest_at: npt.NDArray[np.int64]
    shape: tuple[int, ...]

    @property
    def min_and_max(self) -> tuple[np.float32, np.float32]:
        """The range over all samples: what TensorFlow's and LiteRT's calibrators keep."""
        return np.float32(self.least.min()), np.float32(self.greatest.max())

    @property
    def moving_average(self) -> tuple[np.float32, np.float32]:
        """0.95 of what was, 0.05 of what comes, from the first sample on: what ai-edge-quantizer keeps.

        Source: google-ai-edge/ai-edge-quantizer, ai_edge_quantizer/utils/calibration_utils.py
        (moving_average_update), 85092035894c.
        """
        ends = []
        for values in (self.least, self.greatest):
            end = np.float32(values[0])
            for value in values[1:]:
                end = np.float32(_KEPT * end + (1.0 - _KEPT) * value)
            ends.append(end)
        return ends[0], ends[1]

    def place(self, greatest: bool) -> tuple[int, tuple[int, ...]]:
        """(sample, element) of the first value that set an end."""
        sample = int(np.argmax(self.greatest) if greatest else np.argmin(self.least))
        flat = int((self.greatest_at if greatest else self.least_at)[sample])
        return sample, tuple(int(i) for i in np.unravel_index(flat, self.shape)) if self.shape else ()


def sample_ranges(
    model: Model,
    data: Any,
    calibrator: str = "litert",
    progress: Callable[[int, int, str], None] | None = None,
    *,
    runtime: str | None = None,
    widest: float = math.inf,
) -> dict[int, SampleRanges]:
    """Tensor index -> each sample's range, for every float32 tensor that is fed or computed.

    Args:
        model: a float32 model.
        data: see `samples_of`.
        calibrator: `litert` or `lastbit`.
        progress: told samples done and how many there are.
        runtime: whose kernels run the samples; None for those that stand for the calibrator.
        widest: values of this size and more are left out, unless there are no others.

    Raises:
        InputError: the data does not fit, or there is no such calibrator.
        OracleMissingError: LiteRT is not installed.
        OracleError: it cannot run the model.
        UnsupportedError: LastBit's own float operators do not cover it.
    """
    if calibrator not in CALIBRATORS:
        raise InputError(f"there is no calibrator {calibrator!r}; wanted one of {', '.join(CALIBRATORS)}.")
    samples = samples_of(model, data)
    found: dict[int, list[tuple[np.float32, np.float32, int, int]]] = {}
    chosen = runtime or _RUNTIMES[calibrator]
    values = _from_litert(model, samples, chosen) if calibrator == "litert" else _from_lastbit(model, samples)
    for number, tensors in enumerate(values):
        for index, value in tensors.items():
            if value.size and not np.isnan(value).all():
                low, high = int(np.nanargmin(_within(value, widest))), int(np.nanargmax(_within(value, widest)))
                flat = value.reshape(-1)
                found.setdefault(index, []).append((flat[low], flat[high], low, high))
        if progress is not None:
            progress(number + 1, len(samples), "")
    return {index: _joined(rows, model.tensors[index].shape) for index, rows in found.items()}


def _joined(rows: Sequence[tuple[np.float32, np.float32, int, int]], shape: tuple[int, ...]) -> SampleRanges:
    least, greatest, least_at, greatest_at = zip(*rows, strict=True)
    return SampleRanges(
        np.array(least, np.float32),
        np.array(greatest, np.float32),
        np.array(least_at, np.int64),
        np.array(greatest_at, np.int64),
        shape,
    )


def _floats(model: Model) -> list[int]:
    computed = {index for op in model.operators for index in op.outputs}
    return [t.index for t in model.tensors if t.index in computed and t.dtype.name == "float32"]


def _within(values: Array, widest: float) -> Array:
    """The same with NaN for what is too wide, unless nothing is left then."""
    if widest == math.inf:
        return values
    inside = np.where(np.abs(values) < widest, values, np.float32(np.nan))
    return values if np.isnan(inside).all() else inside


def _from_litert(model: Model, samples: Sequence[Mapping[int, Array]], runtime: str) -> Iterator[dict[int, Array]]:
    wanted = _floats(model)
    content = with_outputs(bytes(model.content), wanted) if wanted else bytes(model.content)
    inputs = [tensor.index for tensor in model.inputs]
    size = sum(4 * math.prod(model.tensors[index].shape) for index in wanted)
    step = max(1, _CHUNK_BYTES // max(size, 1))
    with open_oracle(on_this_machine(runtime)) as oracle:
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            rows = oracle.run(content, [[sample[i] for i in inputs] for sample in part], label=model.source)
            for sample, row in zip(part, rows.outputs, strict=True):
                yield {**_float_inputs(model, sample), **dict(zip(wanted, row, strict=True))}


def _from_lastbit(model: Model, samples: Sequence[Mapping[int, Array]]) -> Iterator[dict[int, Array]]:
    for sample in samples:
        trace = run(model, dict(sample), _RUNTIMES["lastbit"])
        yield {
            **_float_inputs(model, sample),
            **{index: value for index, value in trace.tensors.items() if value.dtype == np.float32},
        }


def _float_inputs(model: Model, sample: Mapping[int, Array]) -> dict[int, Array]:
    return {index: value for index, value in sample.items() if model.tensors[index].dtype.name == "float32"}


def ranges_by_sample(found: Mapping[int, SampleRanges], model: Model, calibrator: str, average: bool = False) -> Ranges:
    """The ranges over all samples, by min and max or by moving average."""
    limits = {index: part.moving_average if average else part.min_and_max for index, part in found.items()}
    samples = max((part.least.size for part in found.values()), default=0)
    return Ranges(limits, calibrator, {t.index: t.name for t in model.tensors}, samples)


def average_ranges(
    model: Model,
    data: Any,
    calibrator: str,
    progress: Callable[[int, int, str], None] | None = None,
) -> Ranges:
    """The ranges that ai-edge-quantizer keeps: a moving average of each sample's own.

    Its samples run in the interpreter as it comes, with XNNPACK; values of 3e38 and more are left out.

    Source: google-ai-edge/ai-edge-quantizer (0.10.0) calibrator.py, naive_min_max_quantize.py (min_max_calibrate).
    """
    kernels = "litert-xnnpack" if calibrator == "litert" else _RUNTIMES["lastbit"]
    found = sample_ranges(model, data, calibrator, progress, runtime=kernels, widest=_WIDEST)
    by = "LiteRT's default kernels" if calibrator == "litert" else "LastBit's float32 operators"
    return ranges_by_sample(found, model, f"{by}, moving average", average=True)
