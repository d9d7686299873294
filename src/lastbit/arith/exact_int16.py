"""The slow twin of the form in `requantize_int16.py`: one accumulator at a time, in Python integers and fractions."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .exact_steps import ExactStep, make_step, multiplier_steps, round_fraction

__all__ = ["q15_steps", "reduced_multiplier", "wrap"]


def wrap(value: int, bits: int) -> int:
    """What a signed register of so many bits holds: the low bits of a value.

    >>> wrap(2**31, 32), wrap(-(2**63) - 1, 64) == 2**63 - 1
    (-2147483648, True)
    """
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def reduced_multiplier(q: int) -> int:
    """A multiplier of 31 bits rounded to 15, half up, and saturated.

    >>> reduced_multiplier(2**30 + 2**15), reduced_multiplier(2**31 - 1)
    (16385, 32767)
    """
    return min(round_fraction(Fraction(q, 2**16), "half_up"), 2**15 - 1)


def q15_steps(acc: int, scale: Fraction) -> Iterator[ExactStep]:
    """The steps from a 64-bit accumulator to `acc_scaled`."""
    first, second = multiplier_steps(scale)
    yield from (first, second)
    q, shift = int(first.value), int(second.value)
    q15 = reduced_multiplier(q)
    exact_q15 = Fraction(q, 2**16)
    operation = "half_up" if round_fraction(exact_q15, "half_up") == q15 else "half_up, then at most 0x7fff"
    yield make_step(
        "multiplier_q15", "q15 = min(round_half_up(q / 2^16), 0x7fff)", f"{q} / 2^16", q15, exact_q15, operation
    )
    product = wrap(acc * q15, 64)
    yield make_step("product", "wrap64(acc * q15)", f"{acc} * {q15}", product, acc * q15, "wrap64")
    bits = 15 - shift
    # A shift by a count outside 0 to 63 takes the count's low six bits on x86-64.
    half, count = wrap(2 ** ((bits - 1) % 64), 64), bits % 64
    result = wrap(wrap(product + half, 64) >> count, 32)
    exact = Fraction(product) / Fraction(2) ** bits
    operation = "half_up"
    if bits < 1:
        operation = "half_up, with shift counts modulo 64"
    elif result != round_fraction(exact, "half_up"):
        operation = "half_up, then wrap64 and wrap32"
    numbers = f"{product} / 2^{bits}"
    yield make_step("acc_scaled", "(product + 2^(14-shift)) >> (15-shift)", numbers, result, exact, operation)
