"""LastBit: what a quantized layer computes on each real runtime, to the last bit.

import lastbit
model = lastbit.load("model.tflite")
trace = lastbit.run(model, x, runtime="litert-xnnpack")
trace.output, trace[0].acc
print(lastbit.explain(model, x, at=(0, 3)))
print(lastbit.verify(model))
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .api import build, load, run
from .certify import compare
from .dense import dense
from .diagnose import diagnose
from .diff import diff
from .engines.reference import OperatorTrace, Trace
from .errors import (
    DataError,
    InputError,
    LastBitError,
    ModelError,
    OracleError,
    OracleMissingError,
    RuntimeNameError,
    UnsupportedError,
)
from .evaluate import evaluate
from .explain import explain
from .inspect import inspect
from .model import Model
from .origin import explain_tensor
from .prepare import prepare
from .prove import prove
from .quantize import quantize, ranges
from .report import Report
from .runtimes import DEFAULT_RUNTIME, RUNTIMES
from .thresholds import thresholds
from .vectors import vectors
from .verify import verify
from .whence import whence


def __dir__() -> list[str]:
    """What completion offers: the public names, and none of the modules."""
    return sorted(__all__)


try:
    __version__ = version("lastbit")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "DEFAULT_RUNTIME",
    "RUNTIMES",
    "DataError",
    "InputError",
    "LastBitError",
    "Model",
    "ModelError",
    "OperatorTrace",
    "OracleError",
    "OracleMissingError",
    "Report",
    "RuntimeNameError",
    "Trace",
    "UnsupportedError",
    "__version__",
    "build",
    "compare",
    "dense",
    "diagnose",
    "diff",
    "evaluate",
    "explain",
    "explain_tensor",
    "inspect",
    "load",
    "prepare",
    "prove",
    "quantize",
    "ranges",
    "run",
    "thresholds",
    "vectors",
    "verify",
    "whence",
]
