"""Whether something else uses the cores.

In a virtual machine a core may be one of two threads of a real one, and the other thread somebody else's, or another core of
the same virtual machine. While that one works, dense loops of multiply-adds lose little, and loops that fill every cycle with
other instructions as well lose more: ratios between engines are then those of the moment. And two cores may be moved apart, to
where they share no cache. So networks.py looks at the speed of such a loop, on all cores at once, and at the way of a cache
line from one core to the other, before and after a few runs.

python benchmarks/quiet.py     what every core has of the best speed, how far two are apart, for ten seconds
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opq import _core

_SHARE = 0.92  # of the best speed: between what a core has alone and beside another thread, which this file prints
_AWAY = 2.0  # times the shortest round trip: between cores that share a cache, some 85 ns, and others, some 350 ns


class CoreSpeeds:
    """Calling it gives products per second of the core's loop over bytes, core by core, at once. It takes some milliseconds."""

    def __init__(self, cores: list[int]) -> None:
        """cores: numbers. None where threads cannot be moved: then it is whichever core runs this."""
        pinned = [ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {core})) for core in cores]
        self._threads = pinned or [ThreadPoolExecutor(1)]

    def __call__(self) -> list[float]:
        """See above."""
        running = [thread.submit(_core.peak_products, "int8") for thread in self._threads]
        return [speed.result() for speed in running]


@dataclass(frozen=True)
class Best:
    """The most that was seen of the cores."""

    products: float  # per second, on each
    round_trip: float  # seconds for a cache line to the other of two cores and back; infinite where that is unknown

    def with_look(self, speeds: list[float], round_trip: float | None) -> Best:
        """Where a look saw more."""
        return Best(max(self.products, *speeds), min(self.round_trip, round_trip or math.inf))


class Look:
    """Calling it looks at some cores once."""

    def __init__(self, cores: list[int]) -> None:
        """cores: as for CoreSpeeds."""
        self._speeds, self._are_two = CoreSpeeds(cores), len(cores) == 2

    def __call__(self) -> tuple[list[float], float | None]:
        """Products per second, core by core; the round trip as in Best, None where there are not two cores."""
        return self._speeds(), (_core.round_trip_seconds() or math.inf) if self._are_two else None


class Quiet:
    """Calling it tells whether all cores are as fast as the best of them ever was, and two as near each other."""

    def __init__(self, cores: list[int], best: Best) -> None:
        """best: what is known."""
        self._look, self._best = Look(cores), best

    def __call__(self) -> bool:
        """See above."""
        speeds, round_trip = self._look()
        self._best = self._best.with_look(speeds, round_trip)
        are_near = round_trip is None or round_trip <= _AWAY * self._best.round_trip
        return are_near and min(speeds) >= _SHARE * self._best.products


def best_look(cores: list[int], seconds: float) -> Best:
    """What is seen in this time."""
    look = Look(cores)
    best = Best(0.0, math.inf)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = best.with_look(*look())
        time.sleep(0.05)
    return best


def usable_cores() -> list[int]:
    """Those that this process may use; none where threads cannot be moved."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


def main() -> None:
    """Print."""
    look = Look(usable_cores())
    looks = []
    for _ in range(20):
        looks.append(look())
        time.sleep(0.5)
    best = max(max(speeds) for speeds, _ in looks)
    for speeds, round_trip in looks:
        apart = "" if round_trip is None else f"  {1e9 * round_trip:3.0f} ns apart"
        print("  ".join(f"{100 * speed / best:3.0f} %" for speed in speeds) + apart)


if __name__ == "__main__":
    main()
