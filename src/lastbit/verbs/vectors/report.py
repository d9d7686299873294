"""Golden vectors as data and as text: what each catches, and what none can catch and why."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ...layers.step_tables import LayerTables
from ...model.graph import Model
from ...model.types import Array, IntArray
from ...ops.dense.layer import DenseLayer
from ...report.blocks import Block, Heading, Report, Table, Text
from ...report.phrases import clause, folded, layers_text, merged, name_text, numbers, plural, span
from ...runtimes import Runtime

__all__ = ["Catch", "LayerVectors", "VectorSet"]


@dataclass(frozen=True)
class Catch:
    """One rival, and the vectors that tell it from the right arithmetic.

    Attributes:
        name: the rule's, runtime's or mistake's name.
        kind: `rule`, `runtime` or `mistake`.
        what: in one line, what it does.
        vectors: indices of the vectors that catch it.
        equal: why none can, else empty.
        random: how many random vectors catch it; None where none were tried.
        tried: of how many.
        candidate: whether any candidate catches it, chosen or not.
    """

    name: str
    kind: str
    what: str
    vectors: list[int]
    equal: str
    random: int | None
    tried: int
    candidate: bool

    @property
    def status(self) -> str:
        """`caught`, `cannot be caught` or `not caught`."""
        if self.vectors:
            return "caught"
        return "cannot be caught" if self.equal else "not caught"


@dataclass(eq=False)
class LayerVectors:
    """The vectors of one dense layer or convolution.

    Attributes:
        index: the operator's index.
        name: its built-in name.
        refusal: why it has none, else empty.
        same_as: an operator before it that is the same layer, and so has the same vectors; None for most.
        layer: the layer.
        tables: the layer in the runtime's arithmetic; None for hybrid layers, which have no finite table.
        rule: the rule's name.
        equation: the rule in one line.
        x: `[n, depth]`, the inputs, in the input's type; of a convolution images `[n, h, w, c]`.
        accs: int64 `[n, out]` or `[n, out_h, out_w, out]`, the accumulators.
        outputs: the outputs in the same shape, in the output's type.
        catches: every rival.
        candidates: inputs that they were chosen from.
        pairs: (unit, rule) pairs that some candidate tells apart, and how many of them the vectors do.
        random: random vectors asked for, to compare with.
        confirmed: outputs that the real interpreter printed too.
        mismatches: those at which it printed something else.
        oracle_failure: why it printed nothing, else empty.
        arrays: what files hold of a layer without tables, by name.
        constants: what else they say of it.
    """

    index: int
    name: str
    refusal: str = ""
    layer: DenseLayer | None = None
    tables: LayerTables | None = None
    rule: str = ""
    equation: str = ""
    x: Array = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    accs: IntArray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    outputs: Array = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    catches: Sequence[Catch] = ()
    candidates: int = 0
    pairs: tuple[int, int] = (0, 0)
    random: int = 0
    confirmed: int = 0
    mismatches: int = 0
    oracle_failure: str = ""
    same_as: int | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def labels(self) -> list[list[str]]:
        """For each vector the names of what it catches."""
        return [[c.name for c in self.catches if i in c.vectors] for i in range(len(self.x))]

    def why_not(self, catch: Catch) -> str:
        """What is known of a rival that is neither caught nor shown to be the same."""
        if catch.candidate:
            return "a candidate catches it, which the number of vectors left out"
        return f"not caught by any of {self.candidates} candidates"

    def count(self, status: str) -> int:
        """How many rivals have this status."""
        return sum(c.status == status for c in self.catches)

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain data, without the numbers of the vectors."""
        if self.refusal:
            return {"operator": self.index, "name": self.name, "refusal": self.refusal}
        return {
            "operator": self.index,
            "name": self.name,
            "rule": self.rule,
            "same_as": self.same_as,
            "vectors": len(self.x),
            "candidates": self.candidates,
            "random": self.random,
            "unit_rule_pairs": {"possible": self.pairs[0], "shown": self.pairs[1]},
            "confirmed_outputs": self.confirmed,
            "mismatches": self.mismatches,
            "oracle_failure": self.oracle_failure,
            "catches": [{**vars(c), "status": c.status} for c in self.catches],
            "labels": self.labels(),
        }


