"""What a caller may spend: exactly one of a file size, a ratio, sparsity with bits, or bits alone."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass

from opq.errors import BudgetError

Size = int | float | str

_UNITS = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}


@dataclass(frozen=True)
class Budget:
    """What survives, and how finely it is coded.

    sparsity   a share of zeros, or
    macs       a share of the multiply-adds to keep; neither: what is not zero, or, with `bytes`, what joint allocation says
    bytes      of the file, or
    bits       of every layer's codebook, K = 2^(bits - 1) - 1 levels per sign, or
    mean_bits  of all layers' codebooks, on average over the survivors
    """

    bytes: float | None = None
    sparsity: float | None = None
    macs: float | None = None
    bits: int | None = None
    mean_bits: float | None = None

    @property
    def joint(self) -> bool:
        """Thresholds and steps are decided together."""
        return self.bytes is not None and self.sparsity is None and self.macs is None

    @property
    def kept(self) -> float | None:
        """The share that survives, of weights or of multiply-adds."""
        return 1.0 - self.sparsity if self.sparsity is not None else self.macs


def parse_size(size: Size) -> float:
    """Bytes from a number or a text such as "2MB" (10^6), "800 kB", "1.5MiB" (2^20). Raises BudgetError."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*(?:e[0-9]+)?|\.[0-9]+)\s*([a-z]*)\s*", size.lower())
        if match is None or match[2] not in _UNITS:
            raise BudgetError(f"size {size!r} is not a size: write bytes or a number with B, kB, MB, GB, KiB, MiB or GiB")
        value = float(match[1]) * _UNITS[match[2]]
    else:
        value = _number("size", size)
    if not 0.0 < value < 1e15:
        raise BudgetError(f"size {size!r} is out of range: expected more than 0 and less than 10^15 bytes")
    return value


def parse_budget(
    dense_bytes: int, *, sparsity: float | None = None, macs: float | None = None, bits: int | None = None,
    mean_bits: float | None = None, size: Size | None = None, ratio: float | None = None,
) -> Budget:  # fmt: skip
    """The budget that the arguments of `allocate` or `compress` describe. Raises BudgetError when they make none."""
    fineness = {"bits": bits, "mean_bits": mean_bits, "size": size, "ratio": ratio}
    survival = {"sparsity": sparsity, "macs": macs}
    given = [[name for name, value in group.items() if value is not None] for group in (survival, fineness)]
    if len(given[0]) > 1 or len(given[1]) != 1:
        got = " and ".join(given[0] + given[1]) or "none"
        raise BudgetError(
            "give one budget: ratio, size, bits or mean_bits; with sparsity or macs before it, these say what survives "
            f"(got {got})"
        )
    zeros = None if sparsity is None else _share("sparsity", sparsity)
    kept = None if macs is None else _share("macs", macs)
    if size is not None:
        return Budget(bytes=parse_size(size), sparsity=zeros, macs=kept)
    if ratio is not None:
        value = _number("ratio", ratio)
        if not 1.0 <= value <= 1e9:
            raise BudgetError(f"ratio {ratio!r} is out of range: expected 1 to 10^9 (dense float32 bytes over file bytes)")
        return Budget(bytes=dense_bytes / value, sparsity=zeros, macs=kept)
    if mean_bits is not None:
        value = _number("mean_bits", mean_bits)
        if not 2.0 <= value <= 8.0:
            raise BudgetError(f"mean_bits {mean_bits!r} is out of range: expected 2 to 8 (bits of a codebook, on average)")
        return Budget(mean_bits=value, sparsity=zeros, macs=kept)
    if _number("bits", bits) not in range(2, 9):
        raise BudgetError(f"bits {bits!r} is out of range: expected an integer from 2 to 8 (K = 2^(bits - 1) - 1 levels)")
    assert bits is not None
    return Budget(bits=int(bits), sparsity=zeros, macs=kept)


def _share(name: str, value: object) -> float:
    share = _number(name, value)
    if not 0.0 <= share <= 1.0:
        what = {"sparsity": "the share of zeros", "macs": "the share of multiply-adds to keep"}[name]
        raise BudgetError(f"{name} {value!r} is out of range: expected {what}, 0 to 1")
    return share


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise BudgetError(f"{name} is not a number but of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:  # Python's integers and fractions have no limit
        raise BudgetError(f"{name} is out of range: beyond 10^308") from None
    if math.isnan(number):
        raise BudgetError(f"{name} is not a number")
    return number
