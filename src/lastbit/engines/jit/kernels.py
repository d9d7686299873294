"""Numba functions around the micro-kernels: whole layers, tile by tile, and whole chains of operators."""

from __future__ import annotations

from .compile import call, inner, int64_at, uint8_at
from .fields import AT, FIELD_BYTES, IN
from .hybrid_forms import RECORD_BYTES
from .hybrid_kernels import NAN, ZEROS, quantize_rows
from .image_kernels import add_windows
from .mailbox import exchange
from .sums import add_rows
from .tile import call_tile

__all__ = ["chain", "convolve", "dense", "hybrid", "tiles"]


@inner
def _take_rows(shared: int, rows: int, block: int, step: int) -> tuple[int, int]:
    """The next rows for one of several threads, the first and how many: fewer towards the end, to end together."""
    begin, threads = int64_at(shared)[0], int64_at(shared)[1]
    while True:
        left = rows - begin
        count = min(max(left // (2 * threads) // step, 2) * step, block, left)
        if left <= 0:
            return begin, 0
        found = exchange(shared, begin, begin + count)
        if found == begin:
            return begin, count
        begin = found


@inner
def _take_panel(shared: int, panel: int, panels: int) -> int:
    """The panel after this one, or the next one that none of several threads has taken."""
    if not shared:
        return panel + 1
    taken = int64_at(shared)[0]
    while taken < panels:
        found = exchange(shared, taken, taken + 1)
        if found == taken:
            break
        taken = found
    return int(taken)


@inner
def _copy_tile(source: int, source_stride: int, out: int, out_stride: int, rows: int, size: int) -> None:
    for r in range(rows):
        given, taken = uint8_at(source + r * source_stride), uint8_at(out + r * out_stride)
        for i in range(size):
            taken[i] = given[i]


def tiles(fields: int, converted: int, sums: int, sum_bytes: int, spare: int, n: int, out: int, shared: int) -> int:
    """All tiles of a layer, or of the panels that this thread takes: `n` converted rows -> outputs `[n, units]`."""
    p = int64_at(fields)
    element, lanes, stride = p[AT.output_bytes], p[AT.lanes], p[AT.units] * p[AT.output_bytes]
    row_bytes, steps, sum_steps, scalars = p[AT.row_bytes], p[AT.steps], p[AT.sum_steps], p[AT.scalars]
    windows, taps, few_rows, masks = p[AT.pixels] != 0, p[AT.taps], p[AT.few_rows], p[AT.masks] != 0
    # Rows lie one behind the other, or windows at places of a table.
    row_step, apart, apart_step = (0, p[AT.starts], 8) if windows else (row_bytes, row_bytes, 0)
    one = n == 1 and not windows
    narrow = one and p[AT.one_is_narrow] != 0
    weights = p[AT.narrow_weights] if narrow else p[AT.weights]
    vector_bytes = p[AT.narrow_vector_bytes] if narrow else p[AT.vector_bytes]
    panel = _take_panel(shared, -1, p[AT.panels])
    while panel < p[AT.panels]:
        wide = panel < p[AT.wide_panels]
        before = panel * p[AT.width] - max(panel - p[AT.wide_panels], 0)  # vectors
        panel_weights, constants = weights + before * vector_bytes, p[AT.columns] + before * p[AT.column_bytes]
        first = p[AT.first_unit] + before * lanes
        place = out + first * element
        width = p[AT.width] if wide else p[AT.width] - 1
        many = p[AT.wide_rows] if wide else p[AT.slim_rows]
        tile_bytes = width * lanes * element
        some = min(p[AT.units] - first, width * lanes)
        last = panel == p[AT.panels] - 1
        mask = p[AT.mask] if last else -1
        # Where a part of a vector cannot be stored, and where a tile has more rows than there are, it is calculated
        # beside the output, and cut.
        whole = masks or some == width * lanes
        large, small = (p[AT.wide_many], p[AT.wide_few]) if wide else (p[AT.slim_many], p[AT.slim_few])
        row = 0
        while row < n:
            left = n - row
            if one:
                tile, taken = p[AT.wide_one] if wide else p[AT.slim_one], 1
            elif left > max(few_rows, many - few_rows):
                tile, taken = large, many
            else:
                tile, taken = small, few_rows
            a, place_of_row = converted + row * row_step, apart + row * apart_step
            given = (a, place_of_row, taps, panel_weights, steps, sum_steps, constants, scalars, sums + sum_bytes * row)
            target = place + row * stride
            if whole and taken <= left:
                call_tile(tile, (*given, target, stride, mask))
            else:
                taken = min(taken, left)
                call_tile(tile, (*given, spare, tile_bytes, mask))
                _copy_tile(spare, tile_bytes, target, stride, taken, some * element)
            row += taken
        panel = _take_panel(shared, panel, p[AT.panels])
    return 0


def dense(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """A dense layer, one of a chain's operators: see `fields.Fields`."""
    p, places = int64_at(fields), int64_at(state)
    converted, sums, spare = scratch + places[IN.converted], scratch + places[IN.sums], scratch + places[IN.spare]
    n, depth, row_bytes, to = rows * p[AT.rows], p[AT.depth], p[AT.row_bytes], p[AT.converted_to]
    if row_bytes == depth * (2 if to == 0 else 1):
        call(p[AT.convert], (x, 0, 1, n * depth, converted, 0))
    else:
        call(p[AT.convert], (x, depth * p[AT.input_bytes], n, depth, converted, row_bytes))
    if to != 0 or n == 1:
        add_rows(converted, n, depth, row_bytes, to, p[AT.weights_zero_point], sums)
    call(p[AT.tiles], (fields, converted, sums, 4, spare, n, out, int64_at(scratch + places[IN.now])[1]))
    return 0


def convolve(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """A convolution of images, one of a chain's operators: its windows are the rows of a dense layer for each group."""
    p, places = int64_at(fields), int64_at(state)
    copy, sums, spare = scratch + places[IN.converted], scratch + places[IN.sums], scratch + places[IN.spare]
    image_bytes = p[AT.image_rows] * p[AT.image_columns] * p[AT.channels] * p[AT.input_bytes]
    made_bytes = p[AT.pixels] * p[AT.units] * p[AT.output_bytes]
    layers = p[AT.layers] if p[AT.layers] else fields
    for image in range(rows):
        call(p[AT.copy], (fields, x + image * image_bytes, copy))
        for number in range(max(p[AT.layer_count], 1)):
            layer, here = layers + number * FIELD_BYTES, copy + number * p[AT.layer_bytes]
            if p[AT.converted_to] != 0:
                add_windows(int64_at(layer), here, sums)
            call(p[AT.tiles], (layer, here, sums, 4, spare, p[AT.pixels], out + image * made_bytes, 0))
    return 0


def hybrid(fields: int, state: int, scratch: int, x: int, rows: int, out: int) -> int:
    """A hybrid dense layer, one of a chain's operators. 1 at a NaN, and where only zeros need the reference."""
    p, places = int64_at(fields), int64_at(state)
    converted, sums, spare = scratch + places[IN.converted], scratch + places[IN.sums], scratch + places[IN.spare]
    n, to = rows * p[AT.rows], p[AT.converted_to]
    outcome = quantize_rows(x, n, p[AT.depth], p[AT.quantizer], to, converted, p[AT.row_bytes], sums)
    if outcome == NAN or (outcome == ZEROS and p[AT.zeros_matter] != 0):
        return 1
    shared = int64_at(scratch + places[IN.now])[1]
    call(p[AT.tiles], (fields, converted, sums, RECORD_BYTES, spare, n, out, shared))
    return 0


def chain(state: int, scratch: int, x: int, rows: int, out: int, shared: int) -> int:
    """Run a chain of operators over rows, block by block.

    Args:
        state: the address of the chain's state (`fields.State`).
        scratch: the address of scratch memory.
        x: the address of the input.
        rows: how many.
        out: the address of the output.
        shared: 0, or the address of what threads that call this at once share, int64 each: rows that are taken, and
            how many threads; or, where they share the panels of a single dense layer, 0, 0, and for each block of rows
            the panels that are taken.

    Returns:
        0, or 1 where only the reference says what is right: at a row on which the real kernel of an operator aborts
        the process, and at a NaN, or only zeros, before a hybrid layer that takes them otherwise. The outputs
        are not complete then.
    """
    s = int64_at(state)
    block, count, now = s[IN.block], s[IN.length], int64_at(scratch + s[IN.now])
    threads = int64_at(shared)[1] if shared else 0
    start, taken, panels = -block, block, shared + 8 if shared and not threads else 0
    while True:
        if threads:
            start, taken = _take_rows(shared, rows, block, s[IN.step])
        else:
            start += block
            taken = min(block, rows - start)
            panels += 8 if panels else 0
        if taken <= 0:
            return 0
        here = x + start * s[IN.input_bytes]
        now[0], now[1] = here, panels
        there = out + start * s[IN.output_bytes]
        for index in range(count):
            fields = s[IN.operators] + index * FIELD_BYTES
            p = int64_at(fields)
            given = scratch + p[AT.given] if p[AT.given] >= 0 else here
            made = scratch + p[AT.made] if p[AT.made] >= 0 else there
            if call(p[AT.function], (fields, state, scratch, given, taken, made)):
                return 1
