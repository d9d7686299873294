"""Answer a tape of jobs on the machine that has the CPU: with NumPy, the interpreter, and _worker.py beside this file.

    python run_tape.py TAPE RESOLVER

Writes TAPE.answers and TAPE.machine, which tools/tape.py reads. A child process does the work, forked once the
interpreter is loaded, which is what takes long in an emulator. Where a job ends it, this is the answer, and the next
child goes on. What is answered stands when the machine is switched off: the same command goes on from there.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

import _worker

FEATURES = (
    *("avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512vbmi", "avx512_fp16"),
    *("amx_tile", "amx_int8"),
)


def machine() -> dict[str, str]:
    """The interpreter's version, the CPU and the platform."""
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    present = [name for name in FEATURES if name in fields["flags"].split()]
    return {
        "version": importlib.metadata.version("ai-edge-litert"),
        "cpu": f"{fields['model name']} ({' '.join(present)}), emulated by Bochs 3.0",
        "platform": f"{platform.system()}-{platform.machine()}, Python {platform.python_version()}",
    }


def answered(path: Path) -> int:
    """How many whole answers there are; a half one is cut off."""
    count, whole = 0, 0
    with path.open("rb") as source:
        while source.read(32) and _worker.read_frame(source) is not None:
            count, whole = count + 1, source.tell()
    os.truncate(path, whole)
    return count


def serve(interpreter: _worker.Interpreter, tape: Path, answers: Path, skip: int) -> None:
    """Answer the jobs from `skip` on."""
    with tape.open("rb") as source, answers.open("ab") as target:
        number = 0
        while (job := _worker.read_frame(source)) is not None:
            if number >= skip:
                answer, parts = _worker._answer(interpreter, *job)
                key = hashlib.sha256(json.dumps(job[0]).encode() + job[1]).hexdigest()[:32]
                target.write(key.encode())
                _worker.write_frame(target, answer, parts)
                if number % 100 == 0:
                    os.fsync(target.fileno())
                    print("TAPE", tape.name, number, flush=True)
            number += 1


def main() -> None:
    """Answer the tape."""
    tape, resolver = Path(sys.argv[1]), sys.argv[2]
    answers = Path(f"{tape}.answers")
    answers.touch()
    Path(f"{tape}.machine").write_text(json.dumps(machine()))
    interpreter = _worker.LiteRT("litert", resolver, 1)
    while True:
        skip = answered(answers)
        child = os.fork()
        if not child:
            serve(interpreter, tape, answers, skip)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not status:
            return
        reason = f"exit status {os.waitstatus_to_exitcode(status)}"
        with tape.open("rb") as source:
            for _ in range(answered(answers)):
                _worker.read_frame(source)
            job = _worker.read_frame(source)
        assert job is not None
        with answers.open("ab") as target:
            target.write(hashlib.sha256(json.dumps(job[0]).encode() + job[1]).hexdigest()[:32].encode())
            _worker.write_frame(target, {"status": "crashed", "reason": reason})


if __name__ == "__main__":
    main()
