"""Oracles: the real interpreters where they are installed, made-up workers for everything that goes wrong."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lastbit.model.errors import InputError, OracleError, OracleMissingError, RuntimeNameError
from lastbit.model.extras import install_text
from lastbit.oracles import (
    ORACLES,
    Oracle,
    OracleFailure,
    OracleRefusal,
    OracleRun,
    installed,
    on_this_machine,
    open_oracle,
)
from lastbit.oracles import spec as oracles_spec
from lastbit.oracles import tflite_worker as _worker
from lastbit.oracles.process import WorkerProcess
from lastbit.runtimes import RUNTIMES
from lastbit.runtimes import machine as machines
from lastbit.runtimes.machine import cpu_text, widest_vectors
from tests.support.interpreters import XNNPACK

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
SOURCE = Path(_worker.__file__).resolve().parents[2]
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and processes as POSIX has them")

# NumPy stands for the interpreter's distribution: it is always installed.
# The others are handed single dense layers: test_other_runtimes.
WHOLE_MODELS = [name for name, spec in ORACLES.items() if spec.whole_models and spec.fits_machine]
FAKE = replace(ORACLES["litert-builtin-x86"], name="fake", distribution="numpy", mode="made up")
# A worker that obeys the model's bytes. `jobs` counts what it has served.
OBEDIENT = f"""
import os, signal, sys, time
sys.path.insert(0, {str(Path(_worker.__file__).parent)!r})
import tflite_worker as _worker
jobs = 0
while (frame := _worker.read_frame(sys.stdin.buffer)) is not None:
    header, body = frame
    order = body[: header["model_bytes"]].decode()
    if order == "segfault":
        sys.stderr.write("kernel: about to fall\\n"); sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    if order == "exit": sys.exit("no more")
    if order == "hang": time.sleep(60)
    if order == "garbage":
        sys.stdout.write("INFO: hello from C++, sixteen bytes"); sys.stdout.flush(); time.sleep(60)
    if order == "half":
        sys.stdout.buffer.write(b"LBit"); sys.stdout.flush(); break
    if order == "late" and jobs: os.abort()
    if order == "refuse":
        sys.stderr.write("INFO: nothing\\nkernel.cc:1 wrong type\\n"); sys.stderr.flush()
        _worker.write_frame(sys.stdout.buffer, dict(status="refused", reason="failed to prepare"))
        continue
    jobs += 1
    info = dict(status="done", operators=[order, str(os.getpid())], delegated=None, delegated_operators=None)
    packer = _worker.Packer()
    for sample in _worker.unpack(header, body, header["model_bytes"] + -header["model_bytes"] % 16):
        packer.group(sample)
    _worker.write_frame(sys.stdout.buffer, info | packer.header(), packer.parts)