class VectorSet(Report):
    """The result of `vectors`.

    Attributes:
        model: the model.
        runtime: whose arithmetic.
        layers: the dense layers and convolutions.
        oracle: the fingerprint of the real interpreter that confirmed the outputs, or None.
        random: random vectors tried for comparison.
        seed: of all randomness.
        unconfirmed: why no real interpreter confirmed the outputs, else empty.
        files: what was written, if anything.
    """

    def __init__(
        self,
        model: Model,
        runtime: Runtime,
        layers: Sequence[LayerVectors],
        oracle: Mapping[str, str] | None,
        random: int,
        seed: int,
        unconfirmed: str = "",
    ) -> None:
        self.model = model
        self.runtime = runtime
        self.layers = tuple(layers)
        self.oracle = oracle
        self.random = random
        self.seed = seed
        self.unconfirmed = unconfirmed
        self.files: list[str] = []

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the vectors hold for: tool, model, runtime, and the interpreter that confirmed them."""
        try:
            tool = version("lastbit")
        except PackageNotFoundError:
            tool = "0+unknown"
        return {
            "tool": f"lastbit {tool}",
            "model": self.model.source,
            "model_sha256": hashlib.sha256(self.model.content).hexdigest(),
            "runtime": self.runtime.name,
            "proven_against": self.runtime.oracle,
            "confirmed_by": None if self.oracle is None else dict(self.oracle),
            "seed": self.seed,
        }

    @property
    def exit_code(self) -> int:
        """0. 1: the real interpreter prints something else. 3: no layer has vectors."""
        if any(layer.mismatches or layer.oracle_failure for layer in self.layers):
            return 1
        return 0 if any(len(layer.x) for layer in self.layers) else 3

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain data, schema lastbit.vectors/1; the vectors themselves are in the files."""
        return {
            "schema": "lastbit.vectors/1",
            **self.fingerprint,
            "random": self.random,
            "unconfirmed": self.unconfirmed,
            "layers": [layer.as_dict() for layer in self.layers],
            "files": self.files,
        }

    def in_short(self) -> list[str]:
        """How many vectors there are, and what they catch."""
        covered = [layer for layer in self.layers if not layer.refusal]
        caught = sum(layer.count("caught") for layer in covered)
        possible = sum(len(layer.catches) - layer.count("cannot be caught") for layer in covered)
        confirmed = [] if self.oracle is None else [f"confirmed by {self.oracle['oracle']} {self.oracle['version']}"]
        kind = layers_text(layer.name for layer in self.layers)
        return [
            f"{sum(len(layer.x) for layer in covered)} vectors for {len(covered)} of {len(self.layers)} {kind}; "
            f"they catch {caught} of the {possible} rivals that can be caught",
            *confirmed,
            f"{self.runtime.name}, {self.model.source}",
        ]

    def first_screen(self) -> list[Block]:
        """What there is, who confirmed it, what it catches, and the files; `blocks` has each rival."""
        covered = [layer for layer in self.layers if len(layer.x)]
        name = name_text(os.path.basename(self.model.source))
        which = f", operator {numbers([layer.index for layer in covered], 4)}" if covered else ""
        blocks: list[Block] = [Text(f"vectors for {name}{which}, on {self.runtime.name}"), *self._outcome()]
        blocks += _catches_in_short(covered) if covered else []
        without = [layer for layer in self.layers if layer.refusal]
        if without:
            which = numbers([layer.index for layer in without], 8)
            reasons = [layer.refusal for layer in without]
            more = f" (and {len(set(reasons)) - 1} more reasons)" if len(set(reasons)) > 1 else ""
            blocks.append(Text(clause(f"Without vectors: operator {which}: {reasons[0]}", 140) + more, "warning"))
        if self.files:
            folder, _ = os.path.split(self.files[0])
            endings = ", ".join(dict.fromkeys(os.path.splitext(path)[1] for path in self.files))
            blocks.append(Text(f"Wrote {len(self.files)} files to {folder}: {endings}"))
        blocks += [Text("Every rival, what catches it, or why nothing can: -v", "dim")] if covered else []
        return folded(blocks)

    def blocks(self) -> list[Block]:
        """A row for each layer; for a single layer, a row for each rival; what none can catch; the files."""
        blocks: list[Block] = [Heading(f"vectors for {self.model.source} on {self.runtime.name}")]
        covered = [layer for layer in self.layers if not layer.refusal]
        blocks += self._outcome()
        rows = [
            (
                layer.index,
                len(layer.x),
                f"{layer.count('caught')} of {len(layer.catches) - layer.count('cannot be caught')}",
                f"{sum(bool(c.random) for c in layer.catches)} by {layer.random}" if layer.random else "-",
                layer.count("cannot be caught"),
                f"{layer.pairs[1]} of {layer.pairs[0]}",
                _confirmed_text(layer),
            )
            for layer in covered
        ]
        if rows:
            headers = (
                "op", "vectors", "rivals caught", "by random vectors", "cannot be caught",
                "unit-rule pairs shown", "real interpreter",
            )  # fmt: skip
            blocks.append(Table(headers, rows, right=headers[:6]))
        if len(covered) == 1:
            blocks += self._layer_blocks(covered[0])
        else:
            blocks += _uncaught_blocks(covered)
        refused = [(layer.index, layer.name, layer.refusal) for layer in self.layers if layer.refusal]
        if refused:
            blocks.append(Table(("op", "operator", "why"), merged(refused), title="Without vectors"))
        if self.files:
            blocks.append(Text(f"Wrote {len(self.files)} files: {', '.join(self.files[:8])}{_more(self.files, 8)}"))
        return blocks

    def _outcome(self) -> list[Block]:
        """What there is, and which interpreter confirmed it; or why there is nothing."""
        if not self.layers:
            kinds = ", ".join(sorted({op.name for op in self.model.operators})) or "none"
            what = f"it has no dense layer and no convolution. Its operators are: {kinds}."
            return [Text(f"No vectors for {self.model.source}: {what}", "bad")]
        count = sum(len(layer.x) for layer in self.layers)
        if not count:
            return [Text(f"No vectors: none of its {plural(len(self.layers), 'layer')} has any; see why.", "bad")]
        if self.oracle is None:
            return [
                Text(f"{plural(count, 'vector')}, not confirmed by the real interpreter: {self.unconfirmed}", "warning")
            ]
        by = f"{self.oracle['oracle']} {self.oracle['version']} ({self.oracle['mode']})"
        confirmed = sum(layer.confirmed for layer in self.layers)
        wrong = sum(layer.mismatches for layer in self.layers)
        if wrong:
            return [Text(f"{by} prints something else for {wrong} of {confirmed} outputs.", "bad")]
        return [Text(f"{plural(count, 'vector')}, {confirmed} outputs confirmed by {by}.", "good")]

    def _layer_blocks(self, layer: LayerVectors) -> list[Block]:
        rows = [
            (
                c.kind,
                c.name,
                numbers(c.vectors, 8) if c.vectors else "-",
                "-" if c.random is None else f"{c.random} of {c.tried}",
                f"cannot be caught: {c.equal}" if c.equal else layer.why_not(c) if not c.vectors else c.status,
            )
            for c in layer.catches
        ]
        headers = ("", "rival", "caught by vectors", "by random ones", "")
        return [Table(headers, rows, title=f"operator {layer.index}: what the vectors tell apart")]


