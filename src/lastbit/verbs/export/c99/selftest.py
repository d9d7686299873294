"""A self-test as C: it makes its inputs itself, and says which of its checks failed first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....arith.fixedpoint import low_bits
from ..program import Piece, Slot
from ..selftest import MOST_OUTPUTS, SelfTest
from .library import ConstantArray
from .text import C_TYPES, array, decimal, integer

__all__ = ["checksums", "self_test_text"]

_MIX = """\
/* A number that looks random, for each number. */
static uint32_t selftest_mix(uint32_t x) {
  x *= UINT32_C(2654435761);
  x = (x ^ (x >> 15)) * UINT32_C(2246822519);
  x = (x ^ (x >> 13)) * UINT32_C(3266489917);
  return x ^ (x >> 16);
}"""

_SUM = """\
/* 32 bits that change when any one element changes. */
static uint32_t selftest_sum_@(const TYPE *values, int32_t count) {
  uint32_t sum = 0;
  for (int32_t i = 0; i < count; i++) {
    sum += (uint32_t)values[i] * (selftest_mix((uint32_t)i) | 1u);
  }
  return sum;
}"""

_FILL = """\
/* mode 0: every value alike; 1: the ends; 2: the same for eight neighbours; 3: near the middle. */
static void selftest_fill_@(TYPE *values, int32_t count, uint32_t seed, int32_t mode) {
  for (int32_t i = 0; i < count; i++) {
    const uint32_t place = (uint32_t)i;
    const uint32_t bits = selftest_mix((mode == 2 ? place / 8 : place) + seed * 7919u);
    const int64_t any = (int64_t)(bits >> SHIFT) + LOW;
    const int64_t ends = any < MIDDLE ? LOW : HIGH;
    const int64_t near = (int64_t)(bits >> 28) - 8 + MIDDLE;
    values[i] = (TYPE)(mode == 1 ? ends : mode == 3 ? near : any);
  }
}"""

_FILL_FLOAT = """\
/* The same in steps of a power of two, so that every value is exact. */
static void selftest_fill_float(float *values, int32_t count, uint32_t seed, int32_t mode, float step) {
  for (int32_t i = 0; i < count; i++) {
    const uint32_t place = (uint32_t)i;
    const uint32_t bits = selftest_mix((mode == 2 ? place / 8 : place) + seed * 7919u);
    int32_t whole = (int32_t)(bits >> 8) - 8388608;
    if (mode == 1) {
      whole = whole < 0 ? -8388608 : 8388607;
    }
    if (mode == 3) {
      whole = whole >= 0 ? whole / 16 : -((15 - whole) / 16);
    }
    values[i] = (float)whole * step;
  }
}"""

_PROBE = """\
/* One accumulator of one channel, and the output that must come out. */
typedef struct {
  int64_t acc;
  int32_t channel, output;
} selftest_probe;"""

_MODES = {"any": 0, "ends": 1, "blocks": 2, "quiet": 3}


def checksums(kinds: set[str]) -> list[str]:
    """What the checks of single operators need: one function for each element type that is no float."""
    sums = [_SUM.replace("@", kind).replace("TYPE", C_TYPES[kind]) for kind in sorted(kinds) if kind != "float32"]
    return [_MIX, *sums]


def self_test_text(
    name: str, test: SelfTest, pieces: list[Piece], inputs: list[Slot], outputs: list[Slot], memory: Sequence[str],
    constants: Sequence[ConstantArray],
) -> str:  # fmt: skip
    """The function NAME_selftest and what only it needs.

    Args:
        name: of the program.
        test: the self-test.
        pieces: the program's operators.
        inputs: what it is given.
        outputs: what it returns.
        memory: what a run is given behind its outputs.
        constants: its arrays.
    """
    parts = [_fill(kind) for kind in sorted({slot.dtype.name for slot in inputs})]
    parts += _expected(test, outputs)
    parts += [*_probes(test, pieces), *_elements(test)]
    lines = _function(name, test, inputs, outputs, memory)
    runs, checks = len(test.vectors), len(test.vectors[0].checksums) if test.vectors else 0
    offset = runs * (sum(min(slot.elements, MOST_OUTPUTS) for slot in outputs) + checks)
    lines += _single_checks(test, pieces, offset)
    lines += _constants(constants, offset + test.single_checks)
    parts.append("\n".join([*lines, "  return -1;", "}"]))
    return "\n\n".join(parts)


def _fill(kind: str) -> str:
    if kind == "float32":
        return _FILL_FLOAT
    info = np.iinfo(kind)
    middle = (int(info.min) + int(info.max) + 1) // 2
    text = _FILL.replace("@", kind).replace("TYPE", C_TYPES[kind]).replace("SHIFT", str(32 - info.bits))
    for word, value in (("LOW", int(info.min)), ("HIGH", int(info.max)), ("MIDDLE", middle)):
        text = text.replace(word, integer(value, 64))
    return text


def _expected(test: SelfTest, outputs: list[Slot]) -> list[str]:
    found = []
    for k, slot in enumerate(outputs):
        kept = [np.asarray(e.outputs[k]).reshape(-1)[:MOST_OUTPUTS] for e in test.vectors]
        dtype = np.dtype(slot.dtype.numpy)
        found.append(array(f"selftest_output_{k}", dtype, np.concatenate(kept)))
    sums = np.asarray([e.checksums for e in test.vectors], np.uint32)
    return [*found, array("selftest_sums", np.dtype(np.uint32), sums)]


def _probes(test: SelfTest, pieces: list[Piece]) -> list[str]:
    if not test.probes:
        return []
    found, functions = [_PROBE], {}
    for number in test.probes:
        probed = pieces[number].probes[0]
        structure = probed.structure[0]
        numbers = ", ".join(f"q->{each}[at]" for each in probed.names)
        cast = "" if probed.params.rule.sums.bits == 64 else "(int32_t)"
        functions[probed.function] = f"""\
