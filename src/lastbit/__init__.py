"""LastBit: what a quantized layer computes on each real runtime, to the last bit.

For example::

    import lastbit
    model = lastbit.load("model.tflite")
    trace = lastbit.run(model, x, runtime="litert-xnnpack")
    trace.output, trace[0].acc
    print(lastbit.explain(model, x, at=(0, 3)))
    print(lastbit.verify(model))
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from .verbs.export.verb import export
    from .verbs.identify.verb import identify
    from .verbs.identify.verb import identify as whence  # noqa: F401 - its name of old
    from .verbs.inspect.verb import inspect
    from .verbs.prove.verb import prove
    from .verbs.quantize.verb import quantize, ranges
    from .verbs.run.verb import build, load, run
    from .verbs.thresholds.verb import thresholds
    from .verbs.vectors.verb import vectors
    from .verbs.verify.verb import verify

# Where each public name stands. It is imported when it is first used, so that `import lastbit` costs no verb.
_PLACES = {
    "engines.reference": ("OperatorTrace", "Trace"),
    "model.errors": (
        "DataError",
        "InputError",
        "LastBitError",
        "ModelError",
        "OracleError",
        "OracleMissingError",
        "RuntimeNameError",
        "UnsupportedError",
    ),
    "model.graph": ("Model",),
    "ops.prepare": ("prepare",),
    "report.blocks": ("Report",),
    "runtimes": ("DEFAULT_RUNTIME", "RUNTIMES"),
    "verbs.compare.verb": ("compare",),
    "verbs.dense.verb": ("dense",),
    "verbs.diagnose.verb": ("diagnose",),
    "verbs.diff.verb": ("diff",),
    "verbs.evaluate.verb": ("evaluate",),
    "verbs.explain.verb": ("explain",),
    "verbs.explain_tensor.verb": ("explain_tensor",),
    "verbs.export.verb": ("export",),
    "verbs.identify.verb": ("identify",),
    "verbs.inspect.verb": ("inspect",),
    "verbs.prove.verb": ("prove",),
    "verbs.quantize.verb": ("quantize", "ranges"),
    "verbs.run.verb": ("build", "load", "run"),
    "verbs.thresholds.verb": ("thresholds",),
    "verbs.vectors.verb": ("vectors",),
    "verbs.verify.verb": ("verify",),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}
# Names of old that are accepted too.
_OLD_NAMES = {"whence": "identify"}

if not TYPE_CHECKING:  # type checkers see the imports above, and no name that is not there

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name in _OLD_NAMES:
            return __getattr__(_OLD_NAMES[name])
        if name not in _PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{_PLACE_OF[name]}", __name__), name)
        globals()[name] = value
        return value


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
    "export",
    "identify",
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
]
