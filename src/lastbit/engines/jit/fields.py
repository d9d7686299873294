"""What compiled functions are told of the operators of a chain: rows of int64 numbers. Pointers are addresses."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AT", "FIELD_BYTES", "IN", "Fields", "State"]


class Fields(NamedTuple):
    """One operator of a chain. Distances are bytes.

    `function` is what runs it: (its fields, the state, scratch memory, input, rows of the chain, output) -> 0, or 1
    where only the reference says what is right.
    """

    function: int
    depth: int  # of a dense layer; elements in one row of the chain for the others
    rows: int  # of this operator for one row of the chain
    row_bytes: int  # of a converted input row
    steps: int
    chunk: int
    units: int
    first_unit: int  # of the panels; not 0 where another thread has those before
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


class State(NamedTuple):
    """What a chain knows of itself.

    Places are bytes from the begin of the scratch memory, which has two buffers of `between` bytes, a block's converted
    rows and one tile's more, their sums or records, and room for one tile. Threads take a multiple of `step` rows at a
    time.
    """

    operators: int  # the address of their fields
    length: int  # how many they are
    input_bytes: int
    output_bytes: int
    block: int
    between: int
    converted: int
    sums: int
    spare: int
    step: int


AT = Fields(*range(len(Fields._fields)))
"""Where each stands in its row."""
IN = State(*range(len(State._fields)))
"""Where each stands in the state."""
FIELD_BYTES = 8 * len(Fields._fields)