"""


@pytest.fixture
def obedient() -> Iterator[Oracle]:
    with Oracle(FAKE, timeout=30, command=[sys.executable, "-c", OBEDIENT]) as oracle:
        yield oracle


def failure_of(oracle: Oracle, content: bytes, label: str = "") -> OracleFailure:
    with pytest.raises(OracleFailure) as caught:
        oracle.run(content, [], label=label)
    return caught.value


# --- the table and what is installed ---


def test_table_is_keyed_by_runtime_name_and_every_extra_exists() -> None:
    assert list(ORACLES) == list(RUNTIMES)
    assert all(spec.name == name for name, spec in ORACLES.items())
    assert {spec.extra for spec in ORACLES.values() if not spec.library} == {"litert", "tflm", "onnxruntime", "torch"}


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RuntimeNameError, match=r"no oracle is named 'tflite'; there are litert-xnnpack, .*tflm"):
        open_oracle("tflite")
    with pytest.raises(RuntimeNameError):
        installed("")


@pytest.mark.parametrize("name", list(ORACLES))
def test_missing_interpreter_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(ORACLES[name], distribution="lastbit-no-such-distribution")
    monkeypatch.setitem(ORACLES, name, absent)
    assert installed(name) is None
    with pytest.raises(OracleMissingError) as caught:
        open_oracle(name)
    advice = "give library=FILE." if absent.library else f"Install it: {install_text(absent.extra)}"
    if not absent.fits_machine:
        told = "needs a CPU of the kind"
        advice = told if platform.machine() in absent.machines or not absent.machines else "on a machine of type"
    assert advice in str(caught.value)
    assert ("Linux on x86-64 only" in str(caught.value)) == (name == "tflm")


def test_an_interpreter_of_another_cpu_is_not_there_and_the_one_of_this_cpu_is_named() -> None:
    if platform.machine() not in ORACLES["litert-xnnpack"].machines:
        pytest.skip("needs x86-64")
    litert = [spec for spec in ORACLES.values() if spec.extra == "litert"]
    kinds = {s.vectors[0]: s.name for s in litert if s.vectors and s.machines == ORACLES["litert-xnnpack"].machines}
    here = kinds.pop(widest_vectors())
    assert {on_this_machine(name) for name in (here, *kinds.values())} == {here}
    assert on_this_machine("litert-reference-arm64") == "litert-reference"
    assert on_this_machine("tflm") == "tflm"
    for kind, elsewhere in kinds.items():
        assert installed(elsewhere) is None
        with pytest.raises(OracleMissingError, match=f"needs a CPU of the kind {kind}; this one is "):
            open_oracle(elsewhere)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("AVX512-VNNI", ("onnxruntime", "torch-fbgemm")),
        ("AVX-VNNI", ("onnxruntime", "torch-fbgemm-avx2")),
        ("AVX512", ("onnxruntime-avx2", "torch-fbgemm-avx2")),
        ("AVX2", ("onnxruntime-avx2", "torch-fbgemm-avx2")),
    ],
)
def test_single_layer_runtimes_are_told_apart_by_whether_products_saturate(kind, names, monkeypatch) -> None:
    monkeypatch.setattr("lastbit.oracles.spec.widest_vectors", lambda: kind)
    monkeypatch.setattr("lastbit.oracles.spec.platform.machine", lambda: "x86_64")
    for name in ("onnxruntime", "torch-fbgemm"):
        assert {on_this_machine(name), on_this_machine(f"{name}-avx2")} == {
            next(n for n in names if n.startswith(name))
        }
    assert on_this_machine("onnxruntime@1.20.1") == "onnxruntime@1.20.1"
    monkeypatch.setattr("lastbit.oracles.spec.platform.machine", lambda: "arm64")
    assert on_this_machine("onnxruntime-avx2") == on_this_machine("onnxruntime") == "onnxruntime"


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        ({"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx_vnni"}, "AVX512-VNNI"),
        ({"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"}, "AVX512"),
        ({"avx2", "avx512f"}, "AVX2"),
        ({"avx2", "avx_vnni"}, "AVX-VNNI"),
        ({"avx2"}, "AVX2"),
        ({"fp", "asimd", "fphp", "asimdhp", "asimddp", "sve", "i8mm", "sme"}, "SME"),
        ({"fp", "asimd", "fphp", "asimdhp", "asimddp", "sve", "i8mm", "sme", "sme2"}, "SME2"),
        ({"fp", "asimd", "fphp", "asimdhp", "asimddp", "sve", "i8mm"}, "I8MM"),
        ({"fp", "asimd", "aes", "fphp", "asimdhp", "asimddp"}, "DOTPROD"),
        ({"fp", "asimd", "crc32"}, "NEON"),
        ({"fp", "asimd", "crc32", "cortex_a53"}, "NEON-A53"),
        (set(), None),
    ],
)
def test_a_cpu_is_of_one_kind(features: set[str], kind: str | None) -> None:
    assert widest_vectors(frozenset(features)) == kind


@pytest.mark.parametrize(
    ("part", "features", "delegate", "reference"),
    [
        ("0xd03", "fp asimd crc32", None, "litert-reference-arm64-neon"),
        ("0xd08", "fp asimd crc32", "litert-xnnpack-arm64-neon", "litert-reference-arm64-neon"),
        ("0xd0b", "fp asimd asimddp", "litert-xnnpack-arm64-dotprod", "litert-reference-arm64"),
        ("0xd4f", "fp asimd asimddp i8mm", "litert-xnnpack-arm64", "litert-reference-arm64"),
        ("0xd8e", "fp asimd asimddp i8mm sme", "litert-xnnpack-arm64-sme", "litert-reference-arm64"),
        ("0xd8e", "fp asimd asimddp i8mm sme sme2", None, "litert-reference-arm64"),
    ],
)
def test_on_arm64_the_cpu_chooses(
    part: str, features: str, delegate: str | None, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n")
    name, found = machines._linux(str(listing))
    assert part in name
    monkeypatch.setattr(oracles_spec, "widest_vectors", lambda: widest_vectors(frozenset(found)))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert on_this_machine("litert-reference") == reference
    # A Cortex-A53's delegate follows no runtime that LastBit has: the name stays, and nothing is there to run.
    assert on_this_machine("litert-xnnpack") == (delegate or "litert-xnnpack")
    if delegate is None:
        assert not any(spec.fits_machine for spec in ORACLES.values() if spec.worker == ("litert", "AUTO"))


def test_fingerprint_is_plain_text_for_json(obedient: Oracle) -> None:
    fields = json.loads(json.dumps(obedient.fingerprint.as_dict()))
    assert fields["oracle"] == "numpy"
    assert fields["version"] == np.__version__
    assert fields["mode"] == "made up"
    assert set(fields) == {"oracle", "version", "mode", "cpu", "platform"}
    assert all(fields.values())


def test_ruy_paths_is_part_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUY_PATHS", "0x10")
    assert cpu_text().endswith("; RUY_PATHS=0x10")


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1.0}, {"threads": 0}])
def test_options_must_be_positive(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be positive"):
        Oracle(FAKE, command=[sys.executable, "-c", ""], **options)  # type: ignore[arg-type]


# --- frames ---


def test_arrays_of_every_type_and_shape_cross_unchanged(obedient: Oracle) -> None:
    generator = np.random.default_rng(0)
    arrays = [
        generator.integers(-128, 128, (3, 5), dtype=np.int8),
        np.float32([[1.5, -0.0, np.inf]]),
        np.asarray(7, np.int64),
        np.zeros((0, 4), np.int16),
        np.array([True, False]),
        generator.integers(0, 9, (4, 6), dtype=np.int32)[:, ::2],
        np.arange(3, dtype=">i2"),
    ]
    run = obedient.run(b"odd", [arrays, arrays[:1], []])
    assert [len(sample) for sample in run.outputs] == [len(arrays), 1, 0]
    for got, sent in zip(run.outputs[0], arrays, strict=True):
        assert got.dtype == sent.dtype
        assert got.tobytes() == sent.tobytes()
        np.testing.assert_array_equal(got, sent, strict=True)
        assert not got.flags.writeable
        assert got.flags.aligned


def test_a_job_larger_than_any_pipe_buffer_crosses(obedient: Oracle) -> None:
    big = np.arange(3_000_000, dtype=np.int32)
    run = obedient.run(b"x" * 1_000_001, [[big], [big]])
    np.testing.assert_array_equal(run.outputs[1][0], big)


def test_frames_that_end_early_or_are_none() -> None:
    stream = io.BytesIO()
    _worker.write_frame(stream, {"a": 1}, [b"1234"])
    whole = stream.getvalue()
    assert _worker.read_frame(io.BytesIO(whole)) == ({"a": 1}, b"1234")
    for length in range(len(whole)):
        assert _worker.read_frame(io.BytesIO(whole[:length])) is None
    with pytest.raises(_worker.FrameError, match="not a frame"):
        _worker.read_frame(io.BytesIO(b"Hello, world"))


def test_an_input_that_is_no_array_of_numbers(obedient: Oracle) -> None:
    with pytest.raises(InputError, match=r"sample 0: wanted an array of numbers .* found str"):
        obedient.run(b"x", [["text"]])  # type: ignore[list-item]


# --- what goes wrong ---


@posix_only
def test_a_crash_is_told_and_the_next_call_works(obedient: Oracle) -> None:
    before = obedient.run(b"fine", []).operators[1]
    failure = failure_of(obedient, b"segfault", "resnet.tflite")
    assert failure.kind == "crashed"
    assert failure.reason == "ended with signal 11 (SIGSEGV)"
    assert failure.exit_code == OracleError.exit_code
    text = str(failure)
    assert f"numpy {np.__version__} (made up) failed while it ran model 'resnet.tflite'" in text
    assert "signal 11 (SIGSEGV)" in text
    assert "the next call starts a fresh process" in text
    assert text.endswith("Its last words:\n  kernel: about to fall")
    assert obedient.run(b"fine", []).operators[1] != before


def test_an_exit_is_told_with_its_code_and_last_words(obedient: Oracle) -> None:
    failure = failure_of(obedient, b"exit")
    assert failure.kind == "crashed"
    assert "ended with exit code 1" in str(failure)
    assert "no more" in str(failure)


def test_text_on_the_channel_is_no_answer(obedient: Oracle) -> None:
    failure = failure_of(obedient, b"garbage")
    assert failure.kind == "crashed"
    assert "wrote something that is not an answer (not a frame: b'INFO: hello from" in failure.reason


def test_an_answer_cut_short_is_a_crash(obedient: Oracle) -> None:
    failure = failure_of(obedient, b"half")
    assert failure.kind == "crashed"
    assert failure.reason == "ended with exit code 0"


@pytest.mark.parametrize("script", [OBEDIENT, "import time; time.sleep(60)"], ids=["silent", "never reads"])
def test_a_hang_ends_at_the_timeout(script: str) -> None:
    content = b"hang" if script == OBEDIENT else bytes(10_000_000)
    start = time.monotonic()
    with Oracle(FAKE, timeout=1.0, command=[sys.executable, "-c", script]) as oracle:
        failure = failure_of(oracle, content)
    assert failure.kind == "timeout"
    assert "gave no answer within 1 s and was ended" in str(failure)
    assert "open_oracle(..., timeout=seconds)" in str(failure)
    assert time.monotonic() - start < 20


def test_a_refusal_has_the_log_first_and_keeps_the_worker(obedient: Oracle) -> None:
    before = obedient.run(b"fine", []).operators[1]
    failure = failure_of(obedient, b"refuse", "a")
    assert isinstance(failure, OracleRefusal)
    assert failure.kind == "refused"
    assert failure.reason == "kernel.cc:1 wrong type (failed to prepare)"
    assert str(failure).startswith(f"numpy {np.__version__} (made up) refused model 'a': kernel.cc:1")
    assert obedient.run(b"fine", []).operators[1] == before


@posix_only
def test_a_batch_goes_on_after_every_failure(obedient: Oracle) -> None:
    orders = [b"one", b"refuse", b"two", b"segfault", b"three"]
    results = obedient.run_batch([(order, []) for order in orders], label="layers")
    kinds = [r.operators[0] if isinstance(r, OracleRun) else r.kind for r in results]
    assert kinds == ["one", "refused", "two", "crashed", "three"]
    assert "model 'layers, model 3'" in str(results[3])


def test_a_crash_left_by_an_earlier_job_is_not_held_against_this_one(obedient: Oracle) -> None:
    assert obedient.run(b"late", []).operators[0] == "late"
    assert obedient.run(b"late", []).operators[0] == "late"


def test_a_worker_that_died_between_calls_is_replaced(obedient: Oracle) -> None:
    worker = obedient._worker
    assert worker is not None
    worker._process.kill()
    worker._process.wait()
    assert obedient.run(b"fine", []).operators[0] == "fine"


def test_a_closed_oracle_says_so(obedient: Oracle) -> None:
    worker = obedient._worker
    assert worker is not None
    obedient.close()
    obedient.close()
    assert not worker.alive
    with pytest.raises(OracleError, match=r"oracle fake is closed; open it again with open_oracle\('fake'\)"):
        obedient.run(b"fine", [])


@posix_only
def test_ctrl_c_comes_through_and_ends_the_worker() -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("Python delivers Ctrl-C to the main thread only")
    with Oracle(FAKE, timeout=30, command=[sys.executable, "-c", OBEDIENT]) as oracle:
        oracle.run(b"fine", [])
        worker = oracle._worker
        assert worker is not None
        press = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        press.start()
        with pytest.raises(KeyboardInterrupt):
            oracle.run(b"hang", [])
        press.join()
        assert oracle.run(b"fine", []).operators[0] == "fine"
        assert not worker.alive


@posix_only
@pytest.mark.parametrize("ending", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["exit", "killed"])
def test_no_worker_outlives_its_parent(ending: str) -> None:
    # The worker's process needs no interpreter here: it says that it is missing only when it is asked.
    script = f"""
    import os, signal, sys
    from lastbit.oracles import tflite_worker as _worker
    from lastbit.oracles.process import WorkerProcess
    worker = WorkerProcess([sys.executable, "-P", _worker.__file__, "litert", "AUTO", "1"])
    print(worker.pid, flush=True)
    {ending}
    """
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, timeout=60
    )
    _assert_ends(int(done.stdout))


def _assert_ends(pid: int) -> None:
    """A process is gone, at once or soon."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{pid}/stat")
        with contextlib.suppress(OSError):
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return  # ended; whoever adopted it has not looked yet
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"process {pid} outlived its parent")


