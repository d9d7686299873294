"""Dense products for anyone who has rows and weights: packed once, multiplied with the CPU's dot product instructions.

Convolutions that gather their patches as rows (im2col) call this too:

    weights = pack(w, input_type="int8")    # int8 or uint8 `[out, depth]`; once. Inputs: int8, uint8 or int16
    dot(rows, weights)                      # int8, uint8 or int16 `[n, depth]` -> int32 or int64 `[n, out]`

    layer = pack(w, params=params, bias=folded)   # a RequantParams; what the sums begin with, int64 `[out]`
    dense(rows, layer)                            # the same, requantized in registers: int8, uint8 or int16 `[n, out]`

Sums wrap at 32 bits, or at 64 where the weights were packed for 64-bit sums. Needs Numba; `available()` says.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arith.requantize import RequantParams
from ..types import Array, IntArray
from .jit_memory import Outputs, address, aligned, line_aligned
from .jit_threads import together
from .steps import Elementwise, Quantizer, Softmax, Table

if TYPE_CHECKING:
    from .jit_vectors import Isa

__all__ = ["Chain", "PackedDense", "available", "dense", "dot", "pack"]

_INPUT_TYPES = {"int8": 0, "uint8": 1, "int16": 2}
# Input rows that go through a chain together take about this much of the second level cache.
_BLOCK_BYTES = 160_000
# Fewer rows would read the weights of a deep layer from memory too often.
_LEAST_BLOCK = 96
_LEAST_ROWS_PER_THREAD = 24


def available() -> bool:
    """Whether Numba is installed. Nothing is imported."""
    return importlib.util.find_spec("numba") is not None


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedDense:
    """A dense layer laid out for this machine's kernels.

    Attributes:
        isa: the kernels.
        form: the requantization form; `acc` gives the sums.
        wide: whether sums have 64 bits.
        units: output units.
        depth: accumulation depth.
        input: the type of the inputs.
        output: the type of the outputs.
        rows: rows of this layer for one row of a chain.
        fields: its row of a chain's table (see `jit_kernels.FIELDS`).
        kept: the arrays that the table points to.
    """

    isa: Isa
    form: str
    wide: bool
    units: int
    depth: int
    input: np.dtype[Any]
    output: np.dtype[Any]
    rows: int
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)

    @property
    def kernel(self) -> str:
        """The form's name among the micro-kernels."""
        return f"{self.form}/64" if self.wide else self.form


