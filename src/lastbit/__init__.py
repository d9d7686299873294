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

from .engines.reference import OperatorTrace, Trace
from .model.errors import (
    DataError,
    InputError,
    LastBitError,
    ModelError,
    OracleError,
    OracleMissingError,
    RuntimeNameError,
    UnsupportedError,
)
from .model.graph import Model
from .ops.prepare import prepare
from .report.blocks import Report
from .runtimes import DEFAULT_RUNTIME, RUNTIMES
from .verbs.compare.verb import compare
from .verbs.dense.verb import dense
from .verbs.diagnose.verb import diagnose
from .verbs.diff.verb import diff
from .verbs.evaluate.verb import evaluate
from .verbs.explain.verb import explain
from .verbs.explain_tensor.verb import explain_tensor
from .verbs.inspect.verb import inspect
from .verbs.prove.verb import prove
from .verbs.quantize.verb import quantize, ranges
from .verbs.run.verb import build, load, run
from .verbs.thresholds.verb import thresholds
from .verbs.vectors.verb import vectors
from .verbs.verify.verb import verify
from .verbs.whence.verb import whence


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