def _await(path: Path) -> int:
    """The number that a process writes to a file."""
    for _ in range(600):
        if path.exists() and (text := path.read_text()).endswith("."):
            return int(text[:-1])
        time.sleep(0.05)
    pytest.fail(f"{path} was not written")


# A worker whose interpreter tells its process id and then calculates for ever.
BUSY = """
import ctypes, os, pathlib, sys, time
sys.path.insert(0, {folder!r})
import tflite_worker as _worker
class Interpreter:
    def run(self, content, samples, resize, packer):
        pathlib.Path({started!r}).write_text(f"{{os.getpid()}}.")
        {busy}
_worker.serve(Interpreter)
"""
BUSY_PARENT = """
import os, sys, threading, time
from lastbit.oracles.process import WorkerProcess
{before}
worker = WorkerProcess([sys.executable, "-c", {worker!r}])
{after}
worker.ask({header!r}, [], 600)
"""
NATIVE = "ctypes.CDLL(None).sleep(600)"
NATIVE_WITH_LOCK = "ctypes.PyDLL(None).sleep(600)"  # no thread of Python's runs meanwhile
PYTHON = "while True: pass"
HEIR = "os.fork() or time.sleep(600)"  # a process that keeps the pipe to the worker open


def _busy_worker(tmp_path: Path, busy: str, before: str = "", after: str = "", **header: float) -> tuple[int, int]:
    """The process ids of a parent and of its worker, which is in the middle of a job."""
    started = tmp_path / "started"
    worker = BUSY.format(folder=str(Path(_worker.__file__).parent), started=str(started), busy=busy)
    job = {"model_bytes": 0, "resize": False, **_worker.Packer().header(), **header}
    script = BUSY_PARENT.format(before=before, after=after, worker=worker, header=job)
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return parent.pid, _await(started)
    except BaseException:
        parent.kill()
        raise


