"""What compiled functions are told of the operators of a chain: rows of int64 numbers. Pointers are addresses."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AT", "AT_MOVE", "FIELD_BYTES", "IN", "MOVE_BYTES", "Fields", "Move", "State"]


class Fields(NamedTuple):
    """One operator of a chain. Distances are bytes.

    `function` is what runs it: (its fields, the state, scratch memory, input, rows of the chain, output) -> 0, or 1
    where only the reference says what is right.
    """

    function: int
    given: int  # where its input lies in the scratch memory; less than 0: it is the chain's
    reads: int  # the address of the same for each of its inputs
    made: int  # the same of its output
    depth: int  # of a dense layer; elements in one row of the chain for the others
    rows: int  # of this operator for one row of the chain
    row_bytes: int  # of a converted input row
    steps: int
    sum_steps: int  # steps after which 32-bit sums are widened
    units: int
    first_unit: int  # of its panels; not 0 for a group of channels that has others before it
    lanes: int
    width: int  # vectors of one of the first panels; the other panels have one vector less
    wide_panels: int  # how many have that width
    panels: int
    weights: int
    vector_bytes: int  # of one vector's weights
    narrow_weights: int
    narrow_vector_bytes: int
    columns: int
    column_bytes: int  # of one vector's constants
    mask: int  # lanes of the last vector that are units
    masks: int  # whether tiles store no more than those
    scalars: int  # of a dense layer; the constants of softmax
    weights_zero_point: int  # what is left of it for the row sums
    unsigned: int  # whether a table is read by uint8
    input_bytes: int  # of one element
    output_bytes: int
    tiles: int  # the address of what runs all tiles of a layer
    convert: int  # the address of what converts input rows (`jit_rows`)
    converted_to: int  # the type that products take: 0 int16, 1 uint8, 2 int8
    wide_rows: int  # rows of the large tile of each width
    slim_rows: int
    few_rows: int
    wide_many: int  # the addresses of the tiles
    wide_few: int
    wide_one: int
    slim_many: int
    slim_few: int
    slim_one: int
    one_is_narrow: int  # whether an input of one row reads the narrow weights
    table: int  # of outputs, of exponentials, or the constants of a quantizer
    fast: int  # the address of what takes most vectors of a quantizer or a dequantizer; 0 without
    rule: int  # of a quantizer
    table_split: int
    table_period: int  # classes of softmax
    quantizer: int  # how a hybrid layer quantizes its rows
    zeros_matter: int  # whether a hybrid layer calculates otherwise where the whole batch is zeros
    image_rows: int  # of an operator on images; those of the copy with padding are converted
    image_columns: int
    channels: int  # values of one pixel of the input
    times: int  # how often the copy has each of them
    top: int  # rows of padding above
    left: int  # columns of padding at the left
    copy_rows: int
    copy_bytes: int  # of one row of the copy
    planes: int  # parts of a row of the copy, one for each remainder of its columns
    padding: int  # the value of the padding, in the type that products take; of moves, each byte of it
    copy: int  # the addresses of what copies an image, of what fills a row, and of what repeats its values
    fill: int
    repeat: int
    pixels: int  # windows of an image; 0 for operators whose rows are rows
    starts: int  # the address of bytes from the begin of the copy to each window, int64
    taps: int  # the address of bytes from there to each group of the depth, int64
    runs: int  # runs of a window
    run_groups: int  # groups of one run
    run_values: int  # values of one run
    groups: int  # of a depthwise window
    kernel: int  # the address of what calculates a row of windows, or vectors of pairs; 0 without
    window_rows: int  # windows along the height
    window_columns: int  # windows along the width
    taps_high: int  # of a pool
    taps_wide: int
    stride_high: int
    stride_wide: int
    window_values: int  # values of one row of outputs
    window_bytes: int  # bytes of the copy from one row of windows to the next
    chunk: int  # outputs that are calculated together
    period: int  # chunks after which the channels begin anew
    moves: int  # the address of what is copied (`Move`)
    move_count: int
    layers: int  # the address of rows like this of a convolution's groups of channels; 0 for one group
    layer_count: int
    layer_bytes: int  # in a pixel of the copy, from one group to the next


class State(NamedTuple):
    """What a chain knows of itself.

    Places are bytes from the begin of the scratch memory, which has what lies between operators, a block's converted
    rows and one tile's more, their sums or records, and room for one tile. At `now` are two addresses: of the block's
    input, and of the count of its panels that threads have taken, or 0. Threads take a multiple of `step` rows at once.
    """

    operators: int  # the address of their fields
    length: int  # how many they are
    input_bytes: int
    output_bytes: int
    block: int
    converted: int
    sums: int
    spare: int
    now: int
    step: int


class Move(NamedTuple):
    """A block of an output, copied from an input: three loops over runs of neighbouring bytes. All are bytes."""

    input: int  # its number
    given: int  # where the first run lies in a row of the input
    made: int  # and in a row of the output
    given_bytes: int  # of a row of the input
    made_bytes: int  # of a row of the output
    outer: int  # how often each loop runs
    middle: int
    inner: int
    outer_given: int  # how far its runs are apart in the input
    middle_given: int
    inner_given: int
    outer_made: int  # and in the output
    middle_made: int
    inner_made: int
    run: int


AT = Fields(*range(len(Fields._fields)))
"""Where each stands in its row."""
IN = State(*range(len(State._fields)))
"""Where each stands in the state."""
FIELD_BYTES = 8 * len(Fields._fields)
AT_MOVE = Move(*range(len(Move._fields)))
"""Where each stands in its row."""
MOVE_BYTES = 8 * len(Move._fields)
