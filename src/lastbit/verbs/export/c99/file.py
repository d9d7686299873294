"""A program as one .h and one .c file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ....model.types import hex_float
from ....rules.base import Unsupported
from ..program import Piece, Plan, Slot, pool_of, targets
from ..selftest import SelfTest
from . import operators
from .library import Library
from .selftest import checksums, self_test_text
from .text import C_TYPES, array, comment, decimal, has_array, integer, nest

__all__ = ["About", "Written", "arena_bytes", "header", "source", "state_bytes", "write_pieces"]


@dataclass(frozen=True)
class About:
    """What a program is made from, in words.

    Attributes:
        name: what its functions begin with.
        tool: which tool made it.
        digest: the model file's SHA-256.
        runtime: whose arithmetic it is.
        what: the operators, or the one that it is.
    """

    name: str
    tool: str
    digest: str
    runtime: str
    what: str


@dataclass(frozen=True, eq=False)
class Written:
    """The operators of a program in C.

    Attributes:
        plan: the program.
        library: functions and constants.
        pieces: the calls, in order.
        lacking: operator -> why it is not written.
    """

    plan: Plan
    library: Library
    pieces: list[Piece] = field(default_factory=list)
    lacking: dict[int, str] = field(default_factory=dict)

    @property
    def multiply_adds(self) -> int:
        """Of one run."""
        return sum(piece.multiply_adds for piece in self.pieces)

    @property
    def inputs(self) -> list[Slot]:
        """What is given, in order."""
        return _of_kind(self.plan, "input")

    @property
    def outputs(self) -> list[Slot]:
        """What is returned, in order."""
        return _of_kind(self.plan, "output")

    @property
    def variables(self) -> list[Slot]:
        """What is kept from one run to the next, in order."""
        return _of_kind(self.plan, "state")

    @property
    def memory(self) -> tuple[str, ...]:
        """The memory that a run is given behind inputs and outputs: `arena`, and `state` where there are variables."""
        return ("arena", "state") if self.plan.state else ("arena",)


def _of_kind(plan: Plan, kind: str) -> list[Slot]:
    found = {slot.place.number: slot for slot in reversed(list(plan.slots.values())) if slot.place.kind == kind}
    return [found[number] for number in sorted(found)]


def write_pieces(plan: Plan) -> Written:
    """Every operator of a program; what C does not have is gathered."""
    written = Written(plan, Library())
    for entry in plan.entries:
        try:
            written.pieces.extend(operators.pieces(entry, plan.model, written.library))
        except Unsupported as lack:
            written.lacking[entry.operator.index] = operators.why_not(entry, plan.model, lack)
    for index in sorted({i for piece in written.pieces for i in piece.entry.inputs if i in plan.constants}):
        value = plan.constants[index]
        if has_array(value):
            written.library.array(f"tensor_{index}", value.dtype, value)
    return written


def pointer(slot: Slot, plan: Plan) -> str:
    """A tensor as an argument."""
    place = slot.place
    match place.kind:
        case "input" | "output":
            return f"{place.kind}_{place.number}"
        case "state":
            return f"state->variable_{place.number}"
        case "constant":
            return f"tensor_{slot.tensor.index}"
        case "arena":
            pool = pool_of(slot.tensor)
            at = f"arena->{pool} + {place.number}"
            own = C_TYPES[slot.dtype.name]
            return at if C_TYPES[pool] == own else f"({own} *)({at})"


_FLOATS = """\
#if defined(__FAST_MATH__)
#error "compile without -ffast-math: it changes results"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "floats must be calculated as floats: compile for SSE or another unit with float32 (FLT_EVAL_METHOD 0)"
#endif"""


