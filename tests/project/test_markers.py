"""Markers follow from what a test is, and a skipped test can be made a failure."""

import os
import subprocess
import sys

import pytest

from tests.support.places import ROOT
from tests.support.slow import LONGEST, SLOW, WITH_SLOW_TESTS


def pytest_in(*arguments, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})


def test_every_slow_test_is_there():
    for name in SLOW:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name
    assert LONGEST < WITH_SLOW_TESTS


def test_markers_choose_tests():
    output = pytest_in("--collect-only", "-m", "jit", "tests/engines/jit/test_cpu.py", "tests/report/test_json_text.py")
    files = {line.partition("::")[0] for line in output.stdout.splitlines() if "::" in line}
    assert files == {"tests/engines/jit/test_cpu.py"}


@pytest.mark.parametrize(("wanted", "exit_code"), [("", 0), ("1", 1)])
def test_a_skipped_test_is_counted_and_can_be_a_failure(tmp_path, wanted, exit_code):
    test = tmp_path / "test_made.py"
    test.write_text(
        "import pytest\n\ndef test_one():\n    pytest.skip('needs a reason')\n\ndef test_two():\n    pass\n"
    )
    done = pytest_in("-p", "tests.conftest", str(test), LASTBIT_CI_FULL=wanted)
    assert "     1 needs a reason" in done.stdout
    assert done.returncode == exit_code, done.stdout
