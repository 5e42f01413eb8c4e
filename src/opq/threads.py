"""How many threads to use when the caller does not say."""

from __future__ import annotations

import os

MAX_THREADS = 1024


def available_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def checked_threads(threads: int | None) -> int:
    """`threads`, or the available cores for None. May exceed the cores. Raises ValueError outside 1 to 1024."""
    if threads is None:
        return available_cores()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads {threads!r} is out of range: expected an integer from 1 to {MAX_THREADS}")
    return threads
