"""What prove found, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...model.graph import Model, Operator
from ...report.blocks import Block, Heading, Report, Table, Text
from ...report.coverage import Coverage
from ...report.junit import Check, Outcome
from ...report.one_screen import one_screen
from ...report.phrases import layers_text, merged, numbers
from ...runtimes import Runtime
from ...runtimes.base import Family

__all__ = ["ChannelsProof", "LayerProof", "Proof"]

NO_LAYER = "prove probes dense layers and convolutions; `lastbit verify` compares this operator"


@dataclass(frozen=True)
class ChannelsProof:
    """Some channels of a convolution whose channels follow two rules, probed.

    Attributes:
        first: the first channel.
        last: the last one, included.
        rule: the rule that they follow.
        probed: accumulators that the interpreter printed an output for.
        mismatches: those at which it printed another output than LastBit.
    """

    first: int
    last: int
    rule: str
    probed: int
    mismatches: int

    def __str__(self) -> str:
        """In one line."""
        which = f"channel {self.first}" if self.first == self.last else f"channels {self.first} to {self.last}"
        return f"{which}: rule {self.rule}, {self.probed} accumulators probed, {self.mismatches} differ"


@dataclass
class LayerProof:
    """One dense layer or convolution, probed.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        rule: LastBit's rule, empty where the layer has no thresholds.
        kernel: the kernel family LastBit expects.
        units: output units.
        tables: different tables: one for each unit, or one for all.
        thresholds: thresholds probed, over all tables.
        probed: accumulators that the interpreter printed an output for.
        mismatches: those at which it printed another output than LastBit.
        first: the first of them: (unit, accumulator, LastBit's output, the interpreter's).
        real_outputs: outputs of the layer with its own weights that were compared.
        real_mismatches: those that differ.
        exhaustive: whether every accumulator of the reachable range was printed.
        units_left_out: units that were not probed: too many steps, or too many units with wide outputs.
        kernel_problem: LastBit expected another kernel than the one that ran, else empty.
        failure: why the interpreter refused a probe, else empty.
        died: how the interpreter's process ended or that it took too long, else empty.
        not_probed: why the layer cannot be probed this way, else empty.
        refusal: why it has no thresholds, else empty.
        channels: where the last channels follow another rule than those before: what was probed of each.
    """

    index: int
    name: str
    rule: str = ""
    kernel: str = ""
    units: int = 0
    tables: int = 0
    thresholds: int = 0
    probed: int = 0
    mismatches: int = 0
    first: tuple[int, int, int, int] | None = None
    real_outputs: int = 0
    real_mismatches: int = 0
    exhaustive: bool = False
    units_left_out: int = 0
    kernel_problem: str = ""
    failure: str = ""
    died: str = ""
    not_probed: str = ""
    refusal: str = ""
    channels: list[ChannelsProof] = field(default_factory=list)

    @property
    def status(self) -> str:
        """`proved`, `partly proved`, `differs`, `interpreter died`, `not probed` or `not covered`."""
        if self.refusal:
            return "not covered"
        if self.mismatches or self.real_mismatches or self.failure or self.kernel_problem:
            return "differs"
        if self.died:
            return "interpreter died"
        if self.not_probed or not self.probed:
            return "not probed"
        return "partly proved" if self.units_left_out else "proved"

    @property
    def gap(self) -> str:
        """Why the layer is not proved though nothing differs; empty where it is proved or differs."""
        left = f"{self.units_left_out} of {self.units} units were not probed" if self.units_left_out else ""
        reasons = self.refusal or self.died or self.not_probed or left or "nothing of it was probed"
        return "" if self.status in ("proved", "differs") else reasons

    def add_kernel(self, delegated: bool | None) -> None:
        """Note where the delegate did not do what LastBit expected of it."""
        if delegated is not None and delegated != (self.kernel == Family.XNNPACK):
            took = "took" if delegated else "declined"
            self.kernel_problem = f"LastBit expected the {self.kernel} kernel, but the delegate {took} the probe"

    def as_dict(self) -> dict[str, Any]:
        """The result as plain data."""
        entry = {"operator": self.index, **vars(self), "status": self.status}
        del entry["index"]
        entry["channels"] = [asdict(part) for part in self.channels]
        if self.first is not None:
            entry["first"] = dict(zip(("unit", "acc", "wanted", "found"), self.first, strict=True))
        return entry

    def problems(self) -> list[str]:
        """Everything that is other than LastBit says, in lines."""
        lines = [text for text in (self.failure, self.died, self.kernel_problem) if text]
        if self.first is not None:
            unit, acc, wanted, found = self.first
            lines.append(f"unit {unit}, acc {acc}: LastBit says {wanted}, the interpreter printed {found}")
        if self.real_mismatches:
            lines.append(f"with its own weights {self.real_mismatches} of {self.real_outputs} outputs differ")
        return lines


class Proof(Report):
    """The result of `prove`.

    Attributes:
        model: the model.
        runtime: the runtime.
        fingerprint: the interpreter's name, version, mode, CPU and platform.
        layers: the dense layers and convolutions.
        asked: every operator that was asked about.
        allow_gaps: whether operators that were not probed still give exit code 0.
    """

    main_table = "layers"

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        fingerprint: Mapping[str, str],
        layers: Sequence[LayerProof],
        asked: Sequence[Operator],
        allow_gaps: bool = False,
    ) -> None:
        self.model = model
        self.runtime = runtime
        self.fingerprint = fingerprint
        self.layers = tuple(layers)
        self.asked = tuple(asked)
        self.allow_gaps = allow_gaps

    def count(self, status: str) -> int:
        """How many layers have this status."""
        return sum(layer.status == status for layer in self.layers)

    @property
    def proved(self) -> bool:
        """Whether every dense layer and convolution is proved."""
        return bool(self.layers) and self.count("proved") == len(self.layers)

    @property
    def coverage(self) -> Coverage:
        """The operators asked about that are not proved: no layers with tables, and layers that could not be probed."""
        layers = {layer.index: layer.gap for layer in self.layers}
        gaps = {op.index: layers.get(op.index, NO_LAYER) for op in self.asked}
        return Coverage(self.asked, {index: why for index, why in gaps.items() if why})

    def checks(self) -> list[Check]:
        """Each operator that was asked about."""
        layers, gaps = {layer.index: layer for layer in self.layers}, self.coverage.gaps
        found = []
        for op in self.asked:
            problems = layers[op.index].problems() if op.index in layers else []
            if problems:
                died = layers[op.index].status == "interpreter died"
                outcome = Outcome.DIED if died else Outcome.DIFFERS
            else:
                outcome = Outcome.NOT_COMPARED if op.index in gaps else Outcome.EQUAL
            why = problems[0] if problems else gaps.get(op.index, "")
            found.append(Check(self.runtime.name, op.label, outcome, why, "\n".join(problems)))
        return found

    @property
    def exit_code(self) -> int:
        """0: all proved. 1: something differs. 3: an operator was not probed. 4: the interpreter died."""
        return self.coverage.exit_code(
            differs=bool(self.count("differs")),
            died=any(layer.died for layer in self.layers),
            allow_gaps=self.allow_gaps,
        )

    def as_dict(self) -> dict[str, Any]:
        """The proof as plain data, schema lastbit.prove/1."""
        return {
            "schema": "lastbit.prove/1",
            "model": self.model.source,
            "runtime": self.runtime.name,
            "fingerprint": dict(self.fingerprint),
            "proved": self.proved,
            "exit_code": self.exit_code,
            "allow_gaps": self.allow_gaps,
            "coverage": self.coverage.as_dict(),
            "layers": [layer.as_dict() for layer in self.layers],
        }

    def in_short(self) -> list[str]:
        """The verdict, and on which runtime."""
        return [" ".join(text.text for text in self._verdict()), f"{self.runtime.name}, {self.model.source}"]

    def first_screen(self) -> list[Block]:
        """The verdict, then a row for each layer."""
        told, verdict = self.blocks(), self._verdict()
        return one_screen([*verdict, *told[: -len(verdict)]])

    def blocks(self) -> list[Block]:
        """A row for each layer, what differs, what is not covered, and the verdict."""
        f = self.fingerprint
        blocks: list[Block] = [
            Heading(f"prove {self.model.source} on {self.runtime.name}"),
            Text(f"{f['oracle']} {f['version']}, {f['mode']}", "dim"),
            Text(f"on {f['cpu']}; {f['platform']}", "dim"),
        ]
        covered = [layer for layer in self.layers if not layer.refusal]
        rules: dict[str, list[int]] = {}
        for layer in covered:
            rules.setdefault(layer.rule, []).append(layer.index)
        several = len(rules) > 1
        blocks += [Text(f"rule {rule}{f' (operators {numbers(ops, 12)})' * several}") for rule, ops in rules.items()]
        rows = [
            (
                layer.index,
                layer.units,
                layer.thresholds,
                layer.probed,
                layer.mismatches,
                f"{layer.real_mismatches} of {layer.real_outputs}",
                layer.status,
            )
            for layer in covered
        ]
        if rows:
            headers = ("op", "units", "thresholds", "probed", "differ", "differ, own weights", "")
            marked = [number for number, layer in enumerate(covered) if layer.problems()]
            blocks.append(Table(headers, rows, right=headers[:6], marked=marked))
        for layer in self.layers:
            blocks += [Text(f"operator {layer.index}: {line}", "bad") for line in layer.problems()]
            if layer.channels:
                blocks += [Text(f"operator {layer.index}, {part}") for part in layer.channels]
            if layer.not_probed:
                blocks.append(Text(f"operator {layer.index} was not probed: {layer.not_probed}", "warning"))
            if layer.units_left_out:
                blocks.append(Text(f"operator {layer.index}: {layer.units_left_out} units were not probed", "warning"))
        refused = [(layer.index, layer.name, layer.refusal) for layer in self.layers if layer.refusal]
        if refused:
            blocks.append(Table(("op", "operator", "why"), merged(refused), title="Not covered"))
        return [*blocks, *self._verdict()]

    def _verdict(self) -> list[Text]:
        """What was found, and last how many operators of how many were compared."""
        probed = sum(layer.probed for layer in self.layers)
        bad = sum(layer.mismatches for layer in self.layers)
        if self.count("differs"):
            verdict = Text(f"DIFFERS: {bad} of {probed} accumulators probed give another output.", "bad")
        elif any(layer.died for layer in self.layers):
            verdict = Text(f"INTERPRETER DIED. Of {probed} accumulators probed before, 0 differ.", "bad")
        elif not probed:
            verdict = Text("NOTHING PROBED: no dense layer or convolution of this model could be.", "warning")
        else:
            verdict = self._proved(probed)
        return [verdict, self.coverage.block()]

    def _proved(self, probed: int) -> Text:
        thresholds = sum(layer.thresholds for layer in self.layers)
        layers = f"{self.count('proved')} of {len(self.layers)} {layers_text(layer.name for layer in self.layers)}"
        if all(layer.exhaustive for layer in self.layers if layer.probed):
            how = f"each was printed, {probed} in all, and 0 differ."
        else:
            how = (
                f"0 of {probed} probed differ, at {thresholds} thresholds, beside them and between. This holds as far "
                "as the interpreter prints a step function from probe to probe (--probe every assumes nothing)."
            )
        return Text(
            f"PROVED for {layers} and every accumulator that they can reach: {how}",
            "good" if self.coverage.complete else "",
        )
