"""Answer a tape of jobs on the machine that has the CPU, with NumPy, the interpreter, and four files in one folder.

    python run_tape.py TAPE RESOLVER [HOW]

Beside this file: tape_entry.py, and of src/lastbit: oracles/tflite_worker.py and runtimes/machine.py. HOW is added
to the CPU's name. Writes TAPE.answers and TAPE.machine, which lab/reach/tape.py reads. A child process does the work,
forked once the interpreter is loaded, which is what takes long in an emulator. Where a job ends it, this is the answer,
and the next child goes on. What is answered stands when the machine is switched off: the same command goes on from
there.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import machine
import tflite_worker
from tape_entry import CRASHED, KEY_BYTES, job_key

Job = tuple[tflite_worker.Header, bytes]


def jobs(tape: Path, skip: int) -> Iterator[tuple[int, Job]]:
    """The jobs from `skip` on, with their numbers."""
    with tape.open("rb") as source:
        number = 0
        while (job := tflite_worker.read_frame(source)) is not None:
            if number >= skip:
                yield number, job
            number += 1


def answered(path: Path) -> int:
    """How many whole answers there are; a half one is cut off."""
    count, whole = 0, 0
    with path.open("rb") as source:
        while source.read(KEY_BYTES) and tflite_worker.read_frame(source) is not None:
            count, whole = count + 1, source.tell()
    os.truncate(path, whole)
    return count


def serve(interpreter: tflite_worker.Interpreter, tape: Path, answers: Path, skip: int) -> None:
    """Answer the jobs from `skip` on."""
    with answers.open("ab") as target:
        for number, job in jobs(tape, skip):
            answer, parts = tflite_worker._answer(interpreter, *job)
            target.write(job_key(*job))
            tflite_worker.write_frame(target, answer, parts)
            if number % 100 == 0:
                os.fsync(target.fileno())
                print("TAPE", tape.name, number, flush=True)


def main() -> None:
    """Answer the tape."""
    tape, resolver, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    answers = Path(f"{tape}.answers")
    answers.touch()
    about = {
        "version": importlib.metadata.version("ai-edge-litert"),
        "cpu": ", ".join([machine.cpu_text(), *how]),
        "platform": machine.platform_text(),
    }
    Path(f"{tape}.machine").write_text(json.dumps(about))
    interpreter = tflite_worker.LiteRT("litert", resolver, 1)
    while True:
        child = os.fork()
        if not child:
            serve(interpreter, tape, answers, answered(answers))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not status:
            return
        _, job = next(jobs(tape, answered(answers)))
        with answers.open("ab") as target:
            target.write(job_key(*job))
            tflite_worker.write_frame(
                target, {"status": CRASHED, "reason": f"exit status {os.waitstatus_to_exitcode(status)}"}
            )


if __name__ == "__main__":
    main()
