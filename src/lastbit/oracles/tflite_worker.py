"""The process that a real interpreter runs in: read a job, run it, answer, until stdin ends.

This file is started by its path (`python -P .../tflite_worker.py litert AUTO 1`), so that a crash of the
interpreter takes only this process with it. It imports NumPy and the one interpreter, and nothing of LastBit.
The other side imports the frame functions from here, so that there is one definition of them.

A frame is 16 bytes (magic, header length, body length), a JSON header, and a body of array bytes. Each array
of a body starts at a multiple of 16 bytes, so that the interpreters get aligned memory without another copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import queue
import select
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Header = dict[str, Any]
Samples = list[list[Array]]

_FRAME = struct.Struct("<4sIQ")
_MAGIC = b"LBit"
_ALIGNMENT = 16
_NUMERIC_KINDS = "biufc"
_NOTHING_TOLD: Header = {"operators": [], "delegated": None, "delegated_operators": None}
# The arena of TensorFlow Lite Micro is not cleared when it is made, so pages that a model does not use cost
# nothing: a generous one takes as long as a small one. Too small a one is no orderly error to try again
# after: its message blames an operator, or (100 bytes) the process dies of a segmentation fault.
_TFLM_ARENA_BYTES = 64 << 20


class FrameError(Exception):
    """The bytes on the channel are not a frame."""


class Unfit(Exception):
    """A model or an input that the interpreter is not given, whatever it would do. The text says why."""


# --- frames ---


def write_frame(stream: IO[bytes], header: Header, parts: Sequence[bytes] = ()) -> None:
    """Write one frame and flush it."""
    text = json.dumps(header).encode()
    stream.write(_FRAME.pack(_MAGIC, len(text), sum(map(len, parts))) + text)
    stream.writelines(parts)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Header, bytes] | None:
    """Read one frame; None where the stream ends.

    Raises:
        FrameError: what was read is something else.
    """
    prefix = stream.read(_FRAME.size)
    if not prefix:
        return None
    if not _MAGIC.startswith(prefix[:4]):
        raise FrameError(f"not a frame: {prefix!r}")
    if len(prefix) < _FRAME.size:
        return None
    _, header_length, body_length = _FRAME.unpack(prefix)
    text, body = stream.read(header_length), stream.read(body_length)
    if len(text) < header_length or len(body) < body_length:
        return None
    header: Header = json.loads(text)
    return header, body


class Packer:
    """Collects arrays for a frame: `parts` is the body, `header()` describes it.

    Equal (dtype, shape) pairs are written once, since a thousand samples of one model share one.
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._specs: dict[tuple[str, tuple[int, ...]], int] = {}
        self._groups: list[list[int]] = []

    def raw(self, content: bytes) -> None:
        """Append bytes that are no array (the model), padded."""
        self.parts.append(content)
        if padding := -len(content) % _ALIGNMENT:
            self.parts.append(bytes(padding))

    def group(self, arrays: Sequence[Array]) -> None:
        """Append the arrays of one sample."""
        indices = []
        for array in arrays:
            spec = (array.dtype.str, array.shape)
            indices.append(self._specs.setdefault(spec, len(self._specs)))
            self.raw(array.tobytes())
        self._groups.append(indices)

    def header(self) -> Header:
        """The part of a frame's header that `unpack` needs."""
        return {"specs": list(self._specs), "groups": self._groups}


def unpack(header: Header, body: bytes, start: int = 0) -> Samples:
    """The arrays that a `Packer` wrote, from `start` of the body, as read-only views of it."""
    specs = [(np.dtype(dtype), tuple(shape)) for dtype, shape in header["specs"]]
    sizes = [int(np.prod(shape, dtype=np.int64)) for _, shape in specs]
    samples: Samples = []
    for group in header["groups"]:
        arrays = []
        for index in group:
            dtype, shape = specs[index]
            arrays.append(np.frombuffer(body, dtype, sizes[index], start).reshape(shape))
            length = sizes[index] * dtype.itemsize
            start += length + -length % _ALIGNMENT
        samples.append(arrays)
    return samples


# --- interpreters ---


class Runner(Protocol):
    """What a job needs of an interpreter."""

    def run(self, content: bytes, samples: Samples, resize: bool, packer: Packer) -> Header:
        """Run all samples, put the outputs into `packer`, and return what is known of the preparation."""


def _check_inputs(details: Sequence[Header]) -> None:
    if not details:
        raise Unfit("the model has no graph input, so there is nothing to run it on")
    indices = [int(detail["index"]) for detail in details]
    for position, index in enumerate(indices):
        if index in indices[:position]:
            first = indices.index(index)
            raise Unfit(f"graph inputs {first} and {position} are the same tensor ({index})")


def _check_types(details: Sequence[Header], what: str) -> None:
    for position, detail in enumerate(details):
        dtype = np.dtype(detail["dtype"])
        if dtype.kind not in _NUMERIC_KINDS:
            name = "string" if dtype.kind in "SOU" else dtype.name
            raise Unfit(f"graph {what} {position} has element type {name}; only numbers can be passed")


