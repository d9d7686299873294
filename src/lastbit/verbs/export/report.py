"""The result of `export`: the files, what they need, and what their self-test catches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...model.graph import Model
from ...report.blocks import Block, Code, Report, Text
from ...report.output_files import write_folder
from ...runtimes import Runtime
from .c99.file import About, Written, arena_bytes, state_bytes
from .selftest import SelfTest

__all__ = ["Export"]


class Export(Report):
    """A model or an operator as code.

    Attributes:
        model: the model.
        runtime: whose arithmetic it is.
        about: what it is made from.
        written: its operators.
        test: its self-test.
        files: file name -> text.
        paths: where they were written, if they were.
    """

    def __init__(
        self, model: Model, runtime: Runtime, about: About, written: Written, test: SelfTest, files: Mapping[str, str]
    ) -> None:
        self.model, self.runtime, self.about = model, runtime, about
        self.written, self.test, self.files = written, test, dict(files)
        self.paths: list[str] = []

    def write(self, folder: str) -> list[str]:
        """Write the files, each whole or not at all.

        Args:
            folder: where to; made if it is not there, but not its parents.

        Returns:
            The paths, which `paths` holds from then on.

        Raises:
            InputError: a file cannot be written, or would replace the model.
        """
        files = {name: text.encode("ascii") for name, text in self.files.items()}
        self.paths = write_folder(folder, files, keep=[self.model.source])
        return self.paths

    @property
    def exit_code(self) -> int:
        """0: what cannot be written is an error."""
        return 0

    def as_dict(self) -> dict[str, Any]:
        """Everything but the texts, schema lastbit.export/1."""
        return {
            "schema": "lastbit.export/1",
            "model": self.model.source,
            "model_sha256": self.about.digest,
            "runtime": self.runtime.name,
            "language": "c99",
            "name": self.about.name,
            "operators": [piece.entry.operator.index for piece in self.written.pieces],
            "arena_bytes": arena_bytes(self.written.plan),
            "state_bytes": state_bytes(self.written.plan),
            "constant_bytes": self.written.library.constant_bytes,
            "multiply_adds": self.written.multiply_adds,
            "selftest": {
                "vectors": len(self.test.vectors),
                "single_checks": self.test.single_checks,
                "rivals": self.test.rivals,
                "caught": self.test.caught,
                "not_caught": {
                    str(index): sorted(kills.rivals - kills.caught)
                    for index, kills in self.test.kills.items()
                    if kills.rivals - kills.caught
                },
            },
            "files": self.paths or list(self.files),
        }

    def in_short(self) -> list[str]:
        """What was written, how large it is, and what the self-test catches."""
        found = self.as_dict()
        test, name = found["selftest"], self.about.name
        where = f" in {os.path.dirname(self.paths[0])}" if self.paths else ""
        kept = f"state {found['state_bytes']:,} bytes, " if found["state_bytes"] else ""
        return [
            f"{name}.h and {name}.c{where}: {self.about.what}, as {self.runtime.name}",
            f"arena {found['arena_bytes']:,} bytes, {kept}constants {found['constant_bytes']:,} bytes, "
            f"{found['multiply_adds']:,} multiply-adds",
            f"self-test: {test['caught']} of {test['rivals']} pairs of an operator and another rule are caught",
        ]

    def blocks(self) -> list[Block]:
        """The same, and how to compile it."""
        lines: list[Block] = [Text(line, "good" if k == 0 else "") for k, line in enumerate(self.in_short())]
        missed = sum(len(kills.rivals - kills.caught) for kills in self.test.kills.values())
        if missed:
            lines.append(Text(f"The other {missed} print the same on all that was tried (--json lists them).", "dim"))
        name = self.about.name
        lines.append(Text("Test it with the main of docs/export.md; it returns 0 where all is right:"))
        lines.append(Code(f"cc -std=c99 -O2 -ffp-contract=off {name}.c main.c && ./a.out"))
        return lines
