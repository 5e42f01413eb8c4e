"""Timing engines in turns, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

Run = Callable[[], object]

_REST = 0.2  # seconds
_WARM = 0.1
_WAIT = 0.01  # between two looks whether the machine is quiet
_MOMENT = 0.05  # of runs between two such looks,
_MOMENT_RUNS = 3  # and how many they may be
_FEW = 3  # runs that are enough, once patience has ended


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
    disturbed: int = 0  # of `runs`: that counted although the machine was not quiet


@dataclass
class Engine:
    """A named engine; `load` makes the function that runs it once."""

    name: str
    load: Callable[[], Run]


def measure(
    engines: list[Engine], warmup: int, runs: int, is_quiet: Callable[[], bool] | None = None, patience: float = 0.0
) -> list[Timing]:
    """Load each engine and run it once, then time them in turns, so that other load on the machine hits them alike.

    is_quiet  whether nothing else uses the cores. Up to three runs of one engine, for a twentieth of a second, count if it was
              so before and after
    patience  seconds in which such moments are looked for. If some engine has fewer than three runs then, what is missing of
              `runs` is measured in turns and counts in any case
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
    times: list[list[float]] = [[] for _ in engines]
    all_runs = [run for _, run, *_ in loaded]
    if is_quiet is not None:
        _time_in_quiet_moments(all_runs, times, runs, is_quiet, patience)
    quiet = [len(samples) for samples in times]
    if is_quiet is None or min(quiet) < min(_FEW, runs):
        _time_in_turns(all_runs, times, warmup, runs)
    return [
        _timing(engine.name, init, first, samples, memory, 0 if is_quiet is None else len(samples) - undisturbed)
        for (engine, _, init, first, memory), samples, undisturbed in zip(loaded, times, quiet, strict=True)
    ]


def _time_in_quiet_moments(
    all_runs: list[Run], times: list[list[float]], runs: int, is_quiet: Callable[[], bool], patience: float
) -> None:
    """Adds to the times of each engine, up to so many. All are tried equally often.

    Not many runs at a time, and two looks before them: what was quiet for a while stays so more often than what just became so.
    """
    until = time.perf_counter() + patience
    was_quiet = False
    for run, samples in cycle(list(zip(all_runs, times, strict=True))):
        if min(map(len, times)) >= runs:
            return
        if len(samples) >= runs:
            continue
        while not was_quiet:
            if time.perf_counter() >= until:
                return
            was_quiet = is_quiet() and _is_quiet_soon(is_quiet)
            time.sleep(0.0 if was_quiet else _WAIT)
        moment = _timed_moment(run, min(_MOMENT_RUNS, runs - len(samples)))
        was_quiet = is_quiet() or _is_quiet_soon(is_quiet)  # the engine's threads may have spun
        if was_quiet:
            samples.extend(moment)


def _is_quiet_soon(is_quiet: Callable[[], bool]) -> bool:
    time.sleep(_WAIT)
    return is_quiet()


def _timed_moment(run: Run, most: int) -> list[float]:
    """Seconds of runs for a short time, one at least, after one that brings its weights to the caches."""
    run()
    until = time.perf_counter() + _MOMENT
    samples = [_seconds(run)]
    while len(samples) < most and time.perf_counter() < until:
        samples.append(_seconds(run))
    return samples


def _time_in_turns(all_runs: list[Run], times: list[list[float]], warmup: int, runs: int) -> None:
    """Adds to the times of each engine, up to so many.

    An engine's threads may spin for a while after its last run and take a core from the next one: each turn is a block of runs
    after a rest. A processor that has rested is slow at first, for a time that is the same for all: runs are not counted until
    it has passed, however many these are.
    """
    block = max(1, min(10, runs // 5))
    is_first = True
    while min(map(len, times)) < runs:
        for run, samples in zip(all_runs, times, strict=True):
            samples.extend(_timed(run, warmup if is_first else 1, min(block, runs - len(samples))))
        is_first = False


def _timed(run: Run, warmup: int, count: int) -> list[float]:
    """Seconds of so many runs, after a rest and some that do not count."""
    time.sleep(_REST)
    warm_at = time.perf_counter() + _WARM
    uncounted = 0
    while uncounted < warmup or time.perf_counter() < warm_at:
        run()
        uncounted += 1
    return [_seconds(run) for _ in range(count)]


def _seconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


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
