"""Threads that share the work of one call.

A helper waits in compiled code and never needs Python's global lock (see `mailbox`).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Sequence
from typing import NamedTuple

from ...model.types import Array
from .memory import address, aligned

__all__ = ["Share", "together"]


class Share(NamedTuple):
    """One thread's share of a call: what `entry.enter` takes."""

    memory: int
    x: Array
    rows: int
    out: Array
    shared: int = 0


class _Helper:
    """A thread that does shares. One caller at a time."""

    def __init__(self) -> None:
        from . import mailbox
        from .compile import python_function

        self._memory = aligned(mailbox.BYTES)
        self._box = mailbox.prepared(self._memory)
        self._post, self._finish, self._end = map(python_function, (mailbox.post, mailbox.finish, mailbox.end))
        self._serve = python_function(mailbox.serve)
        self._share: Share | None = None
        # A thread that nobody ends must not keep the process alive; `_end_all` ends it.
        self._thread = threading.Thread(target=self._live, name="lastbit", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        self._serve(self._box)

    def post(self, share: Share) -> None:
        """Begin a share."""
        self._share = share
        self._post(self._box, share.memory, address(share.x), share.rows, address(share.out), share.shared)

    def finish(self) -> int:
        """Wait for the end of the share; what the chain returned."""
        result = self._finish(self._box)
        self._share = None  # its arrays are free
        return result

    def end(self) -> None:
        """Let the thread end; it has nothing to do."""
        self._end(self._box)
        self._thread.join()


_FREE: list[_Helper] = []


@atexit.register
def _end_all() -> None:
    while _FREE:
        _FREE.pop().end()


if hasattr(os, "register_at_fork"):
    # A child of os.fork has none of its parent's threads: it makes its own when it needs them.
    os.register_at_fork(after_in_child=_FREE.clear)


def _helper() -> _Helper:
    # Lists give and take in one step, so two callers never get the same helper.
    try:
        return _FREE.pop()
    except IndexError:
        return _Helper()


def together(shares: Sequence[Share]) -> int:
    """Run each in a thread of its own, the first one in this; the largest of the results."""
    from .entry import enter

    first, *rest = shares
    helpers = [_helper() for _ in rest]
    for helper, share in zip(helpers, rest, strict=True):
        helper.post(share)
    results = []
    try:
        results.append(enter()(*first, 1))
    finally:
        results += [helper.finish() for helper in helpers]
        _FREE.extend(helpers)
    return max(results)
