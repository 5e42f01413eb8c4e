"""Signs of a kernel's codes, each beside the sign of its nearest earlier neighbour that is not zero.

The smoother a k x k kernel, the more often both agree. A class of neighbours is the squared distance in the kernel: 1, 2, 4, 5,
8 for 3 x 3 (9 codes), and the distance 1 .. 4, 5 and more along a row of any other size; class 0 has no earlier neighbour.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from opq.reference.grouped.tables import Int

_CLASS_3X3 = {1: 1, 2: 2, 4: 3, 5: 4, 8: 5}


def neighbour_class(group: int, a: int, b: int) -> int:
    """The class of the places a != b of a kernel."""
    if group == 9:
        return _CLASS_3X3[(a // 3 - b // 3) ** 2 + (a % 3 - b % 3) ** 2]
    return min(abs(a - b), 5)


@cache
def references(group: int) -> tuple[Int, Int]:
    """(place of the reference, class) [2^group, group] by mask and place.

    Of several nearest places the first one counts. Without one, the place is `group`.
    """
    place = np.full((1 << group, group), group, dtype=np.int64)
    kind = np.zeros((1 << group, group), dtype=np.int64)
    for mask in range(1 << group):
        for t in range(group):
            earlier = [(neighbour_class(group, u, t), u) for u in range(t) if mask >> u & 1]
            if earlier:
                kind[mask, t], place[mask, t] = min(earlier)
    return place, kind


def differences(negative: Int, mask: Int) -> Int:
    """negative [kernels, group] (0 / 1, 0 at zeros) -> 1 where a sign differs from its reference's; 0 stands for plus."""
    group = negative.shape[1]
    padded = np.concatenate([negative, np.zeros((len(negative), 1), dtype=negative.dtype)], axis=1)
    reference: Int = np.take_along_axis(padded, references(group)[0][mask], axis=1)
    return negative ^ reference


def from_differences(different: Int, mask: Int) -> Int:
    """The inverse of `differences`; both are 0 at zeros."""
    group = different.shape[1]
    place = references(group)[0][mask]
    negative = np.zeros((len(different), group + 1), dtype=different.dtype)
    rows = np.arange(len(different))
    for t in range(group):
        negative[:, t] = np.where(mask >> t & 1, different[:, t] ^ negative[rows, place[:, t]], 0)
    return negative[:, :group]
