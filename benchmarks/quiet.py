"""Whether something else uses the cores.

In a virtual machine a core may be one of two threads of a real one, and the other thread somebody else's. While that one works,
dense loops of multiply-adds lose little, and loops that fill every cycle with other instructions as well lose more: ratios
between engines are then those of the moment. So networks.py looks at the speed of such a loop before and after every turn.

python benchmarks/quiet.py     what every core has of the best speed, for ten seconds
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from opq import _core

_SHARE = 0.92  # of the best speed: between what a core has alone and beside another thread, which quiet.py prints


@dataclass
class Quiet:
    """Calling it tells whether every core that this process may use is as fast as the best of them has ever been.

    best  products per second
    """

    best: float = 0.0

    def __call__(self) -> bool:
        """Takes some milliseconds."""
        speeds = core_speeds()
        self.best = max(self.best, *speeds)
        return min(speeds) >= _SHARE * self.best

    def find_best(self, seconds: float) -> None:
        """Look for so long."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self()
            time.sleep(0.05)


def core_speeds() -> list[float]:
    """Products per second of the core's loop over bytes, core by core."""
    if not hasattr(os, "sched_setaffinity"):
        return [_core.peak_products("int8")]
    cores = os.sched_getaffinity(0)
    try:
        speeds = []
        for core in sorted(cores):
            os.sched_setaffinity(0, {core})
            speeds.append(_core.peak_products("int8"))
        return speeds
    finally:
        os.sched_setaffinity(0, cores)


def main() -> None:
    """Print."""
    looks = []
    for _ in range(20):
        looks.append(core_speeds())
        time.sleep(0.5)
    best = max(map(max, looks))
    for speeds in looks:
        print("  ".join(f"{100 * speed / best:3.0f} %" for speed in speeds))


if __name__ == "__main__":
    main()
