"""The command line: one sub-command per verb.

There is no arithmetic here, and nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from .about import demo, doctor, runtimes
from .bench import bench
from .checks import explain, verify
from .diagnose import diagnose
from .diff import diff
from .evaluate import evaluate
from .group import Commands
from .models import extract, inspect, run
from .proofs import compare, prove, thresholds, vectors
from .quantize import quantize
from .whence import whence

__all__ = ["main"]

main = Commands.make(
    *(inspect, run, explain, verify, whence, diagnose),
    *(thresholds, compare, prove, vectors, evaluate, bench),
    *(quantize, diff, extract, demo, runtimes, doctor),
)
"""The entry point: `lastbit`."""
