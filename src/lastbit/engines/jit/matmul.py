"""Dense products for anyone who has rows and weights: packed once, multiplied with the CPU's dot product instructions.

Convolutions that gather their patches as rows (im2col) call this too:

    weights = pack(w, input_type="int8")    # int8 or uint8 `[out, depth]`; once. Inputs: int8, uint8 or int16
    dot(rows, weights)                      # int8, uint8 or int16 `[n, depth]` -> int32 or int64 `[n, out]`

    layer = pack(w, epilogue=Epilogue(params), bias=folded)   # a RequantParams; what the sums begin with, int64 `[out]`
    dense(rows, layer)                                        # the same, requantized: int8, uint8 or int16 `[n, out]`

Sums wrap at 32 bits, or at 64 where the weights were packed for 64-bit sums. Needs Numba; `available()` says.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from ...model.types import Array, IntArray
from ..blas import Elementwise, QuantizeStep, Softmax
from .fields import Fields
from .memory import Outputs, address, aligned
from .pack import Epilogue, PackedDense, pack
from .room import Operator, Room, Wiring, arena, images
from .threads import Share, together

__all__ = ["Chain", "Epilogue", "PackedDense", "available", "dense", "dot", "pack"]

# Input rows that go through a chain together take about this much of the second level cache.
_BLOCK_BYTES = 160_000
# Images, with what lies between their operators, take about this much.
_IMAGE_BYTES = 100_000
# Fewer rows would read the weights of a deep layer from memory too often.
_LEAST_BLOCK = 96
_LEAST_ROWS_PER_THREAD = 24
# Threads share the units of a large layer instead of the rows, so that each weight is read by one thread only, where
# rows are few or all of the input stays in the second level cache.
_SHARED_INPUT_BYTES = 1 << 20
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
        wiring: what each operator reads (see `room.Wiring`); by default what the one before it gives.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        refuse: Callable[[Array], Array] | None = None,
        wiring: Wiring | None = None,
    ) -> None:
        from .compile import function_address
        from .entry import enter
        from .kernels import chain
        from .tile import MOST_ROWS

        self._kept: list[object] = list(operators)
        self._operators = operators
        wiring = wiring or [(k,) for k in range(len(operators))]
        rooms = [Room.of(op) for op in operators]
        self.output = operators[-1].output
        self._in_bytes = next(room.given[read.index(0)] for room, read in zip(rooms, wiring, strict=True) if 0 in read)
        self._elements = rooms[-1].made // self.output.itemsize
        block, step = _block(operators, rooms, wiring)
        places, between = arena(rooms, wiring, block)
        self._table = np.zeros((len(operators), len(Fields._fields)), np.int64)
        for number, (row, op) in enumerate(zip(self._table, operators, strict=True)):
            at = np.asarray([places[k - 1] if k else -1 for k in wiring[number]], np.int64)
            self._kept.append(at)
            made = places[number] if number < len(places) else -1
            own = {"given": int(at[0]), "reads": address(at), "made": made}
            fields = (_elementwise_fields(op) if isinstance(op, Elementwise) else op.fields) | own
            row[:] = [fields.get(name, 0) for name in Fields._fields]
        self._several = False
        self._function = function_address(chain)
        self._enter = enter()
        self._refuse = refuse
        sizes = (
            between,
            max(room.converted * block + room.copy for room in rooms),
            8 * (max(room.sums for room in rooms) * block + MOST_ROWS),
            8 * max(room.spare for room in rooms),
            16,
        )
        *starts, self._scratch_bytes = np.cumsum([-(-size // 128) * 128 for size in sizes]).tolist()
        state = [address(self._table), len(operators), self._in_bytes, rooms[-1].made, block, *starts, step]
        self._state = np.asarray(state, np.int64)
        self._free: list[int] = []
        # Rows of so little work that letting other Python threads run, and sharing, would take longer.
        products = max(sum(room.products for room in rooms), 1)
        self._least = min(_LEAST_ROWS_PER_THREAD, max(_LEAST_PRODUCTS // products, 1))
        self._few = min(2 * self._least - 1, _LEAST_PRODUCTS // products)
        large = any(isinstance(op, PackedDense) and op.large for op in operators)
        self._rows_for_units = max(2 * _LEAST_ROWS_PER_THREAD - 1, _SHARED_INPUT_BYTES // self._in_bytes)
        self._large = large and not images(rooms) and all(read == (k,) for k, read in enumerate(wiring))
        self._block = block
        self._layers: list[Chain] = []
        self._outputs = Outputs()
        self._add_tiles(one_row=True)

    def _add_tiles(self, one_row: bool) -> None:
        """Compile what calls of one row need, or what others do."""
        for row, op in zip(self._table, self._operators, strict=True):
            if isinstance(op, PackedDense):
                for name, place in op.tiles(one_row).items():
                    row[Fields._fields.index(name)] = place
        self._several |= not one_row
        self._at_once = self._few if self._several else min(self._few, 1)

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
        if rows > self._at_once or threads > 1:
            return self._shared(x, rows, threads)
        out = np.empty((rows, self._elements), self.output)
        # Small layers take no longer than another call of Python: this is `_run`.
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._memory()
        refused = self._enter(memory, x, rows, out, 0, 0)
        self._free.append(memory)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _shared(self, x: Array, rows: int, threads: int) -> Array:
        """A call of several rows or threads."""
        if threads > 1 and self._large and 0 < rows <= self._rows_for_units:
            return self._by_units(x, rows, threads)
        self._prepare(rows)
        if rows > self._few:
            return self._many(x, rows, threads)
        out = np.empty((rows, self._elements), self.output)
        refused = self._run(x, rows, out)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _run(self, x: Array, rows: int, out: Array, *, others: int = 0) -> int:
        """A call in this thread: see `entry.enter`."""
        memory = self._take()
        refused: int = self._enter(memory, x, rows, out, 0, others)
        self._free.append(memory)
        return refused

    def _take(self) -> int:
        """Memory for one thread."""
        # Lists give and take in one step, so two threads never get the same memory.
        try:
            return self._free.pop()
        except IndexError:
            return self._memory()

    def _by_units(self, x: Array, rows: int, threads: int) -> Array:
        """Few rows of large layers: threads share the panels of each layer, one operator after the other."""
        self._layers = self._layers or [Chain([op]) for op in self._operators]
        given = x
        for layer in self._layers:
            layer._prepare(rows)
            out = np.empty((rows, layer._elements), layer.output)
            if layer._large:
                refused = layer._together(given, rows, out, np.zeros(2 + -(-rows // layer._block), np.int64), threads)
            else:
                refused = layer._run(given, rows, out)
            if refused and self._refuse is not None:
                return self._refuse(x)
            given = out
        return given

    def _together(self, x: Array, rows: int, out: Array, shared: IntArray, threads: int) -> int:
        """Let several threads share a call by these numbers: see `kernels.chain`."""
        parts = [Share(self._take(), x, rows, out, address(shared)) for _ in range(threads)]
        refused = together(parts)
        self._free.extend(part.memory for part in parts)
        return refused

    def _many(self, x: Array, rows: int, threads: int) -> Array:
        """So many rows that threads and the memory of the output matter."""
        out = self._outputs.empty((rows, self._elements), self.output)
        threads = min(threads, rows // self._least)
        if threads < 2:
            refused = self._run(x, rows, out, others=1)
        else:
            refused = self._together(x, rows, out, np.asarray([0, threads], np.int64), threads)
        return self._refuse(x) if refused and self._refuse is not None else out

    def _memory(self) -> int:
        """The address of memory for one call: what is called, then scratch memory (see `entry.enter`)."""
        from .entry import HEADER_BYTES

        array = aligned(HEADER_BYTES + self._scratch_bytes)
        array[:16].view(np.int64)[:] = self._function, address(self._state)
        self._kept.append(array)
        return address(array)


def _block(operators: Sequence[Operator], rooms: Sequence[Room], wiring: Wiring) -> tuple[int, int]:
    """How many rows go through a chain together, and of what they are a multiple."""
    from .tile import ROWS_MULTIPLE

    if images(rooms):
        # Small images together, so that tiles are whole.
        least = max(arena(rooms, wiring, 1)[1], max(sum(room.given) + room.made for room in rooms))
        return max(_IMAGE_BYTES // least, 1), 1
    if not any(isinstance(op, PackedDense) for op in operators):
        # Nothing is read again for each block where there are no weights.
        return max(_BLOCK_BYTES // max(room.made for room in rooms), 1), 1
    # Whole tiles.
    converted = max(room.converted for room in rooms)
    block = _BLOCK_BYTES // converted // ROWS_MULTIPLE * ROWS_MULTIPLE
    return max(block, _LEAST_BLOCK // ROWS_MULTIPLE * ROWS_MULTIPLE), ROWS_MULTIPLE


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
