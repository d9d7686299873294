"""Pairs of products that are added in 16 bits, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ..base import NEIGHBOURS, Pairs

__all__ = ["PairsWords", "pairs_words"]


@dataclass(frozen=True)
class PairsWords:
    """What reports say of the pairs of a kernel.

    Attributes:
        pairs: the pairs.
        overflow: what sums do that do not fit.
        overflows: the same of one sum.
        overflowed: the same as an adjective.
        noun: the same as a noun.
    """

    pairs: Pairs
    overflow: str
    overflows: str
    overflowed: str
    noun: str

    @property
    def products(self) -> str:
        """Which products are added, without an article."""
        partner = self.pairs.partner
        return "neighbouring products" if partner == 1 else f"products {partner} places apart"

    @property
    def two(self) -> str:
        """The two products of one pair."""
        partner = self.pairs.partner
        return "the products of two neighbours" if partner == 1 else f"two products {partner} places apart"

    @property
    def instruction(self) -> str:
        """The CPU's instruction that does it, where it is known; else empty."""
        return "VPMADDUBSW" if self.pairs == NEIGHBOURS else ""

    @property
    def who_is_right(self) -> str:
        """Which kernels print the exact sum."""
        return "CPUs with VNNI" if self.pairs == NEIGHBOURS else "kernels that add in 32 bits"

    @property
    def what_always_fits(self) -> str:
        """Which values never leave 16 bits, as a sentence."""
        weights, inputs = (", ONNX Runtime's reduce_range", " (PyTorch's)") if self.pairs == NEIGHBOURS else ("", "")
        return f"Weights of 7 bits (-64 to 64{weights}) never {self.overflow}, nor do inputs of 7 bits{inputs}"

    @property
    def count_step(self) -> str:
        """The step of how many pairs do not fit; in JSON the key of what they are."""
        return f"{self.overflowed}_pairs"

    @property
    def lost_step(self) -> str:
        """The step, and in JSON the key, of what that changes of the accumulator."""
        return f"lost_to_{self.noun}"


def pairs_words(pairs: Pairs) -> PairsWords:
    """The words for these pairs.

    >>> words = pairs_words(Pairs(4, "wrap16"))
    >>> words.products, words.overflow, words.lost_step
    ('products 4 places apart', 'wrap', 'lost_to_wrapping')
    """
    match pairs.overflow:
        case "saturate16":
            return PairsWords(pairs, "saturate", "saturates", "saturated", "saturation")
        case "wrap16":
            return PairsWords(pairs, "wrap", "wraps", "wrapped", "wrapping")
        case never:
            assert_never(never)
