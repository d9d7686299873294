"""One implementation, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["NOT_IN_THE_CATALOGUE", "RIGHT", "Case"]

RIGHT: tuple[str, ...] = ()
"""Nothing is wrong: some runtime prints these numbers."""


@dataclass(frozen=True, eq=False)
class Case:
    """A user's function and its mistakes.

    Attributes:
        function: what the user wrote, or a maker of it (see `made`).
        layer: the layer or network that it is meant for, a key of `bench/user_layers.py`.
        expected: the names of the mistakes in it; `RIGHT` where there are none. A name that the catalogue did not have
            when this was written says in `why` what it means.
        source: the public thread that shows the code or the mistake.
        why: what is wrong, in one sentence.
        also: other sets of names that say the same of this code.
        made: whether `function` is given the file's numbers and gives the function of one parameter that is diagnosed.
        as_array: whether not the function but what it prints is diagnosed.
        real_input: whether it takes real numbers, which the model takes quantized.
        params: what the user adds after reading the message that a parameter is not known.
    """

    function: Callable[..., Any]
    layer: str
    expected: tuple[str, ...]
    source: str
    why: str = ""
    also: tuple[tuple[str, ...], ...] = ()
    made: bool = False
    as_array: bool = False
    real_input: bool = False
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File and function."""
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"


NOT_IN_THE_CATALOGUE = frozenset(
    {
        "clamp_to_minus_127",
        "clamp_to_minus_32767",
        "dilation_of_rows_only",
        "hybrid_bias_scaled",
        "hybrid_input_asymmetric",
        "input_as_uint8",
        "last_row_and_column_taken_for_padding",
        "multiplication_wraps_int32",
        "multiplied_by_output_scale",
        "multiplier_18_bits",
        "padding_valid",
    }
)
"""Names of the second and third sets that were made up for them."""
