"""The command line: one sub-command per verb.

There is no arithmetic here, and nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from .bench import bench
from .compare import compare
from .demo import demo
from .diagnose import diagnose
from .diff import diff
from .doctor import doctor
from .evaluate import evaluate
from .explain import explain
from .extract import extract
from .group import Commands
from .inspect import inspect
from .prove import prove
from .quantize import quantize
from .run import run
from .runtimes import runtimes
from .thresholds import thresholds
from .vectors import vectors
from .verify import verify
from .whence import whence

__all__ = ["main"]

main = Commands.make(
    *(inspect, run, explain, verify, whence, diagnose),
    *(thresholds, compare, prove, vectors, evaluate, bench),
    *(quantize, diff, extract, demo, runtimes, doctor),
)
"""The entry point: `lastbit`."""
