"""Depthwise convolutions: channels along the vector, taps in groups, as many as a dot product instruction takes.

    row of outputs = chunks of as many values as one vector of inputs has, from pixel to pixel without a gap
    chunk          = sums over groups of taps: the inputs of a group are interleaved in registers, then multiplied

Interleaving works within 128 bits, and so does packing sums into bytes: one undoes the order of the other. Weights and
constants are laid out in the order between (`_order`). Where a row's channels do not fill whole chunks, the chunks of a
period have weights of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...model.types import Array, Int64Array, IntArray
from ...rules.requantize.fold import RequantParams
from ...rules.requantize.forms import TwoRoundings
from .memory import address, line_aligned
from .windows import Windows, moved

if TYPE_CHECKING:
    from .forms import Ending
    from .taps import TapShape
    from .vectors import Isa

__all__ = ["PackedDepthwise", "pack_depthwise"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedDepthwise:
    """A depthwise convolution laid out for this machine's kernels.

    Attributes:
        isa: the kernels.
        shape: what calculates its rows.
        windows: its windows.
        channels: output channels.
        input: the type of the images.
        output: the type of the outputs.
        fields: its row of a chain's table (see `fields.Fields`).
        kept: the arrays that the table points to.
    """

    isa: Isa
    shape: TapShape
    windows: Windows
    channels: int
    input: np.dtype[Any]
    output: np.dtype[Any]
    fields: dict[str, int] = field(repr=False)
    kept: tuple[Array, ...] = field(repr=False)


def pack_depthwise(
    weights: Int64Array,
    windows: Windows,
    *,
    bias: Int64Array,
    parts: Sequence[tuple[slice, RequantParams]],
    input_type: str,
    isa: Isa | None = None,
) -> PackedDepthwise | None:
    """Lay a depthwise convolution out for the kernels.

    Args:
        weights: int64 `[taps, channels]`, without their zero point.
        windows: from `Windows.by_channel`.
        bias: int64 `[channels]`, what the sums begin with: bias - zx * sum(w - zw).
        parts: how which channels are requantized.
        input_type: int8, uint8 or int16.
        isa: kernels of another kind than this machine's best.

    Returns:
        The layer; None where the kernels do not cover it.
    """
    from . import cpu, image_kernels
    from .compile import function_address
    from .pack import kernels_for
    from .slots import form_scalars
    from .taps import TapShape, taps_address

    given, params = np.dtype(input_type), parts[0][1]
    wide = params.rule.sums.bits == 64
    isa = kernels_for(isa or cpu.host_isa(), given, wide)
    finish = _finish(weights, bias, parts, given, wide=wide)
    # Without the bias 64-bit sums are summed in 32.
    largest = int(np.abs(weights).sum(axis=0).max()) * 2 ** (8 * given.itemsize - 1)
    if finish is None or (wide and largest >= 2**31):
        return None
    form, slots = finish
    output = np.dtype(params.dtype.numpy)
    shape = TapShape(form, output == np.uint8, output.itemsize, wide)
    start = bias - moved(isa, given) * weights.sum(axis=0)
    fields, kept = _laid_out(weights, windows, start, shape, slots, isa)
    scalars = form_scalars(params, params.rule.sums.bits)
    fields |= windows.copied(isa, given) | {
        "function": function_address(image_kernels.depthwise),
        "kernel": taps_address(isa, shape),
        "scalars": address(scalars),
        "output_bytes": output.itemsize,
    }
    return PackedDepthwise(
        isa=isa,
        shape=shape,
        windows=windows,
        channels=weights.shape[1],
        input=given,
        output=output,
        fields=fields,
        kept=(*kept, scalars),
    )


def _laid_out(
    weights: Int64Array, windows: Windows, start: Int64Array, shape: TapShape, slots: dict[str, Array], isa: Isa
) -> tuple[dict[str, int], tuple[Array, ...]]:
    """The taps, the weights and the constants of each chunk: fields, and the arrays that they point to.

    Args:
        weights: int64 `[taps, channels]`, without their zero point.
        windows: the windows.
        start: int64 `[channels]`, what the sums of the kernel's inputs begin with.
        shape: the kernel.
        slots: the form's constants `[channels]`.
        isa: the kind of CPU.
    """
    from .forms import code_of

    channels, size, chunk = weights.shape[1], 4 // isa.group, isa.lanes * isa.group
    taps, rows = _in_bytes(weights, windows.runs, isa)
    period = math.lcm(channels, chunk) // chunk
    order = (np.arange(period)[:, None] * chunk + _order(isa)) % channels
    packed = _panels(rows, order, isa)
    columns = _columns(code_of(shape.form, shape.wide)[0], {"bias": start, **slots}, order, isa)
    places = taps * size
    stride = int(windows.starts[windows.outputs[1]]) if windows.outputs[0] > 1 else 0
    fields = {
        "taps": address(places),
        "groups": len(places) // isa.group,
        "weights": address(packed),
        "columns": address(columns),
        "window_rows": windows.outputs[0],
        "window_values": windows.outputs[1] * channels,
        "window_bytes": stride * size,
        "chunk": chunk,
        "period": period,
    }
    return fields, (places, packed, columns)


def _finish(
    weights: Int64Array,
    bias: Int64Array,
    parts: Sequence[tuple[slice, RequantParams]],
    given: np.dtype[Any],
    *,
    wide: bool,
) -> tuple[Ending, dict[str, Array]] | None:
    """One form for all channels, and its constants `[channels]`; None where there is none."""
    from .cheaper import cheaper_forms, layer_thresholds
    from .pack import Epilogue

    layers = [layer_thresholds(params, weights[:, channels].T, bias[channels], given) for channels, params in parts]
    counts = [weights[:, channels].shape[1] for channels, _ in parts]
    cheaper = ([None if layer is None else fit(layer) for layer in layers] for fit in cheaper_forms())
    own = (Epilogue(params).ending(wide) for _, params in parts)
    endings: Iterable[tuple[Ending, dict[str, Array]] | None]
    for endings in (*cheaper, own):
        found = [ending for ending in endings if ending is not None]
        if len(found) < len(parts):
            continue
        for same in (found, [_general(*ending) for ending in found]):
            if len({form for form, _ in same}) == 1:
                return same[0][0], _joined([slots for _, slots in same], counts)
    return None


def _general(form: Ending, slots: dict[str, Array]) -> tuple[Ending, dict[str, Array]]:
    """A form that does the same and more, where there is one, with the constants for that."""
    from .linear import LINEAR, LINEAR_SIGNED, made_signed

    if form == LINEAR:
        return LINEAR_SIGNED, made_signed(slots)
    if isinstance(form, TwoRoundings) and form.tie == "half_up":
        # Ties go up where nothing is added to negative values.
        return replace(form, tie="half_away"), slots | {"shifts_mask": np.zeros_like(slots["shifts_mask"])}
    return form, slots


def _joined(parts: list[dict[str, Array]], counts: list[int]) -> dict[str, Array]:
    """Slots `[channels]` of all parts."""
    return {
        name: np.concatenate([np.broadcast_to(slots[name], n) for slots, n in zip(parts, counts, strict=True)])
        for name in parts[0]
    }


def _in_bytes(weights: Int64Array, runs: Int64Array, isa: Isa) -> tuple[Int64Array, IntArray]:
    """Taps in whole groups: where each lies, and its weights `[taps, channels]` in the type that products take.

    A tap with a weight that does not fit is there twice or three times, with parts of it.
    """
    low, high = (-(2**15), 2**15 - 1) if isa.activations == "int16" else (-128, 127)
    places, rows = [], []
    for place, rest in zip(runs, weights, strict=True):
        while True:
            part = np.clip(rest, low, high)
            places.append(place)
            rows.append(part)
            rest = rest - part
            if not rest.any():
                break
    missing = -len(rows) % isa.group
    places += [0] * missing
    rows += [np.zeros(weights.shape[1], np.int64)] * missing
    return np.asarray(places, np.int64), np.asarray(rows).astype(np.int16 if high > 127 else np.int8)


def _order(isa: Isa) -> Int64Array:
    """Which value of a chunk each lane of each vector of sums belongs to: `[vectors * lanes]`."""
    vector, lane = np.divmod(np.arange(isa.lanes * isa.group), isa.lanes)
    return np.asarray(lane // 4 * (4 * isa.group) + 4 * vector + lane % 4, np.int64)


def _panels(rows: IntArray, order: Int64Array, isa: Isa) -> Array:
    """Weights `[taps, channels]` -> for each chunk of a period, group by group, vectors of sums as lanes of taps."""
    panels = rows[:, order].reshape(-1, isa.group, len(order), isa.group * isa.lanes)
    return line_aligned(np.ascontiguousarray(panels.transpose(2, 0, 3, 1)))


def _columns(kinds: dict[str, str], values: dict[str, Array], order: Int64Array, isa: Isa) -> npt.NDArray[np.uint8]:
    """For each chunk of a period, for each of its vectors of sums, the slots behind each other."""
    parts = []
    for name, kind in kinds.items():
        vectors = np.asarray(values[name])[order].reshape(-1, isa.lanes)
        parts.append(vectors.astype(f"<{kind}").view(np.uint8))
    return line_aligned(np.concatenate(parts, axis=1))