def _catches_in_short(layers: Sequence[LayerVectors]) -> list[Block]:
    """How many rivals the vectors of some layers catch, how many random vectors do, and how many nothing can."""
    caught, never = (sum(layer.count(status) for layer in layers) for status in ("caught", "cannot be caught"))
    rivals = sum(len(layer.catches) for layer in layers)
    missed = rivals - never - caught
    text = f"They catch {caught} of {rivals - never} other rules, runtimes and known mistakes"
    if any(layer.random for layer in layers):
        by_random = sum(bool(c.random) for layer in layers for c in layer.catches)
        tried = span(sorted(layer.random for layer in layers))
        text += f"; {tried} random vectors catch {by_random}"
    same = f" {never} more print the same for every input: nothing catches those." if never else ""
    return [Text(f"{text}.{same}", "warning" if missed else "")]


def _confirmed_text(layer: LayerVectors) -> str:
    if layer.oracle_failure:
        return f"failed: {layer.oracle_failure}"
    if not layer.confirmed:
        return "not asked"
    return f"{layer.confirmed} outputs, {layer.mismatches} differ"


def _uncaught_blocks(layers: Sequence[LayerVectors]) -> list[Block]:
    """What the random vectors do not catch, and what nothing catches, over all layers."""
    missed = [
        (layer.index, c.kind, c.name, f"0 of {c.tried}")
        for layer in layers
        for c in layer.catches
        if c.vectors and c.random == 0
    ]
    blocks: list[Block] = []
    if missed:
        headers = ("operators", "", "rival", "random vectors that catch it")
        blocks.append(Table(headers, merged(missed), title="Caught by these vectors, and by no random one"))
    never = [
        (layer.index, c.kind, c.name, c.equal or layer.why_not(c))
        for layer in layers
        for c in layer.catches
        if not c.vectors
    ]
    if never:
        blocks.append(Table(("operators", "", "rival", "why"), merged(never), title="Caught by no vector"))
    return blocks


def _more(values: Sequence[str], shown: int) -> str:
    return f" and {len(values) - shown} more" if len(values) > shown else ""
