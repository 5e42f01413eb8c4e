"""Timing engines in turns, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Run = Callable[[], object]

_REST = 0.2  # seconds
_WARM = 0.1
_WAIT = 1.0  # between two looks whether the machine is quiet


@dataclass(frozen=True)
class Timing:
    """Milliseconds. `init` is loading the network, `first` the first run, the others are over the timed runs."""

    engine: str
    init: float
    first: float
    minimum: float
    median: float
    p90: float
    p99: float
    runs: int
    peak_memory: int | None  # bytes of resident memory above what the process had before loading; None where unknown
    disturbed: int = 0  # runs that counted although the machine was not quiet


@dataclass
class Engine:
    """A named engine; `load` makes the function that runs it once."""

    name: str
    load: Callable[[], Run]


def measure(
    engines: list[Engine], warmup: int, runs: int, is_quiet: Callable[[], bool] | None = None, patience: float = 0.0
) -> list[Timing]:
    """Load each engine and run it once, then time them in turns, so that other load on the machine hits them alike.

    is_quiet  whether nothing else uses the cores. A turn of all engines counts if it was so before and after
    patience  seconds that may be lost with waiting and with turns that do not count; after that every turn does
    """
    loaded: list[tuple[Engine, Run, float, float, int | None]] = []
    for engine in engines:
        before = _reset_peak_memory()
        started = time.perf_counter()
        run = engine.load()
        init = time.perf_counter() - started
        started = time.perf_counter()
        run()
        first = time.perf_counter() - started
        after = _memory("VmHWM")
        loaded.append((engine, run, init, first, None if before is None or after is None else after - before))
    # An engine's threads may spin for a while after its last run and take a core from the next one: each turn is a block of
    # runs after a rest. A processor that has rested is slow at first, for a time that is the same for all: runs are not
    # counted until it has passed, however many these are.
    times: list[list[float]] = [[] for _ in engines]
    block = max(1, min(10, runs // 5))
    disturbed = 0
    while len(times[-1]) < runs:
        turn_at = time.perf_counter()
        while is_quiet is not None and not is_quiet() and time.perf_counter() < turn_at + patience:
            time.sleep(_WAIT)
        count = min(block, runs - len(times[-1]))
        turn = [_timed(run, warmup if not samples else 1, count) for (_, run, *_), samples in zip(loaded, times, strict=True)]
        if is_quiet is not None and not is_quiet():
            patience -= time.perf_counter() - turn_at
            if patience > 0:
                continue
            disturbed += count
        for samples, more in zip(times, turn, strict=True):
            samples.extend(more)
    return [
        _timing(engine.name, init, first, samples, memory, disturbed)
        for (engine, _, init, first, memory), samples in zip(loaded, times, strict=True)
    ]


def _timed(run: Run, warmup: int, count: int) -> list[float]:
    """Seconds of so many runs, after a rest and some that do not count."""
    time.sleep(_REST)
    warm_at = time.perf_counter() + _WARM
    uncounted = 0
    while uncounted < warmup or time.perf_counter() < warm_at:
        run()
        uncounted += 1
    samples = []
    for _ in range(count):
        started = time.perf_counter()
        run()
        samples.append(time.perf_counter() - started)
    return samples


def _timing(name: str, init: float, first: float, samples: list[float], memory: int | None, disturbed: int) -> Timing:
    ms = 1000.0 * np.array(samples)
    return Timing(
        name, 1000.0 * init, 1000.0 * first, float(ms.min()), float(np.median(ms)), float(np.percentile(ms, 90)),
        float(np.percentile(ms, 99)), len(samples), memory, disturbed,
    )  # fmt: skip


def _memory(key: str) -> int | None:
    """A field of /proc/self/status in bytes; None where the system has no such file."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def _reset_peak_memory() -> int | None:
    """Sets the peak to what is resident now, which it returns."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")
