"""Aligned tables, JSON and progress lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table with a header line: the first `left` columns are aligned left, the others right."""
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    texts = [
        "  ".join(cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    return "\n".join([texts[0].rstrip(), "-" * len(texts[0]), *(text.rstrip() for text in texts[1:])])


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def progress(line: str) -> None:
    """A line on standard error, which leaves standard output to the result."""
    print(f"opq: {printable(line)}", file=sys.stderr, flush=True)


def quiet(line: str) -> None:
    """Says nothing."""


def printable(text: str) -> str:
    """The text on one line: names in files may hold line breaks and control characters, which become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def number(value: float | None, digits: int = 3) -> str:
    """A number with this many significant digits and without an exponent where that is short; "-" for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.{digits}g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.1e}"


def shape(dims: Sequence[Any]) -> str:
    """E.g. 64x3x7x7."""
    return "x".join(str(d) for d in dims) or "scalar"
