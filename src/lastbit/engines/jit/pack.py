"""A dense layer laid out for the micro-kernels: weights and constants of one tile's units lie together."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array, IntArray
from ...rules.base import Unsupported
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.forms import form_text
from .memory import address, line_aligned

if TYPE_CHECKING:
    from .vectors import Isa

__all__ = ["PackedDense", "Panels", "pack"]

_CONVERTED = ("int16", "uint8", "int8")


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
        units, depth = weights.shape
        padded = np.zeros((self.vectors, self.lanes, groups, isa.group), weights.dtype)
        padded.reshape(-1, groups * isa.group)[:units, :depth] = weights
        first = self.wide * self.width
        parts = []
        for part, width in ((padded[:first], self.width), (padded[first:], self.width - 1)):
            if len(part):
                panels = part.reshape(-1, width * self.lanes, groups, isa.group)
                parts.append(panels.transpose(0, 2, 1, 3).reshape(-1))
        return line_aligned(np.concatenate(parts))

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
        rows: rows of this layer for one row of a chain.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    isa: Isa
    form: str
    wide: bool
    narrow: bool
    panels: Panels
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

    @property
    def units(self) -> int:
        """Output units."""
        return self.panels.units

    def tiles(self, one_row: bool) -> dict[str, int]:
        """The micro-kernels for an input of one row, or for others a large and a small one, of each width: fields."""
        from .tile import FEW_ROWS, Shape, tile_address, tile_rows

        found = {}
        for name, width in self.panels.widths.items():
            rows = {"one": 1} if one_row else {"many": tile_rows(self.isa, width), "few": FEW_ROWS}
            weights = "int8" if one_row and self.fields["one_is_narrow"] else "packed"
            for size, count in rows.items():
                shape = Shape(
                    self.kernel,
                    count,
                    width,
                    weights,
                    output_bytes=self.output.itemsize,
                    unsigned=self.output == np.uint8,
                    narrow=self.narrow,
                )
                found[f"{name}_{size}"] = tile_address(self.isa, shape)
        return found


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
    cheapest: bool = False,
) -> PackedDense | None:
    """Lay a layer's weights and constants out for the kernels.

    Args:
        weights: int8 or uint8 `[out, depth]`.
        weights_zero_point: zw; subtracted from the weights.
        bias: int64 `[out]`, what the sums begin with: bias - zx * sum(w - zw). None for zeros.
        params: the requantization; None for the sums themselves.
        slots: its constants by slot, from `forms.form_slots`; None to make them from `params` (forms that
            add a real-valued bias need the scales and must give them).
        form: what finishes the sums, where that is no requantization: one of `hybrid_forms.HYBRID_FORMS`.
        acc_bits: 64 for 64-bit sums, fewer than 32 for narrow accumulators.
        input_type: int8, uint8 or int16.
        rows: rows of this layer for one row of a chain.
        isa: kernels of another kind than this machine's best.
        cheapest: whether a cheaper form may take the place of the rule's own where both are the same (`jit_linear`).

    Returns:
        The layer; None where the kernels do not cover it (see `jit_forms`).
    """
    from . import cpu, forms, kernels
    from .compile import function_address
    from .linear import fit_linear
    from .rows import convert_address
    from .tile import FEW_ROWS, UNROLL, tile_rows
    from .vectors import ISAS

    isa = isa or cpu.host_isa()
    wide = acc_bits == 64
    given = np.dtype(input_type)
    if (given.itemsize > 1 or wide) and isa.activations != "int16":
        # The byte kernels take bytes only; what CPUs with them can do as well is the widening product.
        isa = ISAS["avx2" if isa.x86 else "portable"]
    form = form or (forms.SUMS if params is None else form_text(params.rule.requantize))
    try:
        kinds, _ = forms.code_of(form, wide)
        if slots is None:
            slots = {} if params is None else forms.form_slots(params)
    except Unsupported:
        return None
    if slots is None or weights.dtype.itemsize > 1:
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
    if cheapest and params is not None and acc_bits == 32:
        ends = np.iinfo(given)
        reach = [whole_weights * int(end) for end in (ends.min, ends.max)]
        base = np.zeros(units, np.int64) if bias is None else np.asarray(bias, np.int64)
        fitted = fit_linear(params, base + np.minimum(*reach).sum(axis=1), base + np.maximum(*reach).sum(axis=1))
        if fitted is not None:
            form, slots = fitted
            kinds, _ = forms.code_of(form, wide)
    chunk = 1 << 40
    if wide:
        # So many steps that no int32 overflows.
        step = UNROLL * isa.group * max(int(np.abs(whole_weights).max(initial=0)), 1) * 2 ** (8 * given.itemsize - 1)
        chunk = (2**31 - 1) // step
    steps = max(-(-depth // (isa.group * UNROLL)), 1)
    panels = Panels.of(units, isa)
    byte_panels = functools.partial(panels.pack, isa, byte_weights.astype(np.int8), steps * UNROLL)
    if isa.activations == "int16":
        packed = panels.pack(isa, whole_weights.astype(np.int16), steps * UNROLL)
        narrow = packed if wide else byte_panels()
    else:
        packed = narrow = byte_panels()
    columns = panels.constants(isa, kinds, {"bias": start, **slots})
    output = np.dtype(np.int64 if wide else np.int32) if params is None else np.dtype(params.dtype.numpy)
    scalars = np.zeros(8, np.int32) if params is None else forms.form_scalars(params, acc_bits)
    fields = {
        "function": function_address(kernels.dense),
        "depth": depth,
        "row_bytes": steps * UNROLL * 4,
        "steps": steps,
        "chunk": chunk,
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
        "weights_zero_point": rest,
        "input_bytes": given.itemsize,
        "output_bytes": output.itemsize,
        "convert": convert_address(isa, given.name),
        "converted_to": _CONVERTED.index(isa.activations),
        "rows": rows,
        "few_rows": FEW_ROWS,
        "one_is_narrow": int(isa.activations == "int16" and not wide),
    }
    fields |= {f"{name}_rows": tile_rows(isa, width) for name, width in panels.widths.items()}
    return PackedDense(
        isa=isa,
        form=form,
        wide=wide,
        narrow=acc_bits < 32,
        panels=panels,
        depth=depth,
        input=given,
        output=output,
        rows=rows,
        fields=fields,
        kept=(packed, narrow, columns, scalars),
    )
