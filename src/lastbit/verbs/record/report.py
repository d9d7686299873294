"""What `record` answers: the files of a recorder, and what to do with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...model.graph import Model
from ...report.blocks import Block, Code, Report, Table, Text
from ...report.output_files import write_folder

__all__ = ["Recorder"]

_WHAT = {
    "record.py": "runs on the other machine: Python, NumPy and an interpreter",
    "model.tflite": "the model as it is",
    "probe.tflite": "the model with every computed tensor as an output",
    "inputs.npz": "the inputs",
    "lastbit_record.h": "the same for TensorFlow Lite Micro in C++, printed",
}


@dataclass(frozen=True, repr=False)
class Recorder(Report):
    """A folder with which a machine without LastBit records what its interpreter prints.

    Attributes:
        model: the model.
        samples: how many inputs are run.
        tensors: how many tensors are recorded for each.
        files: name -> content.
    """

    model: Model
    samples: int
    tensors: int
    files: Mapping[str, bytes]

    def write(self, folder: str) -> list[str]:
        """Write all files to a folder; what is written, as paths."""
        return write_folder(folder, self.files)

    def as_dict(self) -> dict[str, Any]:
        """Names and sizes as plain data, schema lastbit.recorder_files/1."""
        return {
            "schema": "lastbit.recorder_files/1",
            "model": self.model.source,
            "samples": self.samples,
            "tensors": self.tensors,
            "files": {name: len(content) for name, content in self.files.items()},
        }

    def in_short(self) -> list[str]:
        """How much is recorded."""
        return [f"records {self.tensors} tensors for {self.samples} inputs"]

    def blocks(self) -> list[Block]:
        """The files, and the next steps."""
        rows = [(name, f"{len(content):,}", _WHAT[name]) for name, content in self.files.items()]
        return [
            Text(f"{self.model.source}: {self.in_short()[0]}.", "good"),
            Table(("file", "bytes", "what it is"), rows, right=("bytes",)),
            Text("Copy the folder to the other machine and run there:"),
            Code("python3 record.py            # --kernels builtin | reference for the others"),
            Text("Bring recording.npz back, and ask here:"),
            Code(
                "lastbit identify MODEL --recorded recording.npz\n"
                "lastbit verify MODEL --runtime NAME --recorded recording.npz"
            ),
        ]
