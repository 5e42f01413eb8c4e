"""How many threads to use when the caller does not say."""

from __future__ import annotations

import operator
import os

MAX_THREADS = 1024


def available_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def checked_threads(threads: int | None) -> int:
    """`threads` (an integer of any type), or the available cores for None; may exceed the cores.

    Raises ValueError for anything else, and outside 1 to 1024.
    """
    if threads is None:
        return min(available_cores(), MAX_THREADS)
    try:
        count = operator.index(threads)
    except TypeError:
        count = 0
    if isinstance(threads, bool) or not 1 <= count <= MAX_THREADS:
        raise ValueError(f"threads {threads!r} is out of range: expected an integer from 1 to {MAX_THREADS}")
    return count
