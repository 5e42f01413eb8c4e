"""The report of a compression as text."""

from __future__ import annotations

from typing import Any

from opq.cli.tables import format_table, number, printable, shape
from opq.repair import CORRECTED


def layer_table(report: dict[str, Any]) -> str:
    """One line per quantized tensor."""
    header = ["layer", "op", "shape", "sparsity", "threshold", "step", "codebook", "bits", "bytes", "bits/weight",
              "predicted bits", "error", "predicted error"]  # fmt: skip
    rows = [
        [
            layer["name"], layer["op"] or "-", shape(layer["shape"]), f"{layer['sparsity']:.3f}", number(layer["threshold"]),
            number(layer["step"]), str(layer["codebook"]), str(layer["bits"]), str(layer["bytes"]),
            number(layer["real_bits"]), number(layer["predicted_bits"]), number(layer["real_error"]),
            number(layer["predicted_error"]),
        ]
        for layer in report["layers"]
    ]  # fmt: skip
    return format_table(header, rows, left=3)


def totals_lines(report: dict[str, Any]) -> list[str]:
    """Sizes and the three rates, each with what it counts."""
    totals = report["totals"]
    budget = report["budget"] if isinstance(report["budget"], dict) else {}
    lines = [f"budget       {', '.join(f'{printable(key)} {value:g}' for key, value in budget.items())}"] if budget else []
    lines += [
        f"weights      {totals['weights']:,}, of which {totals['quantized_weights']:,} quantized, "
        f"{100 * totals['sparsity']:.1f} % of these zero",
        f"dense        {totals['dense_bytes']:,} bytes",
        f"file         {totals['file_bytes']:,} bytes   file rate   {_rate(totals['file_rate'])}  (everything on disk)",
        f"in memory    {totals['packed_bytes']:,} bytes   packed rate {_rate(totals['packed_rate'])}  (as the kernels hold it)",
        f"paper rate   {_rate(totals['paper_rate'])}  (32 bits over bits of the survivors: says nothing of where they are)",
    ]
    repairs = {layer["name"]: layer["repair"] for layer in report["layers"] if layer["repair"]}
    left = [f"{name}: {what}" for name, what in repairs.items() if what != CORRECTED]
    if repairs:
        lines.append(f"repaired     scales and biases of {len(repairs) - len(left)} of {len(report['layers'])} layers")
        lines += [printable(f"left alone   {line}") for line in left]
    return lines


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"
