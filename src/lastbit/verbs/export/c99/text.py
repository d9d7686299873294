"""Numbers, arrays, names and comments as C99 that is C++11 too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from ....model.types import Array, DType, decimal_float, hex_float
from ....rules.base import Unsupported

__all__ = ["C_TYPES", "array", "comment", "decimal", "has_array", "identifier", "integer", "nest", "wrapped"]

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint32": "uint32_t",
    "float32": "float",
}
"""Element type -> its name in C."""

_LINE = 110

_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """alignas alignof and asm auto bitand bitor bool break case catch char class compl const constexpr continue
        decltype default delete do double else enum explicit export extern false float for friend goto if inline int
        long main mutable namespace new noexcept not nullptr operator or private protected public register restrict
        return short signed sizeof static struct switch template this throw true try typedef typeid typename union
        unsigned using virtual void volatile while xor""",
    )
)


def identifier(text: str) -> str:
    """A name of C for any text: lower case letters, digits and single underscores; it begins with a letter.

    >>> identifier("MobileNet v2 (0.35).x"), identifier("8-bit"), identifier("int"), identifier("*/ int x")
    ('mobilenet_v2_0_35_x', 'model_8_bit', 'model_int', 'model_int_x')
    """
    words = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    plain = bool(words) and words[0].isalpha() and words not in _KEYWORDS and text[:1].isalnum()
    return words if plain else f"model_{words}".rstrip("_")


def comment(text: str) -> str:
    """A text that can end no comment and no line, whatever a file calls its tensors: printable ASCII, shortened.

    >>> comment("a*/ int x; /" + "* ??/")
    'a* / int x; / * ? ?/'
    """
    plain = re.sub(r"[^\x20-\x7e]", "?", text)[:120]
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").rstrip("\\")


def integer(value: int, bits: int = 32) -> str:
    """An integer literal; the smallest integer of a type is no literal of C."""
    least = -(1 << (bits - 1))
    if bits <= 32:
        return f"(-{-least - 1} - 1)" if value == least and bits == 32 else str(value)
    return f"(-INT64_C({-least - 1}) - 1)" if value == least else f"INT64_C({value})"


def decimal(value: np.floating) -> str:
    """A float literal with digits enough to be the same number.

    Raises:
        Unsupported: infinities and NaN, of which C without its library has no literals.

    >>> decimal(np.float32(0.1)), decimal(np.float64(0.1)), decimal(np.float32(3))
    ('0.100000001f', '0.10000000000000001', '3.0f')
    """
    if not np.isfinite(value):
        raise Unsupported("c99", "constant", float(value))
    return decimal_float(value) + ("f" if value.dtype == np.float32 else "")


def wrapped(values: Iterable[str], indent: str = "    ") -> list[str]:
    """Values with a comma behind each, in lines of a readable length."""
    lines, current = [], indent
    for value in values:
        if len(current) + len(value) + 2 > _LINE and current != indent:
            lines.append(current.rstrip())
            current = indent
        current += f"{value}, "
    return [*lines, current.rstrip()]


def has_array(values: Array) -> bool:
    """Whether C can hold an array: of an element type that it has, without infinities and NaN."""
    return values.dtype.name in C_TYPES and (values.dtype.kind != "f" or bool(np.isfinite(values).all()))


def array(name: str, dtype: DType | np.dtype, values: Array) -> str:
    """A constant array; floats have hexadecimal ones beside them in a comment."""
    kind = np.dtype(dtype if isinstance(dtype, np.dtype) else dtype.numpy)
    flat = np.asarray(values).reshape(-1)
    head = f"static const {'double' if kind == np.float64 else C_TYPES[kind.name]} {name}[{max(flat.size, 1)}] = {{"
    if kind.kind == "f":
        listed: Sequence[str] = [f"{decimal(v)} /* {hex_float(v)} */" for v in flat.astype(kind)]
    else:
        listed = [integer(v, kind.itemsize * 8 if kind.kind == "i" else 8) for v in flat.tolist()]
        listed = [f"{v}u" for v in listed] if kind == np.uint32 else listed
    return "\n".join([head, *wrapped(listed or ["0"]), "};"])


def nest(extents: Sequence[tuple[str, int]], body: Sequence[str], indent: str = "  ") -> list[str]:
    """Loops, one in the other, around lines of C."""
    lines, margin = [], indent
    for variable, extent in extents:
        lines.append(f"{margin}for (int32_t {variable} = 0; {variable} < {extent}; {variable}++) {{")
        margin += "  "
    lines += [f"{margin}{line}" for line in body]
    for _ in extents:
        margin = margin[2:]
        lines.append(f"{margin}}}")
    return lines
