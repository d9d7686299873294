"""What an oracle is, what it gives and how it fails. It runs the real interpreter in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from lastbit.model.errors import InputError, OracleError, OracleMissingError
from lastbit.model.extras import install_text
from lastbit.oracles import tflite_worker
from lastbit.oracles.process import WorkerFailure, WorkerProcess
from lastbit.oracles.spec import Fingerprint, OracleSpec, fingerprint_of, missing_error

__all__ = ["Oracle", "OracleFailure", "OracleRefusal", "OracleRun"]

Array = npt.NDArray[Any]
Kind = Literal["refused", "crashed", "timeout"]
_LOG_LINES = 12
# A worker ends by itself where nobody is left to end it at the timeout.
_DEADLINE_GRACE_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class OracleRun:
    """What a real interpreter computed.

    Attributes:
        outputs: `[sample][graph output]`, each in its own dtype and shape, read-only.
        operators: the operator names it reports after preparation, in its order: the file's own, then
            delegate nodes. Empty where it does not tell.
        delegated: whether a delegate took operators. None where there is no such thing, or it does not tell.
        delegated_operators: indices, in the file, of the operators that a delegate took. None, in the same way.
        log: what it wrote to stderr during the run, trimmed.
    """

    outputs: tuple[tuple[Array, ...], ...]
    operators: tuple[str, ...]
    delegated: bool | None
    delegated_operators: tuple[int, ...] | None
    log: str


class OracleFailure(OracleError):
    """A real interpreter gave no result for one model.

    Attributes:
        kind: `refused` (it said no), `crashed` (its process ended) or `timeout`.
        reason: the interpreter's own words, or how its process ended.
    """

    def __init__(self, message: str, *, kind: Kind, reason: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = reason


class OracleRefusal(OracleFailure):
    """The model or the input is not accepted. `reason` has the interpreter's own words, or the adapter's."""


class Oracle:
    """A real interpreter, ready to run models. Made by `open_oracle`; a context manager.

    The interpreter runs in a worker process that serves many calls. Where it crashes or hangs, the call fails
    and the next one starts a fresh worker. Not for use by two threads at once; open one for each.

    Attributes:
        name: the runtime's name.
        fingerprint: what its results hold for.
    """

    def __init__(
        self,
        spec: OracleSpec,
        *,
        timeout: float = 120.0,
        threads: int = 1,
        library: str | os.PathLike[str] | None = None,
        command: Sequence[str] | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        # A command of one's own may run another Python, or an emulator: then the fingerprint comes with it.
        fingerprint = fingerprint or fingerprint_of(spec, library)
        if fingerprint is None:
            raise missing_error(spec)
        if not timeout > 0 or threads < 1:
            raise InputError(f"oracle {spec.name}: timeout {timeout} and threads {threads} must be positive")
        self.name = spec.name
        self.fingerprint = fingerprint
        self._spec = spec
        self._timeout = timeout
        # By path, and with -P: not the folder of the file nor the current one, but the installed modules.
        script = Path(tflite_worker.__file__).with_name(f"{spec.script}.py")
        kind, argument = spec.worker
        if library is not None:
            argument = str(Path(library).resolve())
        self._command = list(command or [sys.executable, "-P", str(script), kind, argument, str(threads)])
        self._worker: WorkerProcess | None = None
        self._closed = False
        # Several oracles that are opened together load their interpreters at the same time.
        self._start()

    def run(
        self,
        content: bytes,
        samples: Sequence[Sequence[Array]],
        *,
        resize: bool = False,
        label: str = "",
    ) -> OracleRun:
        """Run one model on several inputs.

        The interpreter is prepared once, so a model with state keeps it from sample to sample. Each call
        starts anew.

        Args:
            content: the .tflite file's bytes.
            samples: for each sample the arrays in the order of the graph inputs, in their exact dtype and
                shape. Without samples the model is only prepared.
            resize: give the graph inputs the shapes of the arrays first (LiteRT only).
            label: the model's name for messages.

        Returns:
            The outputs of all samples and what the interpreter tells about its preparation.

        Raises:
            OracleRefusal: the interpreter does not accept the model or an input.
            OracleFailure: it crashed or took longer than the timeout; `kind` says which.
            OracleMissingError: the interpreter is installed but does not load.
            InputError: a sample is not an array of numbers.
        """
        if resize and self._spec.worker[0] == "tflm":
            raise self._unfit("it cannot resize graph inputs, they have the shapes of the file", label)
        packer = tflite_worker.Packer()
        packer.raw(content)
        for number, sample in enumerate(samples):
            packer.group([_as_array(number, array) for array in sample])
        header = {
            "model_bytes": len(content),
            "resize": resize,
            "deadline": self._timeout + _DEADLINE_GRACE_SECONDS,
            **packer.header(),
        }
        answer, body, log = self._ask(header, packer.parts, label)
        if answer["status"] == "broken" and self._spec.library:
            raise OracleMissingError(f"oracle {self.name}: the library does not load: {answer['reason']}")
        if answer["status"] == "broken":
            raise OracleMissingError(
                f"{self._spec.distribution} {self.fingerprint.version} is installed but does not load: "
                f"{answer['reason']}. Install it again, with --force-reinstall: {install_text(self._spec.extra)}"
            )
        if answer["status"] == "unfit":
            raise self._unfit(answer["reason"], label)
        if answer["status"] == "refused":
            raise self._failure("refused", _with_log(answer["reason"], log), label, log)
        replaced = answer["delegated_operators"]
        return OracleRun(
            outputs=tuple(map(tuple, tflite_worker.unpack(answer, body))),
            operators=tuple(answer["operators"]),
            delegated=answer["delegated"],
            delegated_operators=None if replaced is None else tuple(replaced),
            log=log,
        )

    def run_batch(
        self, jobs: Sequence[tuple[bytes, Sequence[Sequence[Array]]]], *, label: str = ""
    ) -> list[OracleRun | OracleFailure]:
        """Run several models. One that fails leaves its failure in its place and does not stop the others.

        Args:
            jobs: for each model its bytes and its samples, as `run` takes them.
            label: what the models are, for messages.

        Returns:
            For each job its result or its failure, in order.
        """
        results: list[OracleRun | OracleFailure] = []
        for number, (content, samples) in enumerate(jobs):
            try:
                results.append(self.run(content, samples, label=f"{label or 'batch'}, model {number}"))
            except OracleFailure as failure:
                results.append(failure)
        return results

    def close(self) -> None:
        """End the worker process. A second call does nothing."""
        self._closed = True
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> WorkerProcess:
        if self._closed:
            raise OracleError(f"oracle {self.name} is closed; open it again with open_oracle({self.name!r})")
        if self._worker is None or not self._worker.alive:
            if self._worker is not None:
                self._worker.close()
            self._worker = WorkerProcess(self._command, self._spec.environment)
        return self._worker

    def _ask(
        self, header: tflite_worker.Header, parts: Sequence[bytes], label: str
    ) -> tuple[tflite_worker.Header, bytes, str]:
        while True:
            worker = self._start()
            try:
                answer, body = worker.ask(header, parts, self._timeout)
                return answer, body, worker.log()
            except WorkerFailure as failure:
                # A kernel that writes out of bounds may take the process down only in a later job. So a crash
                # counts against a model when it happens in a fresh process.
                if failure.kind == "crashed" and worker.served:
                    continue
                raise self._failure(failure.kind, str(failure), label, worker.log()) from failure

    def _unfit(self, reason: str, label: str) -> OracleRefusal:
        """A refusal by this adapter, before the interpreter's own word."""
        message = f"oracle {self.name} does not run {_model(label)}: {reason}"
        return OracleRefusal(message, kind="refused", reason=reason)

    def _failure(self, kind: Kind, reason: str, label: str, log: str) -> OracleFailure:
        who = f"{self.fingerprint.oracle} {self.fingerprint.version} ({self.fingerprint.mode})"
        what = _model(label)
        if kind == "refused":
            return OracleRefusal(f"{who} refused {what}: {reason}", kind=kind, reason=reason)
        advice = {
            "crashed": "This is the interpreter's own failure and LastBit is not affected: the next call "
            "starts a fresh process. Compare this model with another interpreter.",
            "timeout": "Give fewer samples, or more time with open_oracle(..., timeout=seconds).",
        }[kind]
        lines = log.splitlines()[-_LOG_LINES:]
        told = "\n".join(["\nIts last words:", *(f"  {line}" for line in lines)]) if lines else ""
        return OracleFailure(
            f"{who} failed while it ran {what}: its process {reason}. {advice}{told}",
            kind=kind,
            reason=reason,
        )


def _model(label: str) -> str:
    return f"model {label!r}" if label else "the model"


def _as_array(sample: int, value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise InputError(
            f"sample {sample}: wanted an array of numbers for each graph input, found {type(value).__name__} "
            f"with dtype {array.dtype}"
        )
    return array


def _with_log(reason: str, log: str) -> str:
    """The interpreter's exception, preceded by its log lines: TFLM tells the cause only there."""
    lines = [line for line in log.splitlines() if not line.startswith("INFO:")]
    told = " ".join(line.strip() for line in lines if line.strip() and line.strip() not in reason)
    return f"{told} ({reason})" if told else " ".join(reason.split())