def header(written: Written, about: About, test: SelfTest) -> str:
    """The .h file: what a caller needs."""
    name, upper = about.name, about.name.upper()
    lines = [*_about(written, about, test), f"#ifndef LASTBIT_{upper}_H", f"#define LASTBIT_{upper}_H", ""]
    lines += ["#include <stdint.h>", ""]
    for slots in (written.inputs, written.outputs):
        for slot in slots:
            place = slot.place
            what = f"{upper}_{place.kind.upper()}_{place.number}"
            shape = " x ".join(map(str, slot.tensor.shape)) or "1"
            lines.append(f"#define {what}_SIZE {slot.elements} /* {slot.dtype.name}, {shape}: {_name(slot)} */")
            lines += _quantization(slot, what)
    lines += [f"#define {upper}_MULTIPLY_ADDS INT64_C({written.multiply_adds}) /* of one run */", ""]
    lines += [
        f"/* Memory for one run: {arena_bytes(written.plan)} bytes. It needs no initial values and keeps nothing. */",
        "typedef struct {",
        *(f"  {C_TYPES[kind]} {kind}[{size}];" for kind, size in (written.plan.pools or {"int8": 1}).items()),
        f"}} {name}_arena;",
        "",
        *_state(written, name),
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"void {name}_run({_parameters(written, name)});",
        *([f"void {name}_reset({name}_state *state);"] if written.variables else []),
        "",
        "/* -1: every output and every operator's checksum is right. Else which check failed first: the outputs of all",
        " * vectors one after the other, then the operators of all vectors, then single numbers, then constants. */",
        f"int32_t {name}_selftest(void);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        f"#endif /* LASTBIT_{upper}_H */",
    ]
    return "\n".join(lines) + "\n"


def source(written: Written, about: About, test: SelfTest) -> str:
    """The .c file."""
    plan, name = written.plan, about.name
    sums = list(written.library.sums.values())
    kinds = {plan.slots[i].dtype.name for entry in plan.entries for i in targets(entry)} | {each.kind for each in sums}
    parts = ["\n".join(_about(written, about, test)), f'#include "{name}.h"']
    if written.library.floats:
        parts.append(_FLOATS)
    parts += [
        *written.library.parts,
        *checksums(kinds),
        _checked(written, about),
        _run(written, about),
        *_reset(written, name),
    ]
    parts.append(self_test_text(name, test, written.pieces, written.inputs, written.outputs, written.memory, sums))
    return "\n\n".join(parts) + "\n"


def _about(written: Written, about: About, test: SelfTest) -> list[str]:
    flags = "-std=c99 -O2 -ffp-contract=off" if written.library.floats else "-std=c99 -O2"
    lines = [
        f"{about.name}: {about.what}, as {about.runtime} calculates it, to the last bit.",
        f"Made by {about.tool} from the model with SHA-256 {about.digest}.",
        f"Compile: cc {flags} -c {about.name}.c (also C++11). Only stdint.h is needed.",
        f"Self-test: {len(test.vectors)} vectors, {test.single_checks} single numbers, and sums of "
        f"{len(written.library.sums)} constant arrays.",
        f"It catches {test.caught} of {test.rivals} pairs of an operator and another rule.",
    ]
    return ["/*", *(f" * {comment(line)}" for line in lines), " */"]


def _name(slot: Slot) -> str:
    return comment(slot.tensor.name)


def _quantization(slot: Slot, what: str) -> list[str]:
    quant = slot.tensor.quant
    if quant is None or quant.scale.size != 1 or slot.dtype.name not in ("int8", "uint8", "int16"):
        return []
    scale = np.float32(quant.scale[0])
    return [
        f"#define {what}_SCALE {decimal(scale)} /* {hex_float(scale)} */",
        f"#define {what}_ZERO_POINT ({int(quant.zero_point[0])})",
    ]


def _state(written: Written, name: str) -> list[str]:
    """What a streaming model keeps, as a type."""
    slots = written.variables
    if not slots:
        return []
    return [
        f"/* What is kept from one run to the next: {state_bytes(written.plan)} bytes. Call {name}_reset before the",
        " * first run: it gives each variable the value that a stream begins with. */",
        "typedef struct {",
        *(f"  {C_TYPES[slot.dtype.name]} variable_{k}[{slot.elements}];" for k, slot in enumerate(slots)),
        f"}} {name}_state;",
        "",
    ]