static int32_t selftest_{probed.function}(const {structure} *q, const selftest_probe *probes, int32_t count) {{
  for (int32_t i = 0; i < count; i++) {{
    const int32_t at = q->per_channel * probes[i].channel;
    if ({probed.function}({cast}probes[i].acc, {numbers}, q) != probes[i].output) {{
      return i;
    }}
  }}
  return -1;
}}"""
    found += functions.values()
    for number, probes in test.probes.items():
        bias = pieces[number].probes[0].params.bias
        accs = [p.acc if bias is None else int(low_bits(p.acc - int(bias[p.channel]), 32)) for p in probes]
        rows = [f"  {{{integer(a, 64)}, {p.channel}, {p.output}}}," for a, p in zip(accs, probes, strict=True)]
        found.append(
            "\n".join([f"static const selftest_probe selftest_probes_{number}[{len(rows)}] = {{", *rows, "};"])
        )
    return found


def _elements(test: SelfTest) -> list[str]:
    """Arguments and results of functions of one element."""
    found = []
    for function, probes in test.elements.items():
        given = np.asarray([probe.given for probe in probes])
        wanted = np.asarray([probe.output for probe in probes])
        kinds = [np.dtype(np.float32) if a.dtype == np.float32 else np.dtype(np.int64) for a in (given, wanted)]
        found.append(array(f"selftest_given_{function}", kinds[0], given))
        found.append(array(f"selftest_wanted_{function}", kinds[1], wanted))
    return found


def _function(name: str, test: SelfTest, inputs: list[Slot], outputs: list[Slot], memory: Sequence[str]) -> list[str]:
    """The self-test as far as its whole runs."""
    sizes = [min(slot.elements, MOST_OUTPUTS) for slot in outputs]
    total, runs, checks = sum(sizes), len(test.vectors), len(test.vectors[0].checksums) if test.vectors else 0
    lines = [
        f"int32_t {name}_selftest(void) {{",
        *(f"  static {name}_{kind} {kind};" for kind in memory),
        *(f"  static {C_TYPES[s.dtype.name]} input_{k}[{max(s.elements, 1)}];" for k, s in enumerate(inputs)),
        *(f"  static {C_TYPES[s.dtype.name]} output_{k}[{max(s.elements, 1)}];" for k, s in enumerate(outputs)),
        f"  static const uint32_t seeds[{runs}] = {{{', '.join(str(e.vector.seed) for e in test.vectors)}}};",
        f"  static const int32_t modes[{runs}] = {{{', '.join(str(_MODES[e.vector.mode]) for e in test.vectors)}}};",
        "  int32_t failed = -1;",
        *([f"  {name}_reset(&state);"] if "state" in memory else []),
        f"  for (int32_t run = 0; run < {runs}; run++) {{",
    ]
    for k, slot in enumerate(inputs):
        step = np.float32(2.0 ** (test.exponents[k] - 23))
        extra = f", {decimal(step)}" if slot.dtype.name == "float32" else ""
        fill = "float" if slot.dtype.name == "float32" else slot.dtype.name
        lines.append(
            f"    selftest_fill_{fill}(input_{k}, {slot.elements}, seeds[run] + {1000 * k}u, modes[run]{extra});"
        )
    arguments = [f"input_{k}" for k in range(len(inputs))] + [f"output_{k}" for k in range(len(outputs))]
    arguments += [*(f"&{kind}" for kind in memory), f"selftest_sums + run * {checks}"]
    lines.append(f"    const int32_t wrong = {name}_checked({', '.join(arguments)});")
    offset = 0
    for k, size in enumerate(sizes):
        lines += [
            f"    for (int32_t i = 0; i < {size}; i++) {{",
            f"      if (!(output_{k}[i] == selftest_output_{k}[run * {size} + i])) {{",
            f"        return run * {total} + {offset} + i;",
            "      }",
            "    }",
        ]
        offset += size
    lines += [
        "    if (wrong >= 0 && failed < 0) {",
        f"      failed = {runs * total} + run * {checks} + wrong;",
        "    }",
        "  }",
        "  if (failed >= 0) {",
        "    return failed;",
        "  }",
    ]
    return lines


def _constants(constants: Sequence[ConstantArray], offset: int) -> list[str]:
    """Weights and tables, each array by its sum: a wrong one need not show in any output."""
    lines: list[str] = []
    for number, each in enumerate(constants):
        lines += [
            f"  if (selftest_sum_{each.kind}({each.name}, {each.size}) != {each.sum}u) {{",
            f"    return {offset + number};",
            "  }",
        ]
    return lines


def _single_checks(test: SelfTest, pieces: list[Piece], offset: int) -> list[str]:
    """Requantizations and functions of one element, each asked once; numbers of failed checks begin at the offset."""
    lines: list[str] = []
    for number, probes in test.probes.items():
        probed = pieces[number].probes[0]
        lines += [
            f"  failed = selftest_{probed.function}(&{probed.structure[1]}, selftest_probes_{number}, {len(probes)});",
            "  if (failed >= 0) {",
            f"    return {offset} + failed;",
            "  }",
        ]
        offset += len(probes)
    for function, checks_of in test.elements.items():
        width = len(checks_of[0].given)
        given = ", ".join(f"selftest_given_{function}[i * {width} + {k}]" for k in range(width))
        lines += [
            f"  for (int32_t i = 0; i < {len(checks_of)}; i++) {{",
            f"    if (!({function}({given}) == selftest_wanted_{function}[i])) {{",
            f"      return {offset} + i;",
            "    }",
            "  }",
        ]
        offset += len(checks_of)
    return lines
