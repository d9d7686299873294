"""What runs a prepared model. `reference` is the definition; any other engine is compared with it, bit for bit.

- `reference` records every step of every operator. Everything that explains or compares steps needs it.
- `numpy` gives outputs only: dense layers through float BLAS where sums are exact, in blocks that stay in the cache.
- `jit` gives outputs only: compiled kernels that use the CPU's dot product instructions. Needs Numba (extra `fast`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from ..model.errors import InputError, OracleMissingError
from ..model.extras import install_text

__all__ = ["AUTO", "ENGINES", "choose_engine"]


def _always() -> bool:
    return True


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


ENGINES: dict[str, Callable[[], bool]] = {
    "reference": _always,
    "numpy": _always,
    "jit": _has_numba,
}
"""Engine -> whether it can run here."""

AUTO = "auto"
"""The fastest engine for a piece of work; see `choose_engine`."""

# Products and sums below which compiled code does not pay for being loaded.
_WORTH_COMPILING = 10**9


def choose_engine(name: str, work: float) -> str:
    """The engine for a name, with `auto` resolved.

    Args:
        name: a key of `ENGINES`, or `auto`: `jit` where Numba is installed and the work is worth loading it, else
            `numpy`. The outputs are the same.
        work: about how many products there are to add up.

    Raises:
        InputError: there is no engine of this name.
        OracleMissingError: what it needs is not installed.
    """
    if name == AUTO:
        return "jit" if work >= _WORTH_COMPILING and _has_numba() else "numpy"
    if name not in ENGINES:
        raise InputError(f"unknown engine {name!r}; wanted one of: {', '.join((*ENGINES, AUTO))}.")
    if not ENGINES[name]():
        raise OracleMissingError(
            f"the engine {name} needs Numba, which is not installed. Install it: {install_text('fast')}; or use "
            "the engine numpy, which gives the same outputs, slower."
        )
    return name
