"""One page that tells a compression: pictures, layers, totals, settings. It loads nothing and runs nothing."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from opq.plotting.style import label, size_label

_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1160px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { border-bottom-color: #767676; }
.name { text-align: left; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_COLUMNS = ("layer", "op", "shape", "zeros", "threshold", "step", "levels", "bytes", "bits/weight", "predicted", "error",
            "predicted", "scale and bias")  # fmt: skip


def report_page(title: str, report: Mapping[str, Any], settings: Mapping[str, str], pictures: Mapping[str, str]) -> str:
    """An HTML document.

    report    of `opq.report.build_report`
    settings  what was asked for: names and values
    pictures  heading -> `<svg>` element, as `inline_svg` gives it; all other text is escaped
    """
    parts = [f"<h1>{_text(title)}</h1>", _table(("", ""), _totals(report["totals"])), "<h2>Settings</h2>"]
    parts.append(_table(("", ""), list(settings.items())))
    for heading, picture in pictures.items():
        parts += [f"<h2>{_text(heading)}</h2>", f'<div class="wide">{picture}</div>']
    parts += ["<h2>Layers</h2>", _NOTE, _table(_COLUMNS, [_layer(layer) for layer in report["layers"]], left=3)]
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


_NOTE = (
    "<p>threshold and step are in units of the channel's scale; error = squared error over squared weights; what was predicted "
    "stands behind what was measured.</p>"
)


def _totals(totals: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("weights", f"{totals['weights']:,}"),
        ("quantized", f"{totals['quantized_weights']:,}, {100.0 * totals['sparsity']:.1f} % of these zero"),
        ("dense", f"{totals['dense_bytes']:,} bytes"),
        ("file", f"{totals['file_bytes']:,} bytes ({size_label(totals['file_bytes'])}), rate {_rate(totals['file_rate'])}"),
        ("in memory", f"{totals['packed_bytes']:,} bytes, packed rate {_rate(totals['packed_rate'])}"),
        ("paper rate", f"{_rate(totals['paper_rate'])}: 32 bits over bits of the survivors, without their places"),
    ]


def _layer(layer: Mapping[str, Any]) -> list[str]:
    return [
        layer["name"], layer["op"] or "-", "x".join(map(str, layer["shape"])), f"{layer['sparsity']:.3f}",
        *map(_number, (layer["threshold"], layer["step"])), str(layer["codebook"]), f"{layer['bytes']:,}",
        *map(_number, (layer["real_bits"], layer["predicted_bits"], layer["real_error"], layer["predicted_error"])),
        layer["repair"] or "-",
    ]  # fmt: skip


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """The first `left` columns are aligned left."""

    def line(tag: str, cells: Sequence[str]) -> str:
        marks = (' class="name"' if i < left else "" for i in range(len(cells)))
        return "<tr>" + "".join(f"<{tag}{mark}>{_text(cell)}</{tag}>" for cell, mark in zip(cells, marks)) + "</tr>"

    head = [line("th", header)] if any(header) else []
    return "\n".join(['<div class="wide"><table>', *head, *(line("td", row) for row in rows), "</table></div>"])


def _text(text: str) -> str:
    return html.escape(label(text, 200))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
