"""Dense products for anyone who has rows and weights: packed once, multiplied with the CPU's dot product instructions.

Convolutions that gather their patches as rows (im2col) call this too:

    weights = pack(w, input_type="int8")    # int8 or uint8 `[out, depth]`; once. Inputs: int8, uint8 or int16
    dot(rows, weights)                      # int8, uint8 or int16 `[n, depth]` -> int32 or int64 `[n, out]`

    layer = pack(w, epilogue=Epilogue(params), bias=folded)   # a RequantParams; what the sums begin with, int64 `[out]`
    dense(rows, layer)                                        # the same, requantized: int8, uint8 or int16 `[n, out]`

Sums wrap at 32 bits, or at 64 where the weights were packed for 64-bit sums. Needs Numba; `available()` says.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from ...model.types import Array, IntArray
from ..blas import Elementwise, QuantizeStep, Softmax
from .fields import Fields
from .memory import Outputs, address, aligned
from .pack import Epilogue, PackedDense, pack
from .threads import together

__all__ = ["Chain", "Epilogue", "PackedDense", "available", "dense", "dot", "pack"]

# Input rows that go through a chain together take about this much of the second level cache.
_BLOCK_BYTES = 160_000
# Fewer rows would read the weights of a deep layer from memory too often.
_LEAST_BLOCK = 96
_LEAST_ROWS_PER_THREAD = 24
# Weights that no core's second level cache holds: threads share the units of fewer rows than they could share, and each
# thread finds its own weights again.
_LARGE_WEIGHTS = 4 << 20
# Calls of fewer products keep Python's lock: it takes about as long to give it back and take it again.
_LEAST_PRODUCTS = 1 << 22


def available() -> bool:
    """Whether Numba is installed. Nothing is imported."""
    return importlib.util.find_spec("numba") is not None


class Chain:
    """Operators that run one after the other over blocks of rows, so that what lies between stays in the cache.

    See `engines.plan` for how a model is cut into chains. Calls may come from several threads at once.

    Args:
        operators: what it runs; at least one.
        refuse: its input -> its output, slowly. Asked where the real kernel of an operator aborts the process, for the
            words of the refusal.
    """

    def __init__(
        self, operators: Sequence[PackedDense | Elementwise], refuse: Callable[[Array], Array] | None = None
    ) -> None:
        from .compile import function_address
        from .entry import enter
        from .kernels import chain
        from .tile import MOST_ROWS, ROWS_MULTIPLE

        layers = [op for op in operators if isinstance(op, PackedDense)]
        self._kept: list[object] = list(operators)
        self._operators = operators
        table = np.zeros((len(operators), len(Fields._fields)), np.int64)
        widths = []
        for row, op in zip(table, operators, strict=True):
            if isinstance(op, PackedDense):
                fields = op.fields
                widths.append(op.rows * op.units * op.output.itemsize)
            else:
                fields = _elementwise_fields(op)
                widths.append(op.elements * op.output.itemsize)
            row[:] = [fields.get(name, 0) for name in Fields._fields]
        self._several = False
        first, last = operators[0], operators[-1]
        self._table = table
        if isinstance(first, PackedDense):
            in_bytes = first.rows * first.depth * first.input.itemsize
        else:
            each = first.output.itemsize if isinstance(first, Softmax) else 4 if isinstance(first, QuantizeStep) else 1
            in_bytes = first.elements * each
        self.output = last.output
        self._in_bytes = in_bytes
        self._elements = widths[-1] // self.output.itemsize
        self._function = function_address(chain)
        self._enter = enter()
        self._refuse = refuse
        converted = max((op.rows * op.fields["row_bytes"] for op in layers), default=max(widths))
        # Whole tiles; nothing is read again for each block where there are no weights.
        step, least = (ROWS_MULTIPLE, _LEAST_BLOCK) if layers else (1, 1)
        block = max(_BLOCK_BYTES // converted // step * step, least // step * step)
        most_rows = block * max((op.rows for op in layers), default=0) + MOST_ROWS
        sizes = (
            2 * block * max(widths) if len(operators) > 1 else 0,
            most_rows * max((op.fields["row_bytes"] for op in layers), default=0),
            8 * most_rows,
            8 * max(self._spare(op) for op in operators),
        )
        *places, self._scratch_bytes = np.cumsum([-(-size // 128) * 128 for size in sizes]).tolist()
        state = [address(table), len(operators), in_bytes, widths[-1], block, places[0] // 2, *places, step]
        self._state = np.asarray(state, np.int64)
        self._free: list[int] = []
        # Rows of so little work that letting other Python threads run, and sharing, would take longer.
        products = max(sum(op.rows * op.units * op.depth for op in layers), 1)
        self._few = min(2 * _LEAST_ROWS_PER_THREAD - 1, _LEAST_PRODUCTS // products)
        self._large = any(op.weights_bytes >= _LARGE_WEIGHTS for op in layers)
        self._parts: dict[int, list[list[Chain]]] = {}
        self._outputs = Outputs()
        self._add_tiles(one_row=True)

    @staticmethod
    def _spare(op: PackedDense | Elementwise) -> int:
        """Numbers of room that an operator needs: for one tile, or for one row of exponentials."""
        from .tile import MOST_ROWS

        if isinstance(op, PackedDense):
            return MOST_ROWS * op.isa.lanes * op.isa.vectors
        return op.classes if isinstance(op, Softmax) else 0

    def _add_tiles(self, one_row: bool) -> None:
        """Compile what calls of one row need, or what others do."""
        for row, op in zip(self._table, self._operators, strict=True):
            if isinstance(op, PackedDense):
                for name, place in op.tiles(one_row and op.rows == 1).items():
                    row[Fields._fields.index(name)] = place
        self._several |= not one_row

    def _prepare(self, rows: int) -> None:
        """What calls of several rows need is compiled when the first one comes."""
        if rows > 1 and not self._several:
            self._add_tiles(one_row=False)

    def __call__(self, x: Array, threads: int = 1) -> Array:
        """Run the chain.

        Args:
            x: `[rows, ...]`, C-contiguous, of the first operator's input type.
            threads: how many threads share the rows, or the units of a large layer.

        Returns:
            `[rows, elements of one row]`.

        Raises:
            InputError: on one of these rows the real kernel of an operator aborts the process.
        """
        rows = x.nbytes // self._in_bytes
        if threads > 1 and self._large and 0 < rows < 2 * _LEAST_ROWS_PER_THREAD:
            return self._by_units(x, rows, threads)
        self._prepare(rows)
        if rows > self._few:
            return self._many(x, rows, threads)
        out = np.empty((rows, self._elements), self.output)
        refused = self._run(x, rows, out)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _run(self, x: Array, rows: int, out: Array, *, shared: int = 0, others: int = 0) -> int:
        """One thread's part of a call: see `entry.enter`."""
        # Lists give and take in one step, so two threads never get the same memory.
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._memory()
        refused: int = self._enter(memory, x, rows, out, shared, others)
        self._free.append(memory)
        return refused

    def _by_units(self, x: Array, rows: int, threads: int) -> Array:
        """Few rows of large layers: threads share the units of each layer, one operator after the other."""
        if threads not in self._parts:
            self._parts[threads] = [[Chain([part]) for part in _parts(op, threads)] for op in self._operators]
        given = x
        for chains in self._parts[threads]:
            out = np.empty((rows, chains[0]._elements), chains[0].output)
            for chain in chains:
                chain._prepare(rows)
            works = [functools.partial(chain._run, given, rows, out, others=1) for chain in chains]
            if together(works) and self._refuse is not None:
                return self._refuse(x)
            given = out
        return given

    def _many(self, x: Array, rows: int, threads: int) -> Array:
        """So many rows that threads and the memory of the output matter."""
        out = self._outputs.empty((rows, self._elements), self.output)
        threads = max(min(threads, rows // _LEAST_ROWS_PER_THREAD), 1)
        shared = np.asarray([0, threads], np.int64)  # rows that are taken, and by how many threads
        shared_at = address(shared) if threads > 1 else 0
        part = functools.partial(self._run, x, rows, out, shared=shared_at, others=1)
        refused = together([part] * threads)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _memory(self) -> int:
        """The address of memory for one call: what is called, then scratch memory (see `entry.enter`)."""
        from .entry import HEADER_BYTES

        array = aligned(HEADER_BYTES + self._scratch_bytes)
        array[:16].view(np.int64)[:] = self._function, address(self._state)
        self._kept.append(array)
        return address(array)


def _parts(op: PackedDense | Elementwise, threads: int) -> Sequence[PackedDense | Elementwise]:
    """What threads do of an operator at once."""
    if isinstance(op, PackedDense) and op.weights_bytes >= _LARGE_WEIGHTS:
        count = min(threads, op.panels.count)
        return [op.part(index, count) for index in range(count)]
    return [op]


def _elementwise_fields(op: Elementwise) -> dict[str, int]:
    """The row of a chain's table for what is no dense layer."""
    from . import elements, softmax
    from .compile import function_address
    from .cpu import host_isa
    from .rows import dequantize_address

    fields = {"depth": op.elements, "output_bytes": op.output.itemsize}
    if isinstance(op, Softmax):
        return fields | {
            "function": function_address(softmax.FUNCTIONS[op.rule]),
            "table": address(op.table),
            "scalars": address(op.constants),
            "table_period": op.classes,
        }
    fields |= {"table_split": op.split, "table_period": op.period}
    if isinstance(op, QuantizeStep):
        return fields | _quantizer_fields(op)
    fields |= {"table": address(op.values), "unsigned": int(op.unsigned)}
    if op.scaling is not None:
        fast = dequantize_address(host_isa())
        return fields | {
            "function": function_address(elements.dequantize),
            "fast": fast,
            "scalars": address(op.scaling),
        }
    function = elements.look_up_floats if op.output.itemsize == 4 else elements.look_up
    return fields | {"function": function_address(function)}


def _quantizer_fields(op: QuantizeStep) -> dict[str, int]:
    from . import elements
    from .compile import function_address
    from .cpu import host_isa
    from .rows import LARGEST_INVERSE, quantize_address

    inverse, rule = float(op.constants.view(np.float32)[1]), int(op.constants[5])
    fast = quantize_address(host_isa(), divides=rule == elements.DIVIDE) if 0 < inverse <= LARGEST_INVERSE else 0
    return {
        "function": function_address(elements.quantize),
        "fast": fast,
        "rule": rule,
        "table": address(op.constants),
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
    from .forms import SUMS

    assert weights.form == SUMS
    return dense(rows, weights, threads)
