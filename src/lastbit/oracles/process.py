"""One worker process: start it, ask it, and say what became of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Literal

from lastbit.oracles.tflite_worker import FrameError, Header, read_frame, write_frame

__all__ = ["WorkerFailure", "WorkerProcess", "exit_text"]

_LOG_BYTES = 16_384
_GRACE_SECONDS = 2.0


class WorkerFailure(Exception):
    """A worker gave no answer. `kind` is crashed or timeout; the text says how it ended."""

    def __init__(self, kind: Literal["crashed", "timeout"], text: str) -> None:
        super().__init__(text)
        self.kind: Literal["crashed", "timeout"] = kind


class WorkerProcess:
    """A worker process with its pipes and the file that its stderr goes to.

    Not for use by two threads at once. The process ends with `close`, with this object, or with this Python. Variables
    given are added to its environment.

    Attributes:
        served: how many answers it has given.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        # A file and not a pipe: it needs no thread to drain it and keeps what was written before a crash.
        # It is opened twice, because the two sides of one descriptor would share one position.
        handle, path = tempfile.mkstemp(prefix="lastbit-oracle-", suffix=".log")
        self._log = open(path, "rb", buffering=0)  # noqa: SIM115 - lives as long as the process
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                env={**os.environ, **(environment or {})},
            )
        except OSError:
            self._log.close()
            os.unlink(path)
            raise
        finally:
            os.close(handle)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.served = 0
        self._finalizer = weakref.finalize(self, _end, self._process, self._log, path)
        with contextlib.suppress(OSError):  # Windows cannot remove an open file: there `_end` does it
            os.unlink(path)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._finalizer.alive and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, header: Header, parts: Sequence[bytes], timeout: float) -> tuple[Header, bytes]:
        """Send a job and wait for its answer.

        Args:
            header: the header of the job's frame.
            parts: its body.
            timeout: seconds after which the process is ended.

        Returns:
            The header and body of the answer.

        Raises:
            WorkerFailure: the process ended, answered with something else or took too long. It is ended by
                then.
        """
        if self.served:
            self.log()  # what was written between two jobs does not belong to this one
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        # Ending the process ends the blocking write, read or wait below. This works alike on every platform,
        # where waiting for a pipe with a timeout does not.
        watchdog = threading.Timer(timeout, expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer = self._exchange(header, parts)
            code = self._process.wait() if answer is None else 0
        except BaseException:  # also Ctrl-C: a channel in the middle of an answer is of no more use
            self._process.kill()
            raise
        finally:
            watchdog.cancel()
        if answer is None:
            if expired.is_set():
                raise WorkerFailure("timeout", f"gave no answer within {timeout:g} s and was ended")
            raise WorkerFailure("crashed", f"ended with {exit_text(code)}")
        self.served += 1
        return answer

    def _exchange(self, header: Header, parts: Sequence[bytes]) -> tuple[Header, bytes] | None:
        with contextlib.suppress(OSError):
            write_frame(self._stdin, header, parts)
        # Where the job could not be written whole, the process has ended, and so have its answers.
        try:
            return read_frame(self._stdout)
        except (FrameError, ValueError) as error:
            self._process.kill()
            self._process.wait()
            raise WorkerFailure("crashed", f"wrote something that is not an answer ({error})") from error

    def log(self) -> str:
        """What the process wrote to stderr since the last call, at most its last 16 KiB, trimmed."""
        text = b"".join(iter(lambda: self._log.read(1 << 20), b""))
        cut = text[-_LOG_BYTES:]
        return ("..." if len(cut) < len(text) else "") + cut.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End the process. A second call does nothing."""
        self._finalizer()


def _end(process: subprocess.Popen[bytes], log: BinaryIO, path: str) -> None:
    """End a worker: politely by the end of its input, then by force."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    log.close()
    with contextlib.suppress(OSError):
        os.unlink(path)


def exit_text(code: int) -> str:
    """An exit status in words: the signal's name where there is one.

    >>> exit_text(-11)
    'signal 11 (SIGSEGV)'
    >>> exit_text(3)
    'exit code 3'
    >>> exit_text(3221225477)
    'exit code 0xC0000005'
    """
    if code < 0:
        try:
            return f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}" if code < 256 else f"exit code {code:#010X}".replace("0X", "0x")