@posix_only
@pytest.mark.parametrize(
    ("busy", "after"),
    [(NATIVE, ""), (NATIVE_WITH_LOCK, ""), (PYTHON, ""), (NATIVE, HEIR), (PYTHON, HEIR)],
    ids=["native", "native with Python's lock", "Python", "native, an heir of the pipe", "Python, an heir of the pipe"],
)
def test_a_worker_in_the_middle_of_a_job_does_not_outlive_its_parent(tmp_path: Path, busy: str, after: str) -> None:
    parent, worker = _busy_worker(tmp_path, busy, after=after)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        _assert_ends(worker)
    finally:
        if after:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent, signal.SIGKILL)


@posix_only
@pytest.mark.parametrize("busy", [NATIVE_WITH_LOCK, PYTHON], ids=["native with Python's lock", "Python"])
def test_a_worker_has_a_deadline_of_its_own(tmp_path: Path, busy: str) -> None:
    # A parent that is stopped keeps the pipe open and ends nobody.
    parent, worker = _busy_worker(tmp_path, busy, deadline=1.0)
    os.kill(parent, signal.SIGSTOP)
    try:
        _assert_ends(worker)
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


@posix_only
@pytest.mark.skipif(not WHOLE_MODELS or installed(WHOLE_MODELS[0]) is None, reason="needs an interpreter")
def test_a_real_interpreter_in_the_middle_of_a_job_does_not_outlive_its_parent(tmp_path: Path) -> None:
    script = f"""
    import pathlib, numpy as np
    from lastbit.oracles import open_oracle
    from lastbit.model.tflite import write
    from lastbit.model.tflite.synthesize import dense_subgraph, quant
    w = np.ones((2048, 2048), np.int8)
    given = dict(weights_quant=quant(0.02), input_quant=quant(0.1), output_quant=quant(0.1))
    content = write(dense_subgraph(w, bias=np.zeros(2048, np.int64), **given))
    oracle = open_oracle({WHOLE_MODELS[0]!r}, timeout=600)
    pathlib.Path({str(tmp_path / "started")!r}).write_text(f"{{oracle._worker.pid}}.")
    sample = [np.zeros((4096, 2048), np.int8)]
    oracle.run(content, [sample] * 40, resize=True)
    """
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment)
    worker = _await(tmp_path / "started")
    with contextlib.suppress(subprocess.TimeoutExpired):
        parent.wait(1.5)  # it loads the interpreter, then calculates: it may be killed anywhere
    parent.kill()
    parent.wait()
    _assert_ends(worker)


