"""What a session holds activations in (docs/integers.md)."""

from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["float32", "int16", "int8"]