def pack(
    weights: IntArray,
    *,
    weights_zero_point: int = 0,
    bias: npt.NDArray[np.int64] | None = None,
    params: RequantParams | None = None,
    slots: dict[str, Array] | None = None,
    form: str | None = None,
    acc_bits: int = 32,
    input_type: str = "int8",
    rows: int = 1,
    isa: Isa | None = None,
) -> PackedDense | None:
    """Lay a layer's weights and constants out for the kernels.

    Args:
        weights: int8 or uint8 `[out, depth]`.
        weights_zero_point: zw; taken off the weights.
        bias: int64 `[out]`, what the sums begin with: bias - zx * sum(w - zw). None for zeros.
        params: the requantization; None for the sums themselves.
        slots: its constants by slot, from `jit_forms.form_slots`; None to make them from `params` (forms that
            add a real-valued bias need the scales and must give them).
        form: what finishes the sums, where that is no requantization: one of `jit_hybrid_forms.HYBRID_FORMS`.
        acc_bits: 64 for 64-bit sums, fewer than 32 for narrow accumulators.
        input_type: int8, uint8 or int16.
        rows: rows of this layer for one row of a chain.
        isa: kernels of another kind than this machine's best.

    Returns:
        The layer; None where the kernels do not cover it (see `jit_forms`).
    """
    from . import jit_cpu, jit_forms, jit_kernels
    from .jit_tile import UNROLL
    from .jit_vectors import ISAS

    isa = isa or jit_cpu.host_isa()
    wide = acc_bits == 64
    given = np.dtype(input_type)
    if (given.itemsize > 1 or wide) and isa.activations != "int16":
        # The byte kernels take bytes only; what CPUs with them can do as well is the widening product.
        isa = ISAS["avx2" if isa.x86 else "portable"]
    form = form or ("acc" if params is None else params.rule.form)
    forms = jit_forms.FORMS_64 if wide else jit_forms.FORMS
    if slots is None:
        slots = {} if params is None else jit_forms.form_slots(params)
    if slots is None or form not in forms or weights.dtype.itemsize > 1:
        return None
    units, depth = weights.shape
    w = weights.astype(np.int64)
    start = np.zeros(units, np.int64) if bias is None else np.asarray(bias, np.int64)
    # Weights as signed bytes; what that takes off them, and their zero point, goes to the sum of each input row.
    signed = 128 if weights.dtype == np.uint8 else 0
    rest = signed - weights_zero_point
    byte_weights, whole_weights = w - signed, w - weights_zero_point
    if isa.activations != "int16":
        moved = {("uint8", "int8"): 128, ("int8", "uint8"): -128}.get((isa.activations, given.name), 0)
        start = start - moved * whole_weights.sum(axis=1)
    chunk = 1 << 40
    if wide:
        # So many steps that no int32 overflows.
        step = UNROLL * isa.group * max(int(np.abs(whole_weights).max(initial=0)), 1) * 2 ** (8 * given.itemsize - 1)
        chunk = (2**31 - 1) // step
    steps = max(-(-depth // (isa.group * UNROLL)), 1)
    if isa.activations == "int16":
        packed = _panels(isa, whole_weights.astype(np.int16), steps * UNROLL)
        narrow = packed if wide else _panels(isa, byte_weights.astype(np.int8), steps * UNROLL)
    else:
        packed = narrow = _panels(isa, byte_weights.astype(np.int8), steps * UNROLL)
    columns = _columns(isa, forms[form][0], {"bias": start, **slots}, units)
    output = np.dtype(np.int64 if wide else np.int32) if params is None else np.dtype(params.dtype.numpy)
    scalars = np.zeros(8, np.int32) if params is None else jit_forms.form_scalars(params, acc_bits)
    panels = -(-units // isa.columns)
    fields = {
        "kind": jit_kernels.DENSE,
        "depth": depth,
        "row_bytes": steps * UNROLL * 4,
        "steps": steps,
        "chunk": chunk,
        "units": units,
        "panels": panels,
        "panel_bytes": packed.nbytes // panels,
        "weights": address(packed),
        "narrow_panel_bytes": narrow.nbytes // panels,
        "narrow_weights": address(narrow),
        "columns": address(columns),
        "column_bytes": columns.nbytes // panels,
        "scalars": address(scalars),
        "weights_zero_point": rest,
        "input_type": _INPUT_TYPES[given.name],
        "input_bytes": given.itemsize,
        "output_bytes": output.itemsize,
        "rows": rows,
    }
    return PackedDense(
        isa=isa,
        form=form,
        wide=wide,
        units=units,
        depth=depth,
        input=given,
        output=output,
        rows=rows,
        fields=fields,
        kept=(packed, narrow, columns, scalars),
    )


def _panels(isa: Isa, weights: Array, groups: int) -> Array:
    """`[out, depth]` -> `[panel, group of the depth, unit of the panel, value of the group]`, filled up with zeros."""
    units, depth = weights.shape
    panels = -(-units // isa.columns)
    padded = np.zeros((panels * isa.columns, groups * isa.group), weights.dtype)
    padded[:units, :depth] = weights
    return line_aligned(padded.reshape(panels, isa.columns, groups, isa.group).transpose(0, 2, 1, 3))


def _columns(isa: Isa, kinds: dict[str, str], values: dict[str, Array], units: int) -> Array:
    """Each vector's constants, slot behind slot: bytes `[vectors, bytes]`."""
    vectors = -(-units // isa.columns) * isa.vectors
    parts = []
    for name, kind in kinds.items():
        padded = np.zeros(vectors * isa.lanes, np.asarray(values[name]).dtype)
        padded[:units] = values[name]
        parts.append(padded.astype(f"<{kind}").reshape(vectors, isa.lanes).view(np.uint8))
    return line_aligned(np.concatenate(parts, axis=1))


class Chain:
    """Operators that run one after the other over blocks of rows, so that what lies between stays in the cache.

    All dense layers have the same requantization form; see `engines.plan` for how a model is cut into chains.
    Calls may come from several threads at once.

    Args:
        operators: what it runs; at least one.
        refuse: its input -> its output, slowly. Asked where the real kernel of an operator aborts the process, for the
            words of the refusal.
    """

    def __init__(
        self, operators: Sequence[PackedDense | Elementwise], refuse: Callable[[Array], Array] | None = None
    ) -> None:
        from .jit_cpu import host_isa
        from .jit_kernels import FIELDS, chain, enter

        layers = [op for op in operators if isinstance(op, PackedDense)]
        self._kept: list[object] = list(operators)
        table = np.zeros((len(operators), len(FIELDS)), np.int64)
        widths = []
        for row, op in zip(table, operators, strict=True):
            if isinstance(op, PackedDense):
                fields = op.fields
                widths.append(op.rows * op.units * op.output.itemsize)
            else:
                fields = _elementwise_fields(op)
                widths.append(op.elements * op.output.itemsize)
            row[:] = [fields.get(name, 0) for name in FIELDS]
        first, last = operators[0], operators[-1]
        self._table = table
        if isinstance(first, PackedDense):
            in_bytes = first.rows * first.depth * first.input.itemsize
        else:
            each = first.output.itemsize if isinstance(first, Softmax) else 4 if isinstance(first, Quantizer) else 1
            in_bytes = first.elements * each
        self.output = last.output
        self._in_bytes = in_bytes
        self._elements = widths[-1] // self.output.itemsize
        # Without dense layers no tile is called: any form will do.
        isa = layers[0].isa if layers else host_isa()
        self._function = chain(layers[0].kernel, isa, layers[0].output.itemsize) if layers else chain("acc", isa, 4)
        self._enter = enter
        self._refuse = refuse
        converted = max((op.rows * op.fields["row_bytes"] for op in layers), default=max(widths))
        # Whole tiles; nothing is read again for each block where there are no weights.
        step, least = (2 * isa.rows[0], _LEAST_BLOCK) if layers else (1, 1)
        block = max(_BLOCK_BYTES // converted // step * step, least // step * step)
        most_rows = block * max((op.rows for op in layers), default=0) + isa.rows[0]
        sizes = (
            2 * block * max(widths) if len(operators) > 1 else 0,
            most_rows * max((op.fields["row_bytes"] for op in layers), default=0),
            8 * most_rows,
            isa.rows[0] * isa.columns * 8,
        )
        *places, self._scratch_bytes = np.cumsum([-(-size // 128) * 128 for size in sizes]).tolist()
        state = [address(table), len(operators), in_bytes, widths[-1], block, places[0] // 2, *places, step]
        self._state = np.asarray(state, np.int64)
        self._free: list[int] = []
        self._few = 2 * _LEAST_ROWS_PER_THREAD - 1
        self._outputs = Outputs()

    def __call__(self, x: Array, threads: int = 1) -> Array:
        """Run the chain.

        Args:
            x: `[rows, ...]`, C-contiguous, of the first operator's input type.
            threads: how many threads share the rows.

        Returns:
            `[rows, elements of one row]`.

        Raises:
            InputError: on one of these rows the real kernel of an operator aborts the process.
        """
        rows = x.nbytes // self._in_bytes
        if rows > self._few:
            return self._many(x, rows, threads)
        out = np.empty((rows, self._elements), self.output)
        # Lists give and take in one step, so two threads never get the same memory.
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._memory()
        refused = self._enter(memory, x, out, rows, 0)
        self._free.append(memory)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _many(self, x: Array, rows: int, threads: int) -> Array:
        """So many rows that threads and the memory of the output matter."""
        out = self._outputs.empty((rows, self._elements), self.output)
        threads = min(threads, rows // _LEAST_ROWS_PER_THREAD)
        shared = np.asarray([0, threads], np.int64)  # rows that are taken, and by how many threads
        shared_at = address(shared) if threads > 1 else 0

        def part() -> int:
            try:
                memory = self._free.pop()
            except IndexError:
                memory = self._memory()
            refused: int = self._enter(memory, x, out, rows, shared_at)
            self._free.append(memory)
            return refused

        refused = together(part, threads)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _memory(self) -> int:
        """The address of memory for one call: what is called, then scratch memory (see `jit_kernels.enter`)."""
        from .jit_kernels import HEADER_BYTES

        array = aligned(HEADER_BYTES + self._scratch_bytes)
        array[:16].view(np.int64)[:] = self._function, address(self._state)
        self._kept.append(array)
        return address(array)


def _elementwise_fields(op: Elementwise) -> dict[str, int]:
    """The row of a chain's table for what is no dense layer."""
    from . import jit_elements, jit_kernels

    fields = {"depth": op.elements, "output_bytes": op.output.itemsize}
    if isinstance(op, Softmax):
        return fields | {
            "kind": jit_kernels.SOFTMAX[op.rule],
            "table": address(op.table),
            "scalars": address(op.constants),
            "table_period": op.classes,
        }
    return fields | {
        "kind": jit_kernels.QUANTIZER if isinstance(op, Quantizer) else jit_kernels.TABLE,
        "table": address(op.constants if isinstance(op, Quantizer) else op.values),
        "table_split": op.split,
        "table_period": op.period,
        "input_type": jit_elements.UINT8 if isinstance(op, Table) and op.unsigned else jit_elements.INT8,
    }


def dense(rows: IntArray, layer: PackedDense, threads: int = 1) -> Array:
    """A packed layer's outputs for rows `[n, depth]`: `[n, out]`."""
    x = np.ascontiguousarray(rows)
    assert x.dtype == layer.input, f"packed for {layer.input}, got {x.dtype}"
    if not x.size:
        return np.zeros((len(x), layer.units), layer.output)
    return Chain([layer])(x, threads)


def dot(rows: IntArray, weights: PackedDense, threads: int = 1) -> Array:
    """`rows @ weights.T`, int32 that wraps or int64: rows `[n, depth]` -> `[n, out]`. See `pack`."""
    assert weights.form == "acc"
    return dense(rows, weights, threads)
