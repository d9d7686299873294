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
from .export import export
from .extract import extract
from .group import Commands, Section
from .identify import identify
from .inspect import inspect
from .prove import prove
from .quantize import quantize
from .record import record
from .run import run
from .runtimes import runtimes
from .thresholds import thresholds
from .vectors import vectors
from .verify import verify

__all__ = ["main"]

main = Commands.make(
    Section("Look into a model", (inspect, explain), (thresholds, diff)),
    Section("Run it", (run, evaluate), (bench,)),
    Section("Check what was printed", (diagnose, verify, compare), (identify, prove, record)),
    Section("Make something", (quantize, vectors, export), (extract,)),
    Section("About this system", (runtimes, doctor), (demo,)),
)
"""The entry point: `lastbit`."""