def check_sample(number: int, arrays: Sequence[Array], details: Sequence[Header]) -> None:
    """Refuse arrays that are not what the graph takes: their number, dtypes and shapes."""
    if len(arrays) != len(details):
        raise Unfit(f"sample {number} has {len(arrays)} array(s); the model has {len(details)} graph input(s)")
    for position, (array, detail) in enumerate(zip(arrays, details, strict=True)):
        dtype, shape = np.dtype(detail["dtype"]), tuple(map(int, detail["shape"]))
        if array.dtype != dtype or array.shape != shape:
            raise Unfit(
                f"sample {number}, graph input {position}: got {array.dtype.name} {list(array.shape)}, "
                f"wanted {dtype.name} {list(shape)}"
            )


# Where each distribution has the same interpreter; TensorFlow Lite is what LiteRT was called before.
_LITERT_MODULES = {
    "litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",
}


class LiteRT:
    """LiteRT (ai-edge-litert), or TensorFlow Lite, with one of its operator resolvers."""

    def __init__(self, kind: str, resolver: str, threads: int) -> None:
        module = importlib.import_module(_LITERT_MODULES[kind])
        self._class = module.Interpreter
        self._resolver = module.OpResolverType[resolver]
        self._threads = threads

    def run(self, content: bytes, samples: Samples, resize: bool, packer: Packer) -> Header:
        """Prepare once (again only where `resize` meets another shape) and invoke for each sample."""
        shapes = [array.shape for array in samples[0]] if resize and samples else None
        interpreter, info = self._prepare(content, shapes)
        inputs = interpreter.get_input_details()
        outputs = [int(detail["index"]) for detail in interpreter.get_output_details()]
        for number, arrays in enumerate(samples):
            if shapes is not None and shapes != (wanted := [array.shape for array in arrays]):
                shapes = wanted
                interpreter, info = self._prepare(content, shapes)
                inputs = interpreter.get_input_details()
            check_sample(number, arrays, inputs)
            for array, detail in zip(arrays, inputs, strict=True):
                interpreter.set_tensor(detail["index"], array)
            interpreter.invoke()
            packer.group([interpreter.get_tensor(index) for index in outputs])
        return info

    def _prepare(self, content: bytes, shapes: list[tuple[int, ...]] | None) -> tuple[Any, Header]:
        interpreter = self._class(
            model_content=content,
            num_threads=self._threads,
            experimental_op_resolver_type=self._resolver,
        )
        inputs = interpreter.get_input_details()
        _check_inputs(inputs)
        _check_types(inputs, "input")
        _check_types(interpreter.get_output_details(), "output")
        # A wrong number of arrays is told by the check of the sample, in the same words as without resizing.
        for shape, detail in zip(shapes or (), inputs, strict=False):
            interpreter.resize_tensor_input(detail["index"], shape, strict=False)
        # Delegates are applied by allocate_tensors: the count before it is that of the file's own operators.
        # What is asked is private in LiteRT, and the only way to see it. A version without it tells nothing.
        details = getattr(interpreter, "_get_ops_details", None)
        own = len(details()) if details else 0
        interpreter.allocate_tensors()
        if details is None:
            return interpreter, dict(_NOTHING_TOLD)
        operators = list(details())
        return interpreter, {
            "operators": [str(operator["op_name"]) for operator in operators],
            "delegated": len(operators) > own,
            "delegated_operators": replaced_operators(operators[:own], operators[own:]),
        }


def replaced_operators(own: Sequence[Header], delegates: Sequence[Header]) -> list[int]:
    """Which of the file's operators the delegate nodes compute.

    A delegate node lists every tensor that its operators read and do not make (constants too), and those it
    makes for others. So its operators are found by walking from its outputs through producers, up to its
    inputs. An operator whose outputs nobody reads is not found.
    """
    producer = {int(t): position for position, operator in enumerate(own) for t in operator["outputs"]}
    found: set[int] = set()
    for delegate in delegates:
        boundary = {int(t) for t in delegate["inputs"]}
        pending = [int(t) for t in delegate["outputs"]]
        while pending:
            position = producer.get(pending.pop())
            if position is None or position in found:
                continue
            found.add(position)
            pending += [int(t) for t in own[position]["inputs"] if int(t) not in boundary]
    return sorted(found)


class TFLM:
    """TensorFlow Lite Micro (tflite-micro)."""

    def __init__(self) -> None:
        from tflite_micro.python.tflite_micro import runtime

        try:
            from tflite_micro.tensorflow.lite.micro.python import schema_py_generated
        except ImportError:  # where wheels before 2026 have it
            from tflite_micro.tensorflow.lite.python import schema_py_generated
        self._class = runtime.Interpreter
        self._schema = schema_py_generated

    def run(self, content: bytes, samples: Samples, resize: bool, packer: Packer) -> Header:
        """Prepare once and invoke for each sample."""
        # The interpreter does not say how many inputs and outputs there are, and does not check the file.
        graph = self._schema.Model.GetRootAsModel(content, 0).Subgraphs(0)
        indices = [graph.Inputs(position) for position in range(graph.InputsLength())]
        _check_inputs([{"index": index} for index in indices])
        arena = max(_TFLM_ARENA_BYTES, 10 * len(content))
        interpreter = self._class.from_bytes(content, arena_size=arena)
        inputs = [interpreter.get_input_details(position) for position in range(len(indices))]
        _check_types(inputs, "input")
        for number, arrays in enumerate(samples):
            check_sample(number, arrays, inputs)
            for position, array in enumerate(arrays):
                interpreter.set_input(array, position)
            interpreter.invoke()
            packer.group([interpreter.get_output(i) for i in range(graph.OutputsLength())])
        return dict(_NOTHING_TOLD)


