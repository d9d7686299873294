"""A dense layer laid out for the micro-kernels: weights and constants of one tile's units lie together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array, IntArray
from ...rules.base import Unsupported
from ...rules.requantize.fold import RequantParams
from .memory import address, aligned, line_aligned
from .windows import CONVERTED, Windows, moved

if TYPE_CHECKING:
    from .forms import Ending
    from .vectors import Isa

__all__ = ["Epilogue", "PackedDense", "Panels", "kernels_for", "pack"]

_LARGE_WEIGHTS = 4 << 20


@dataclass(frozen=True)
class Panels:
    """How the units of a layer are cut into tiles: so that their widths differ by one vector at most.

    Attributes:
        units: how many.
        lanes: units of one vector.
        width: vectors of the first panels; the others have one less.
        wide: how many are the first ones.
        count: all panels.
        vectors: all vectors.
    """

    units: int
    lanes: int
    width: int
    wide: int
    count: int
    vectors: int

    @classmethod
    def of(cls, units: int, isa: Isa) -> Panels:
        """As few panels as there can be.

        >>> from lastbit.engines.jit.vectors import ISAS
        >>> [Panels.of(units, ISAS["avx512vnni"]).parts for units in (12, 70, 144, 130)]
        [[1], [3, 2], [3, 3, 3], [3, 3, 3]]
        """
        vectors = -(-units // isa.lanes)
        count = -(-vectors // isa.vectors)
        width = -(-vectors // count)
        return cls(units, isa.lanes, width, vectors - count * (width - 1), count, vectors)

    @property
    def parts(self) -> list[int]:
        """The vectors of each panel."""
        return [self.width] * self.wide + [self.width - 1] * (self.count - self.wide)

    @property
    def widths(self) -> dict[str, int]:
        """The widths that there are: `wide`, and `slim` where some panels are narrower."""
        return {"wide": self.width} | ({"slim": self.width - 1} if self.wide < self.count else {})

    def pack(self, isa: Isa, weights: Array, groups: int) -> Array:
        """`[out, depth]` -> one panel after the other, each `[group of the depth, unit, value of the group]`.

        Filled up with zeros.
        """
        size = self.lanes * groups * isa.group
        out = aligned(self.vectors * size * weights.itemsize)[: self.vectors * size * weights.itemsize].view(
            weights.dtype
        )
        first = place = 0
        for width in self.parts:
            some = weights[first : first + width * self.lanes]
            padded = np.zeros((width * self.lanes, groups * isa.group), weights.dtype)
            padded[: len(some), : some.shape[1]] = some
            panel = padded.reshape(-1, groups, isa.group).transpose(1, 0, 2)
            out[place : place + width * size] = panel.reshape(-1)
            first, place = first + width * self.lanes, place + width * size
        return out

    def constants(self, isa: Isa, kinds: dict[str, str], values: dict[str, Array]) -> Array:
        """Each vector's constants, slot behind slot: bytes `[vectors, bytes]`."""
        parts = []
        for name, kind in kinds.items():
            padded = np.zeros(self.vectors * self.lanes, np.asarray(values[name]).dtype)
            padded[: self.units] = values[name]
            parts.append(padded.astype(f"<{kind}").reshape(self.vectors, self.lanes).view(np.uint8))
        return line_aligned(np.concatenate(parts, axis=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedDense:
    """A dense layer laid out for this machine's kernels.

    Attributes:
        isa: the kernels.
        form: what finishes the sums (see `forms.code_of`).
        wide: whether sums have 64 bits.
        narrow: whether they have fewer than 32.
        panels: how its units are cut.
        depth: accumulation depth.
        input: the type of the inputs.
        output: the type of the outputs.
        rows: rows of this layer for one row of a chain, or the windows of an image.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    isa: Isa
    form: Ending
    wide: bool
    narrow: bool
    panels: Panels
    depth: int
    input: np.dtype[Any]
    output: np.dtype[Any]
    rows: int | Windows
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)

    @property
    def units(self) -> int:
        """Output units."""
        return self.panels.units

    @property
    def weights_bytes(self) -> int:
        """What an input of one row reads."""
        return self.panels.vectors * self.fields["narrow_vector_bytes"]

    @property
    def large(self) -> bool:
        """Whether no core's second level cache holds its weights."""
        return self.weights_bytes >= _LARGE_WEIGHTS

    def tiles(self, one_row: bool) -> dict[str, int]:
        """The micro-kernels for an input of one row, or for others a large and a small one, of each width: fields."""
        from .tile import FEW_ROWS, Shape, tile_address, tile_rows

        found = {}
        windows = isinstance(self.rows, Windows)
        one_row = one_row and self.rows == 1
        for name, width in self.panels.widths.items():
            rows = {"one": 1} if one_row else {"many": tile_rows(self.isa, width), "few": FEW_ROWS}
            weights = "int8" if one_row and self.fields["one_is_narrow"] else "packed"
            for size, count in rows.items():
                shape = Shape(
                    self.form,
                    count,
                    width,
                    weights,
                    output_bytes=self.output.itemsize,
                    unsigned=self.output == np.uint8,
                    narrow=self.narrow,
                    wide=self.wide,
                    windows=windows,
                )
                found[f"{name}_{size}"] = tile_address(self.isa, shape)
        return found


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What becomes of the sums.

    Attributes:
        params: the requantization; None for the sums themselves, or for `form`.
        slots: its constants by slot, from `slots.form_slots`; None to make them from `params` (forms that add a
            real-valued bias need the scales and must give them).
        form: what finishes the sums, where that is no requantization.
        scalars: float32 that such a form takes, by their names in `unit.SCALARS`.
        cheapest: whether a cheaper form may take the place of the rule's own where both are the same (`cheaper`).
    """

    params: RequantParams | None = None
    slots: dict[str, Array] | None = None
    form: Ending | None = None
    scalars: Mapping[str, np.float32] = field(default_factory=dict)
    cheapest: bool = False

    def ending(self, wide: bool) -> tuple[Ending, dict[str, Array]] | None:
        """What finishes the sums, and its constants by slot; None where the kernels do not have it."""
        from . import forms
        from .slots import form_slots

        form = self.form or (forms.SUMS if self.params is None else self.params.rule.requantize)
        try:
            forms.code_of(form, wide)
            slots = self.slots
            if slots is None:
                slots = {} if self.params is None else form_slots(self.params)
        except Unsupported:
            return None
        return None if slots is None else (form, slots)


@dataclass(frozen=True, eq=False)
class _Weights:
    """Weights as the kernels take them, and what that adds to the sums.

    Attributes:
        signed: int8 `[out, depth]`; what that subtracts from them goes to the sum of each row.
        whole: int16 `[out, depth]`: w - zw.
        rest: what is subtracted from signed weights beyond the zero point, for each input.
        start: int64 `[out]`: what the sums begin with.
    """

    signed: npt.NDArray[np.int8]
    whole: npt.NDArray[np.int16]
    rest: int
    start: npt.NDArray[np.int64]

    @classmethod
    def of(cls, weights: IntArray, zero_point: int, bias: npt.NDArray[np.int64], moved: int) -> _Weights:
        """Of stored weights; `moved`: what the kernel's inputs are more than the layer's."""
        up = 128 if weights.dtype == np.uint8 else 0
        whole = weights.astype(np.int16)
        whole -= np.int16(zero_point)
        start = bias - moved * whole.sum(axis=1, dtype=np.int64) if moved else bias
        return cls((weights ^ up).view(np.int8) if up else weights.astype(np.int8), whole, up - zero_point, start)

    def spread(self, windows: Windows, group: int) -> _Weights:
        """With the runs of windows filled up."""
        return replace(self, signed=windows.spread(self.signed, group), whole=windows.spread(self.whole, group))

    def chunk(self, isa: Isa, given: np.dtype[Any]) -> int:
        """After so many steps no int32 has overflowed yet."""
        from .tile import UNROLL

        largest = max(-int(self.whole.min(initial=0)), int(self.whole.max(initial=0)), 1)
        step = UNROLL * isa.group * largest * 2 ** (8 * given.itemsize - 1)
        return int((2**31 - 1) // step)


def pack(
    weights: IntArray,
    *,
    weights_zero_point: int = 0,
    bias: npt.NDArray[np.int64] | None = None,
    epilogue: Epilogue = Epilogue(),
    acc_bits: int = 32,
    input_type: str = "int8",
    rows: int | Windows = 1,
    isa: Isa | None = None,
) -> PackedDense | None:
    """Lay a layer's weights and constants out for the kernels.

    Args:
        weights: int8 or uint8 `[out, depth]`; of windows, run by run.
        weights_zero_point: zw; subtracted from the weights.
        bias: int64 `[out]`, what the sums begin with: bias - zx * sum(w - zw). None for zeros.
        epilogue: what becomes of the sums; by default nothing.
        acc_bits: 64 for 64-bit sums, fewer than 32 for narrow accumulators.
        input_type: int8, uint8 or int16.
        rows: rows of this layer for one row of a chain, or the windows of an image that are its rows.
        isa: kernels of another kind than this machine's best.

    Returns:
        The layer; None where the kernels do not cover it (see `forms`).
    """
    from . import cpu

    given, wide, params = np.dtype(input_type), acc_bits == 64, epilogue.params
    ending, isa = epilogue.ending(wide), kernels_for(isa or cpu.host_isa(), given, wide)
    if ending is None or weights.dtype.itemsize > 1:
        return None
    base = np.zeros(len(weights), np.int64) if bias is None else np.asarray(bias, np.int64)
    held = _Weights.of(weights, weights_zero_point, base, moved(isa, given))
    if epilogue.cheapest and params is not None and acc_bits == 32:
        from .cheaper import cheaper_forms, layer_thresholds

        layer = layer_thresholds(params, held.whole, base, given)
        found = (fit(layer) for fit in cheaper_forms() if layer is not None)
        ending = next((form for form in found if form is not None), ending)
    output = np.dtype(np.int64 if wide else np.int32) if params is None else np.dtype(params.dtype.numpy)
    panels = Panels.of(len(weights), isa)
    depth = weights.shape[1]
    if isinstance(rows, Windows):
        held = held.spread(rows, isa.group)
    fields, kept = _laid_out(isa, panels, held, ending, epilogue, acc_bits, given)
    if isinstance(rows, Windows):
        own, places = rows.placed(isa, fields["steps"], given)
        fields, kept = fields | own, (*kept, *places)
    else:
        fields["rows"] = rows
    return PackedDense(
        isa=isa,
        form=ending[0],
        wide=wide,
        narrow=acc_bits < 32,
        panels=panels,
        depth=depth,
        input=given,
        output=output,
        rows=rows,
        fields=fields | {"depth": depth, "output_bytes": output.itemsize},
        kept=kept,
    )


def kernels_for(isa: Isa, given: np.dtype[Any], wide: bool) -> Isa:
    """The byte kernels take bytes only; what CPUs with them can do as well is the widening product."""
    from .vectors import ISAS

    if (given.itemsize > 1 or wide) and isa.activations != "int16":
        return ISAS["avx2" if isa.x86 else "portable"]
    return isa


def _laid_out(
    isa: Isa,
    panels: Panels,
    held: _Weights,
    ending: tuple[Ending, dict[str, Array]],
    epilogue: Epilogue,
    acc_bits: int,
    given: np.dtype[Any],
) -> tuple[dict[str, int], tuple[Array, ...]]:
    """A layer's row of a chain's table, except for its output and rows, and the arrays that it points to."""
    from . import forms, kernels
    from .compile import function_address
    from .rows import convert_address
    from .slots import form_scalars
    from .tile import FEW_ROWS, UNROLL, tile_rows
    from .unit import SCALARS

    wide, (units, depth) = acc_bits == 64, held.whole.shape
    steps = max(-(-depth // (isa.group * UNROLL)), 1)
    narrow = panels.pack(isa, held.signed, steps * UNROLL)
    packed = narrow
    if isa.activations == "int16":
        packed = panels.pack(isa, held.whole, steps * UNROLL)
        narrow = packed if wide else narrow
    kinds, _ = forms.code_of(ending[0], wide)
    columns = panels.constants(isa, kinds, {"bias": held.start, **ending[1]})
    scalars = np.zeros(len(SCALARS), np.int32) if epilogue.params is None else form_scalars(epilogue.params, acc_bits)
    for name, value in epilogue.scalars.items():
        scalars[SCALARS.index(name)] = value.view(np.int32)
    fields = {
        "function": function_address(kernels.dense),
        "tiles": function_address(kernels.tiles),
        "row_bytes": steps * UNROLL * 4,
        "steps": steps,
        "sum_steps": held.chunk(isa, given) if wide else 1 << 40,
        "units": units,
        "lanes": isa.lanes,
        "width": panels.width,
        "wide_panels": panels.wide,
        "panels": panels.count,
        "weights": address(packed),
        "vector_bytes": packed.nbytes // panels.vectors,
        "narrow_weights": address(narrow),
        "narrow_vector_bytes": narrow.nbytes // panels.vectors,
        "columns": address(columns),
        "column_bytes": columns.nbytes // panels.vectors,
        "mask": (1 << (units - 1) % isa.lanes + 1) - 1,
        "masks": int(isa.masks),
        "scalars": address(scalars),
        "weights_zero_point": held.rest,
        "input_bytes": given.itemsize,
        "convert": convert_address(isa, given.name),
        "converted_to": CONVERTED.index(isa.activations),
        "few_rows": FEW_ROWS,
        "one_is_narrow": int(isa.activations == "int16" and not wide),
    }
    fields |= {f"{name}_rows": tile_rows(isa, width) for name, width in panels.widths.items()}
    return fields, (packed, narrow, columns, scalars)