def _reset(written: Written, name: str) -> list[str]:
    """The function that begins a stream."""
    slots = written.variables
    if not slots:
        return []
    arrays, lines = [], [f"void {name}_reset({name}_state *state) {{"]
    firsts = sorted(written.plan.state, key=lambda index: written.plan.slots[index].place.number)
    for k, (slot, first) in enumerate(zip(slots, firsts, strict=True)):
        value = written.plan.state[first]
        kind, flat = np.dtype(slot.dtype.numpy), np.asarray(value).reshape(-1)
        text = f"first_value_{k}[i]"
        if flat.size and (flat.view(np.uint8).reshape(flat.size, -1) == flat[:1].view(np.uint8)).all():
            text = decimal(flat[0]) if kind.kind == "f" else integer(int(flat[0]), 64 if kind.itemsize == 8 else 32)
        else:
            arrays.append(array(f"first_value_{k}", kind, flat))
        lines += nest([("i", slot.elements)], [f"state->variable_{k}[i] = {text};"])
    return [*arrays, "\n".join([*lines, "}"])]


def state_bytes(plan: Plan) -> int:
    """Memory that is kept from run to run."""
    return sum(value.nbytes for value in plan.state.values())


def arena_bytes(plan: Plan) -> int:
    """Memory that one run needs beside inputs and outputs."""
    return sum(size * np.dtype(kind).itemsize for kind, size in plan.pools.items())


def _parameters(written: Written, name: str) -> str:
    given = [f"const {C_TYPES[s.dtype.name]} *input_{k}" for k, s in enumerate(written.inputs)]
    given += [f"{C_TYPES[s.dtype.name]} *output_{k}" for k, s in enumerate(written.outputs)]
    return ", ".join([*given, *(f"{name}_{kind} *{kind}" for kind in written.memory)])


def _checked(written: Written, about: About) -> str:
    """All operators, each followed by its check where one is asked for."""
    plan, name = written.plan, about.name
    lines = [
        "/* One run; with sums, the operator whose outputs do not add up to its own first, or -1. */",
        f"static int32_t {name}_checked({_parameters(written, name)}, const uint32_t *sums) {{",
        *(f"  (void)input_{k};" for k in range(len(written.inputs))),
        "  (void)arena;",
        "  int32_t wrong = -1;",
    ]
    for number, entry in enumerate(plan.entries):
        for piece in written.pieces:
            if piece.entry is entry:
                given = [pointer(plan.slots[i], plan) for i in dict.fromkeys(entry.inputs)]
                results = [pointer(plan.slots[i], plan) for i in targets(entry)]
                arguments = ", ".join([*piece.leading, *given, *results])
                lines.append(f"  {piece.function}({arguments}); /* {comment(entry.rule)} */")
        sums = [
            f"selftest_sum_{slot.dtype.name}({pointer(slot, plan)}, {slot.elements})"
            for slot in (plan.slots[i] for i in targets(entry))
            if slot.dtype.name != "float32"
        ]
        if sums:
            lines.append(
                f"  wrong = sums != 0 && wrong < 0 && {' + '.join(sums)} != sums[{number}] ? {number} : wrong;"
            )
    return "\n".join([*lines, "  (void)sums;", "  return wrong;", "}"])


def _run(written: Written, about: About) -> str:
    name = about.name
    arguments = [f"input_{k}" for k in range(len(written.inputs))] + [
        f"output_{k}" for k in range(len(written.outputs))
    ]
    return "\n".join(
        [
            f"void {name}_run({_parameters(written, name)}) {{",
            f"  (void){name}_checked({', '.join([*arguments, *written.memory])}, 0);",
            "}",
        ]
    )
