"""Fixtures and markers of all tests, and what CI says of those that were skipped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# Each core has a worker of pytest-xdist: BLAS with threads of its own would only wait for them. Before NumPy is loaded;
# workers and what tests start inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

from tests.support.interpreters import needs_all_interpreters
from tests.support.places import ROOT
from tests.support.slow import LONGEST, SLOW, WITH_SLOW_TESTS


@pytest.fixture
def rng():
    return np.random.default_rng(1234)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name in markers_of(item):
            item.add_marker(name)
    if hasattr(config, "workerinput"):
        items.sort(key=turn_of)


def turn_of(item: pytest.Item) -> int:
    """When the workers of pytest-xdist begin the tests of a file: last come short ones, so that all end together."""
    place = "/".join(place_of(item.path))
    return 0 if place in LONGEST else 1 if place in WITH_SLOW_TESTS else 2


@cache
def place_of(path: Path) -> tuple[str, ...]:
    """Where a file stands in tests/; empty for others."""
    return path.relative_to(ROOT).parts[1:] if path.is_relative_to(ROOT / "tests") else ()


def markers_of(item: pytest.Item) -> Iterator[str]:
    """What a test is, by where it stands and what it uses; pyproject.toml says what each marker means."""
    place = place_of(item.path)
    if place[:1] in {("live",), ("oracles",)} or needs_all_interpreters.mark in item.iter_markers("skipif"):
        yield "live"
    if hasattr(getattr(item, "module", None), "GOLDEN"):
        yield "golden"
    if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
        yield "property"
    if place[:2] == ("engines", "jit") or place == ("lab", "test_check_engine.py"):
        yield "jit"
    if f"{'/'.join(place)}::{getattr(item, 'originalname', '')}" in SLOW:
        yield "slow"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were skipped, by reason."""
    counts = skipped(terminalreporter)
    if counts:
        terminalreporter.section("skipped, by reason")
        for reason, count in counts.most_common():
            terminalreporter.line(f"{count:6} {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With LASTBIT_CI_FULL=1 everything must have run: a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        os.environ.get("LASTBIT_CI_FULL") == "1"
        and reporter is not None
        and skipped(reporter)
        and not session.exitstatus
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def skipped(reporter: pytest.TerminalReporter) -> Counter[str]:
    """Reason -> tests (or files of tests) that were skipped for it."""
    reports = reporter.stats.get("skipped", [])
    return Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in reports
    )