def test_a_dropped_oracle_ends_its_worker() -> None:
    worker = WorkerProcess([sys.executable, "-c", OBEDIENT])
    process = worker._process
    del worker
    assert process.poll() is not None


# --- the worker with a made-up LiteRT ---

FAKE_LITERT = """
import enum, os
import numpy as np
class OpResolverType(enum.Enum):
    AUTO = 0
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3
class Interpreter:
    def __init__(self, model_content, num_threads, experimental_op_resolver_type):
        os.write(1, b"printed from C++ " * 3)
        order = model_content.decode()
        self.inputs = [dict(index=4, dtype=np.int8, shape=np.array([1, 2]))]
        if order == "same": self.inputs *= 2
        if order == "none": self.inputs = []
        if order == "text": self.inputs[0]["dtype"] = np.bytes_
        self.outputs = [dict(index=4, dtype=np.object_ if order == "variant" else np.int8)]
    def get_input_details(self): return self.inputs
    def get_output_details(self): return self.outputs
    def resize_tensor_input(self, index, shape, strict): self.inputs[0]["shape"] = np.array(shape)
    def allocate_tensors(self): pass
    def set_tensor(self, index, value): self.value = value
    def get_tensor(self, index): return self.value
    def invoke(self): self.value = self.value + 1
"""


