"""Whether something else uses the cores.

In a virtual machine a core may be one of two threads of a real one, and the other thread somebody else's, or another core of
the same virtual machine. While that one works, dense loops of multiply-adds lose little, and loops that fill every cycle with
other instructions as well lose more: ratios between engines are then those of the moment. So networks.py looks at the speed of
such a loop, on all cores at once, before and after a few runs.

python benchmarks/quiet.py     what every core has of the best speed, for ten seconds
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

from opq import _core

_SHARE = 0.92  # of the best speed: between what a core has alone and beside another thread, which this file prints


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


class Quiet:
    """Calling it tells whether every one of some cores is as fast as the best of them has ever been."""

    def __init__(self, cores: list[int], best: float) -> None:
        """best: of the speeds that are known, products per second."""
        self._speeds, self._best = CoreSpeeds(cores), best

    def __call__(self) -> bool:
        """See above."""
        speeds = self._speeds()
        self._best = max(self._best, *speeds)
        return min(speeds) >= _SHARE * self._best


def best_speed(cores: list[int], seconds: float) -> float:
    """Products per second, the best that is seen in this time."""
    speeds = CoreSpeeds(cores)
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = max(best, *speeds())
        time.sleep(0.05)
    return best


def usable_cores() -> list[int]:
    """Those that this process may use; none where threads cannot be moved."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []


def main() -> None:
    """Print."""
    speeds_now = CoreSpeeds(usable_cores())
    looks = []
    for _ in range(20):
        looks.append(speeds_now())
        time.sleep(0.5)
    best = max(map(max, looks))
    for speeds in looks:
        print("  ".join(f"{100 * speed / best:3.0f} %" for speed in speeds))


if __name__ == "__main__":
    main()
