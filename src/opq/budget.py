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
    """Either `bytes` (joint allocation), or `bits` with or without `sparsity` (stage-wise)."""

    bytes: float | None = None
    sparsity: float | None = None
    bits: int | None = None

    @property
    def levels(self) -> int:
        """K = 2^(bits - 1) - 1 codewords per sign."""
        assert self.bits is not None
        return int(2 ** (self.bits - 1) - 1)


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
    dense_bytes: int, *, sparsity: float | None, bits: int | None, size: Size | None, ratio: float | None
) -> Budget:
    """The budget that the arguments of `allocate` or `compress` describe. Raises BudgetError when they make none."""
    given = [
        name for name, value in (("sparsity", sparsity), ("bits", bits), ("size", size), ("ratio", ratio)) if value is not None
    ]
    if set(given) not in ({"size"}, {"ratio"}, {"sparsity", "bits"}, {"bits"}):
        got = " and ".join(given) or "none"
        raise BudgetError(f"give one budget: ratio, or size, or sparsity with bits, or bits alone (got {got})")
    if size is not None:
        return Budget(bytes=parse_size(size))
    if ratio is not None:
        value = _number("ratio", ratio)
        if not 1.0 <= value <= 1e9:
            raise BudgetError(f"ratio {ratio!r} is out of range: expected 1 to 10^9 (dense float32 bytes over file bytes)")
        return Budget(bytes=dense_bytes / value)
    if sparsity is not None:
        sparsity = _number("sparsity", sparsity)
        if not 0.0 <= sparsity <= 1.0:
            raise BudgetError(f"sparsity {sparsity!r} is out of range: expected the share of zeros, 0 to 1")
    if _number("bits", bits) not in range(2, 9):
        raise BudgetError(f"bits {bits!r} is out of range: expected an integer from 2 to 8 (K = 2^(bits - 1) - 1 levels)")
    assert bits is not None
    return Budget(sparsity=sparsity, bits=int(bits))


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