@pytest.fixture
def made_up_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Oracle]:
    def make(text: str) -> Oracle:
        package = tmp_path / "ai_edge_litert"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "interpreter.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return Oracle(FAKE, timeout=30)

    return make


def test_prints_of_the_interpreter_go_to_the_log(made_up_litert: Callable[[str], Oracle]) -> None:
    with made_up_litert(FAKE_LITERT) as oracle:
        run = oracle.run(b"", [[np.int8([[1, 2]])], [np.int8([[3, 4]])]])
        assert [sample[0].tolist() for sample in run.outputs] == [[[2, 3]], [[4, 5]]]
        assert run.log.startswith("printed from C++")
        # A version that does not list its operators is not taken for one without a delegate.
        assert (run.operators, run.delegated, run.delegated_operators) == ((), None, None)


def test_what_cannot_be_passed_is_refused_in_words(made_up_litert: Callable[[str], Oracle]) -> None:
    pair = np.int8([[1, 2]])
    with made_up_litert(FAKE_LITERT) as oracle:
        for content, samples, words in [
            (b"same", [[pair]], "graph inputs 0 and 1 are the same tensor (4)"),
            (b"none", [[]], "the model has no graph input"),
            (b"text", [[pair]], "graph input 0 has element type string; only numbers can be passed"),
            (b"variant", [[pair]], "graph output 0 has element type string"),
            (b"", [[pair], [pair, pair]], "sample 1 has 2 array(s); the model has 1 graph input(s)"),
            (b"", [[np.uint8([[1, 2]])]], "graph input 0: got uint8 [1, 2], wanted int8 [1, 2]"),
            (b"", [[np.int8([1, 2])]], "graph input 0: got int8 [2], wanted int8 [1, 2]"),
        ]:
            with pytest.raises(OracleRefusal) as caught:
                oracle.run(content, samples, label="m")
            assert words in str(caught.value)
            assert str(caught.value).startswith("oracle fake does not run model 'm': ")


