"""The section REPT: what a file says of its compression beyond its tensors."""

from __future__ import annotations

import json
import sys
from typing import Any

from opq.errors import FormatError

_LAYER_NUMBERS = ("threshold", "predicted_bits", "predicted_error", "real_error")


def read_details(section: memoryview) -> dict[str, Any]:
    """The object in a REPT section: `CompressedModel.details`. Raises FormatError where there is none.

    A file is complete without its report. Entries that are known and of another type than they should be count as absent;
    unknown ones stay.
    """
    try:
        details = json.loads(bytes(section).decode("utf-8"))
    except (ValueError, RecursionError):
        raise FormatError("section 'REPT' is not JSON") from None
    if not isinstance(details, dict):
        raise FormatError("section 'REPT' is not a JSON object")
    checks = {"dense_bytes": _size, "budget": _budget, "layers": _layers}
    checked = {key: checks[key](value) if key in checks else value for key, value in details.items()}
    return {key: value for key, value in checked.items() if value is not None or key not in checks}


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and _is_number(value) and value >= 0 else None


def _budget(value: object) -> dict[str, float] | None:
    return {key: number for key, number in value.items() if _is_number(number)} if isinstance(value, dict) else None


def _layers(value: object) -> dict[str, dict[str, Any]] | None:
    if not isinstance(value, dict):
        return None
    return {
        name: {key: entry for key, entry in layer.items() if key not in _LAYER_NUMBERS or _is_number(entry)}
        for name, layer in value.items()
        if isinstance(layer, dict)
    }


def _is_number(value: object) -> bool:
    """JSON's integers have no limit, and Python's reader takes NaN and Infinity too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max
