"""Empty figures, and figures as files and as SVG inside a page."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.dom import minidom

from opq.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By the ending of the file: what matplotlib would write of the time, which would make every picture a different file.
_METADATA: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_DOTS_PER_INCH = 150


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches. Raises ImportError with the remedy where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'opq[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def check_picture(path: str) -> str:
    """The format that the ending of `path` names: "png", "svg" or "pdf".

    Raises ValueError for another ending and ImportError without matplotlib: to be called before any long computation.
    """
    suffix = Path(path).suffix.lower()
    if suffix[1:] not in _METADATA:
        raise ValueError(f"{path}: the ending {suffix!r} is unknown: expected .png, .svg or .pdf")
    new_figure(1.0, 1.0)
    return suffix[1:]


def save_figure(figure: Figure, path: str) -> None:
    """Write a picture in the format that the ending of `path` names; it appears whole or not at all."""
    write_atomically(path, _rendered(figure, check_picture(path)))


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element to stand in a page: no prolog, and every id begins with `name`, unique in the page."""
    document = minidom.parseString(_rendered(figure, "svg"))
    for element in document.getElementsByTagName("*"):
        for attribute, value in list(element.attributes.items()):
            if attribute == "id":
                element.setAttribute(attribute, f"{name}-{value}")
            elif "url(#" in value:
                element.setAttribute(attribute, value.replace("url(#", f"url(#{name}-"))
            elif attribute == "xlink:href":
                element.setAttribute(attribute, f"#{name}-{value.removeprefix('#')}")
    root = document.documentElement
    assert root is not None
    for metadata in document.getElementsByTagName("metadata"):
        root.removeChild(metadata)
    return root.toxml()


def _rendered(figure: Figure, kind: str) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    # Text stays text in an SVG, and its ids follow from the picture.
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "opq"}):
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # names in files may be of any script
        figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, metadata=_METADATA[kind])
    return buffer.getvalue()