def test_resize_follows_the_shape_of_each_sample(made_up_litert: Callable[[str], Oracle]) -> None:
    with made_up_litert(FAKE_LITERT) as oracle:
        samples = [[np.ones((n, 2), np.int8)] for n in (3, 3, 1)]
        run = oracle.run(b"", samples, resize=True)
        assert [sample[0].shape for sample in run.outputs] == [(3, 2), (3, 2), (1, 2)]


def test_an_installed_interpreter_that_does_not_load(made_up_litert: Callable[[str], Oracle]) -> None:
    with (
        made_up_litert("raise ImportError('GLIBC_2.99 not found')") as oracle,
        pytest.raises(OracleMissingError, match=r"is installed but does not load: ImportError: GLIBC_2.99") as caught,
    ):
        oracle.run_batch([(b"", [])])
    assert 'Install it again, with --force-reinstall: pip install "ai-edge-litert==' in str(caught.value)


def test_operators_of_a_delegate_are_found_by_its_boundary() -> None:
    def op(inputs: list[int], outputs: list[int]) -> _worker.Header:
        return {"inputs": np.array(inputs), "outputs": np.array(outputs)}

    # 0 -> [op 0] -> 1 -> [op 1] -> 2 -> [op 2] -> 3, constants 8 and 9, an optional input -1
    own = [op([0, 8, -1], [1]), op([1], [2]), op([2, 9], [3])]
    assert _worker.replaced_operators(own, []) == []
    assert _worker.replaced_operators(own, [op([0, 8], [2])]) == [0, 1]
    assert _worker.replaced_operators(own, [op([0, 8], [1]), op([2, 9], [3])]) == [0, 2]
    assert _worker.replaced_operators(own, [op([0, 8, 9], [3])]) == [0, 1, 2]


# --- the real interpreters ---


def real(name: str) -> Oracle:
    # Found, not imported: an interpreter that crashes must not take the tests down either.
    module = "tflite_micro" if name == "tflm" else "ai_edge_litert"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    return open_oracle(name)


def model(name: str) -> bytes:
    if not MODELS.is_dir():
        pytest.skip(f"the shared models are not at {MODELS}")
    return (MODELS / name).read_bytes()


