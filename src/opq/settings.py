"""What `opq.compress` is told beside the network; it says what each setting means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from opq.activation_ranges import Calibration
from opq.budget import Budget, Size, parse_budget
from opq.problem import Distribution
from opq.quantization import Rounding
from opq.rounding import DenseTensors, check_dense
from opq.weighting import Weighting


@dataclass(frozen=True, eq=False)
class Settings:
    """The settings, checked as far as they can be without the network. Raises ValueError for unknown words."""

    ratio: float | None = None
    size: Size | None = None
    sparsity: float | None = None
    macs: float | None = None
    bits: int | None = None
    mean_bits: float | None = None
    weighting: Weighting | Literal["sensitivity"] = "nsr"
    distribution: Distribution = "auto"
    layer_weight: Mapping[str, float] | None = None
    skip: tuple[str, ...] = ()
    channel_scale: Literal["auto", "rms", "none"] = "auto"
    dense: DenseTensors = "auto"
    rounding: Rounding | Literal["auto"] = "auto"
    repair: bool = True
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.rounding not in ("auto", *get_args(Rounding)):
            raise ValueError(f'rounding {self.rounding!r} is unknown: expected "auto", "nearest" or "rate"')
        if self.channel_scale not in ("auto", "rms", "none"):
            raise ValueError(f'channel_scale {self.channel_scale!r} is unknown: expected "auto", "rms" or "none"')
        check_dense(self.dense)

    def check_fixed(self) -> None:
        """Raises ValueError for a setting that has no effect where masks and codebooks are fixed: all but two."""
        changed = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        needless = next((name for name in changed if name not in ("dense", "calibration")), None)
        if needless is not None:
            raise ValueError(f"fixed has decided masks and codebooks: leave out {needless}")

    def budget(self, dense_bytes: int) -> Budget:
        """The budget for a network of this size. Raises BudgetError."""
        return parse_budget(
            dense_bytes, sparsity=self.sparsity, macs=self.macs, bits=self.bits, mean_bits=self.mean_bits,
            size=self.size, ratio=self.ratio,
        )  # fmt: skip

    def told_budget(self, budget: Budget) -> dict[str, float]:
        """What was asked for, as the report tells it."""
        given = {
            "sparsity": budget.sparsity,
            "macs": budget.macs,
            "bits": budget.bits,
            "mean_bits": budget.mean_bits,
            "ratio": None if self.ratio is None else float(self.ratio),
            "bytes": None if self.size is None else budget.bytes,
        }
        return {key: value for key, value in given.items() if value is not None}
