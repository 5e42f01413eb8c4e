"""What the pictures share: colours, axes, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which the common kinds of colour blindness tell apart.
BLUE, SKY, GREEN, ORANGE, VERMILLION, PURPLE = "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7"
INK, GREY, PALE, STRIPE = "#222222", "#767676", "#e4e4e4", "#f4f4f4"

TITLE, TEXT, SMALL = 11.0, 9.0, 7.5  # points


def plain(axes: Axes) -> None:
    """Only the lines that a reader needs."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=TEXT, color=GREY, labelcolor=INK)
    axes.set_axisbelow(True)


def label(text: str, length: int) -> str:
    """A name from a file on one line of at most `length` characters: its middle gives way, control characters are escaped.

    Draw it with `parse_math=False`: a dollar sign would begin a formula.
    """
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    if len(line) <= length:
        return line
    end = (length - 1) // 2
    return f"{line[: length - 1 - end]}…{line[-end:]}"


def size_label(size: float) -> str:
    """Bytes with three digits, e.g. 1.96 MB; kB, MB, GB are powers of ten."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= 0.9995 * unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} B"