@pytest.mark.parametrize("name", WHOLE_MODELS)
def test_real_dense_layer(name: str) -> None:
    content = model("forum_dense_per_channel.tflite")
    generator = np.random.default_rng(1)
    samples = [[generator.integers(-128, 128, (1, 16, 48), dtype=np.int8)] for _ in range(3)]
    with real(name) as oracle:
        assert oracle.fingerprint == installed(name)
        run = oracle.run(content, samples)
        alone = [oracle.run(content, [sample]) for sample in samples]
        assert oracle.run(content, []).outputs == ()
    assert len(run.outputs) == 3
    for together, single in zip(run.outputs, alone, strict=True):
        assert together[0].dtype == np.int8
        assert together[0].shape == (1, 16, 32)
        np.testing.assert_array_equal(together[0], single.outputs[0][0])
    assert np.unique(run.outputs[0][0]).size > 50
    expected = {
        XNNPACK: (("FULLY_CONNECTED", "DELEGATE"), True, (0,)),
        "tflm": ((), None, None),
    }.get(name, (("FULLY_CONNECTED",), False, ()))
    assert (run.operators, run.delegated, run.delegated_operators) == expected


@pytest.mark.parametrize("name", WHOLE_MODELS)
def test_real_refusals_have_the_interpreters_words(name: str) -> None:
    content = model("cpetig_hello_world_5.tflite")
    words = "Input type UINT8 (3) not supported" if name == "tflm" else "Tensor 8 is invalidly specified in schema"
    with real(name) as oracle:
        with pytest.raises(OracleRefusal) as caught:
            oracle.run(content, [[np.zeros((1, 1), np.uint8)]], label="hello")
        assert words in caught.value.reason
        assert "refused model 'hello'" in str(caught.value)
        for broken in (b"", b"TFL3" * 100, content[: len(content) // 2]):
            assert isinstance(oracle.run_batch([(broken, [])])[0], OracleFailure)


def test_real_delegate_takes_a_part_of_the_graph() -> None:
    content = model("arm_kws_lstm_s.tflite")
    with real(XNNPACK) as oracle:
        run = oracle.run(content, [[np.zeros((1, 490), np.float32)]])
    assert run.operators.count("DELEGATE") > 1
    own = len(run.operators) - run.operators.count("DELEGATE")
    assert run.delegated_operators is not None
    assert 0 < len(run.delegated_operators) < own
    assert max(run.delegated_operators) < own


def test_real_resize() -> None:
    content = model("forum_dense_per_channel.tflite")
    x = np.random.default_rng(2).integers(-128, 128, (1, 16, 48), dtype=np.int8)
    with real("litert-reference") as oracle:
        run = oracle.run(content, [[x], [x[:, :5]]], resize=True)
        assert run.outputs[1][0].shape == (1, 5, 32)
        np.testing.assert_array_equal(run.outputs[1][0], run.outputs[0][0][:, :5])
    with (
        real("tflm") as oracle,
        pytest.raises(OracleRefusal, match=r"oracle tflm .* cannot resize graph inputs"),
    ):
        oracle.run(content, [[x]], resize=True)


def test_real_reference_crash_on_int16_output_is_survived() -> None:
    tflite = pytest.importorskip("tflite")
    content = bytearray(model("forum_dense_per_channel.tflite"))
    graph = tflite.Model.GetRootAs(content, 0).Subgraphs(0)
    tensor = graph.Tensors(graph.Outputs(0))
    content[tensor._tab.Pos + tensor._tab.Offset(6)] = tflite.TensorType.INT16  # the field `type`
    sample = [np.ones((1, 16, 48), np.int8)]
    with real("litert-reference") as oracle:
        # Not wanted, only known: a later LiteRT may well refuse it instead.
        with pytest.raises(OracleFailure) as caught:
            oracle.run(bytes(content), [sample])
        assert caught.value.kind in ("crashed", "refused")
        assert oracle.run(model("forum_dense_per_channel.tflite"), [sample]).outputs
