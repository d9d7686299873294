"""An interpreter's jobs and answers on tape, for machines that no pipe reaches: a CPU that only an emulator has.

    --tape RUNTIME=FILE     of lab/collect/dense.py and lab/collect/operators.py

Where FILE.answers is not there, the jobs that the tool would ask are recorded to FILE, and each is refused. Then
lab/reach/emulated/run_tape.py answers them on the other machine; and the same command gets its answers from there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lab.reach.emulated.tape_entry import CRASHED, KEY_BYTES, job_key
from lastbit.oracles import ORACLES, Fingerprint, Oracle
from lastbit.oracles.tflite_worker import read_frame, write_frame


def open_tape(runtime: str, path: str | Path) -> Oracle:
    """A runtime's oracle that records on a tape, or plays it where there are answers."""
    tape, answers = Path(path), Path(f"{path}.answers")
    mode = "play" if answers.exists() else "record"
    spec = ORACLES[runtime]
    fingerprint = Fingerprint(spec.distribution, "", spec.mode, "", "")
    if mode == "play":
        told = json.loads(Path(f"{path}.machine").read_text(encoding="utf-8"))
        fingerprint = Fingerprint(spec.distribution, told["version"], spec.mode, told["cpu"], told["platform"])
    else:
        tape.unlink(missing_ok=True)
    # The worker is this module, in a process of its own.
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    spec = replace(spec, environment={**spec.environment, "PYTHONPATH": os.pathsep.join(places)})
    command = [sys.executable, "-m", "lab.reach.tape", mode, str(tape)]
    return Oracle(spec, command=command, fingerprint=fingerprint, timeout=600)


def unanswered(tapes: Mapping[str, str]) -> list[str]:
    """The runtimes whose tape is only being recorded: what was compared with them is not stored."""
    return [runtime for runtime, path in tapes.items() if not Path(f"{path}.answers").exists()]


def record(tape: Path) -> None:
    """Append every job that comes in to the tape, and refuse it."""
    with tape.open("ab") as target:
        while (frame := read_frame(sys.stdin.buffer)) is not None:
            write_frame(target, frame[0], [frame[1]])
            write_frame(sys.stdout.buffer, {"status": "refused", "reason": "on tape"})


def play(tape: Path) -> None:
    """Answer every job that was on the tape as the other machine did."""
    found: dict[bytes, int] = {}
    with Path(f"{tape}.answers").open("rb") as answers:
        while key := answers.read(KEY_BYTES):
            found[key] = answers.tell()
            if read_frame(answers) is None:
                break
        while (job := read_frame(sys.stdin.buffer)) is not None:
            answers.seek(found[job_key(*job)])
            answer = read_frame(answers)
            assert answer is not None
            if answer[0]["status"] == CRASHED:
                sys.exit(f"crashed on the other machine: {answer[0]['reason']}")
            write_frame(sys.stdout.buffer, answer[0], [answer[1]])


def main(arguments: Sequence[str]) -> None:
    """Run as a worker."""
    {"record": record, "play": play}[arguments[0]](Path(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
