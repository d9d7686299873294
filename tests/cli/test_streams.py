"""What comes from outside the command line: faults, Ctrl-C, closed pipes, consoles, terminals."""

import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

import lastbit
from tests.support.cli import fill, invoke, shell


@pytest.fixture
def here(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def broken(monkeypatch, error):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setitem(sys.modules, "lastbit.verbs.inspect.verb", types.SimpleNamespace(inspect=fail))


def test_a_fault_of_lastbit_is_one_message_and_70(here, monkeypatch):
    broken(monkeypatch, ZeroDivisionError("division by zero"))
    result = invoke("inspect", "m.tflite")
    assert result.exit_code == 70
    assert result.stdout == ""
    assert result.stderr.startswith("internal error: ZeroDivisionError: division by zero\n")
    assert "please report it" in result.stderr
    assert "Traceback" not in result.stderr
    result = invoke("--debug", "inspect", "m.tflite")
    assert result.exit_code == 70
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (MemoryError(), 2, "error: there is not enough memory for this\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device\n"),
        (OSError(13, "Permission denied", "/tmp/x"), 2, "error: /tmp/x: Permission denied\n"),
    ],
)
def test_what_comes_from_outside_is_one_line(here, monkeypatch, error, code, text):
    broken(monkeypatch, error)
    result = invoke("inspect", "m.tflite")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", text)


def test_errors_do_not_steer_the_terminal(here, monkeypatch):
    broken(monkeypatch, lastbit.ModelError("tensor \x1b]0;owned\x07 is bad"))
    assert invoke("inspect", "m.tflite").stderr == "error: tensor \\x1b]0;owned\\x07 is bad\n"


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_ends_with_130_and_one_line(here):
    code = (
        "import sys, time, types\n"
        "def slow(*a, **k): print('ready', flush=True); time.sleep(30)\n"
        "sys.modules['lastbit.verbs.inspect.verb'] = types.SimpleNamespace(inspect=slow)\n"
        "from lastbit.cli import main\nmain(['inspect', 'm.tflite'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="needs pipes as POSIX has them")
@pytest.mark.parametrize("args", [["inspect", "m.tflite"], ["inspect", "m.tflite", "--json"], ["-h"]])
def test_a_closed_pipe_is_silent(here, args):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "lastbit", *args],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert process.stderr == ""
    assert process.returncode == 141


def test_a_pipe_gets_no_escape_codes_and_no_folded_lines(here):
    settings = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    result = shell("inspect", "m.tflite", "--op", 0, "-v", env=settings)
    assert result.returncode == 0
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert "acc = sum_k input*weights - zw*sum_k input + folded bias" in result.stdout


def test_a_console_that_knows_ascii_only_gets_escapes_and_no_crash(here):
    os.rename("m.tflite", "mod\u00e9le.tflite")
    for encoding in ("ascii", "cp1252"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        result = subprocess.run(
            [sys.executable, "-m", "lastbit", "inspect", "mod\u00e9le.tflite"],
            capture_output=True,
            env=environment,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert b"Dense layer 0" in result.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("variable", "coloured"), [("LC_ALL", True), ("NO_COLOR", False)])
def test_colours_only_on_a_terminal_and_not_under_no_color(here, variable, coloured):
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100", variable: "C.UTF-8"}
    code, output = in_terminal(["inspect", "m.tflite"], environment)
    assert code == 0
    assert "Dense layer 0" in output
    assert ("\x1b[" in output) == coloured
    code, output = in_terminal(["inspect", "no.tflite"], environment)
    assert code == 2
    assert ("\x1b[1;31merror:" in output) == coloured


def in_terminal(args, environment):
    """Run in a pseudo terminal; the exit code and everything it showed."""
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lastbit", *args],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
    )
    os.close(follower)
    chunks = []

    def drain():
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # Linux's end of a terminal
                return
            if not chunk:
                return
            chunks.append(chunk)

    thread = threading.Thread(target=drain)
    thread.start()
    code = process.wait(timeout=60)
    thread.join(timeout=10)
    os.close(leader)
    return code, b"".join(chunks).decode()


def test_progress_in_a_log_is_a_line_now_and_then_and_only_after_a_second(monkeypatch, capsys):
    from lastbit.report.terminal import progress

    clock = iter([100.0, 100.2, 100.9, 101.1, 101.2, 106.2])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with progress("verify") as update:
        for done in range(5):
            update(done, 9, f"layer {done}")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "verify: 2 of 9, layer 2\nverify: 4 of 9, layer 4\n"