# --- the loop ---


def _answer(interpreter: Runner, header: Header, body: bytes) -> tuple[Header, list[bytes]]:
    length = int(header["model_bytes"])
    samples = unpack(header, body, length + -length % _ALIGNMENT)
    packer = Packer()
    try:
        info = interpreter.run(body[:length], samples, bool(header["resize"]), packer)
    except Unfit as error:
        return {"status": "unfit", "reason": str(error)}, []
    except Exception as error:  # whatever the interpreter raises is its way to refuse
        text = str(error).strip()
        if isinstance(error, struct.error):  # TFLM's Python side reads the file without checking it
            text = f"the file is not a readable model ({text})"
        elif not isinstance(error, ValueError | RuntimeError):  # the two that interpreters refuse with
            text = f"{type(error).__name__}: {text}"
        return {"status": "refused", "reason": text}, []
    return {"status": "done", **info, **packer.header()}, packer.parts


def _quiet_crashes() -> None:
    """A crash here is expected and reported by the other side: no core file, no dialog window."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetErrorMode(0x0001 | 0x0002)


class _Jobs:
    """The jobs that come in, and the end of this process when the other side is gone, also in the middle of a job.

    A thread reads stdin, so that it notices the end while an interpreter calculates. An interpreter that holds Python's
    lock stops every thread. So two things watch that need no lock: a signal at the end of stdin (POSIX; the other side
    writes nothing while it waits for an answer), and a deadline.
    """

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._waiting: queue.SimpleQueue[tuple[Header, bytes]] = queue.SimpleQueue()
        if sys.platform != "win32":
            # Another process may keep stdin open, such as one that the other side has forked.
            threading.Thread(target=_end_without_parent, args=(os.getppid(),), daemon=True).start()
            with contextlib.suppress(OSError, AttributeError):
                libc = ctypes.CDLL(None)
                handler = ctypes.cast(libc._exit, ctypes.c_void_p)  # the C function itself
                libc.signal(signal.SIGIO, handler)
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> tuple[Header, bytes]:
        """The next job, when it has come. It is to be done by its deadline."""
        header, body = self._waiting.get()
        if "deadline" in header:
            faulthandler.dump_traceback_later(float(header["deadline"]), exit=True)
        return header, body

    def done(self) -> None:
        """No job is worked on: the answer may be written, and the next job may come."""
        faulthandler.cancel_dump_traceback_later()
        self._signal_at_end(False)

    def _read(self) -> None:
        try:
            while (frame := read_frame(self._source)) is not None:
                self._signal_at_end(True)
                self._waiting.put(frame)
        except OSError:
            pass  # how Windows tells that the other side is gone
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)  # nothing is left to save, and an interpreter's clean-up can only cost time or crash

    def _signal_at_end(self, wanted: bool) -> None:
        """Ask for SIGIO when stdin ends; it ends this process."""
        if sys.platform == "win32":
            return
        import fcntl

        descriptor = self._source.fileno()
        with contextlib.suppress(OSError):  # no pipe
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~fcntl.FASYNC
            if wanted:
                fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | (fcntl.FASYNC if wanted else 0))
            # It may have ended before it was asked for.
            if wanted and select.select([descriptor], [], [], 0)[0]:
                os._exit(0)


def _end_without_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def serve(make: Callable[[], Runner]) -> None:
    """Serve jobs until stdin ends, which it also does when the other side is killed.

    Args:
        make: loads the interpreter. What it raises is told with the first job.
    """
    # Ctrl-C reaches every process of the terminal. It is the other side that decides, and it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _quiet_crashes()
    # Interpreters print to stdout from C++. The channel moves to another descriptor, and what they print goes
    # to stderr.
    source, channel = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = _Jobs(source)
    interpreter: Runner | None = None
    broken = ""
    try:
        interpreter = make()
    except Exception as error:  # a wheel that does not load on this machine is told with the first job
        broken = f"{type(error).__name__}: {error}"
    while True:
        frame = jobs.next()
        if interpreter is None:
            answer: tuple[Header, list[bytes]] = ({"status": "broken", "reason": broken}, [])
        else:
            answer = _answer(interpreter, *frame)
        del frame
        sys.stdout.flush()
        sys.stderr.flush()
        jobs.done()
        write_frame(channel, *answer)


def main(kind: str, resolver: str, threads: int) -> None:
    """Serve with one of the two interpreters that read .tflite files themselves."""
    serve(lambda: TFLM() if kind == "tflm" else LiteRT(kind, resolver, threads))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
