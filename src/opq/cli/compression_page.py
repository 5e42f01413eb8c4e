"""The page that `opq compress --report` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from opq._core import __version__
from opq.atomic import write_atomically
from opq.compressed import CompressedModel
from opq.model import Model
from opq.pareto import file_point, pareto_front
from opq.plotting import draw_histogram, draw_layers, draw_pareto, inline_svg, layers_height, new_figure, report_page
from opq.plotting.histogram import layer_weights
from opq.quantization import QuantizedTensor
from opq.weights import as_weights

_WIDTH = 13.0  # inches


def check_page(path: str, others: list[str]) -> None:
    """Raises ValueError for a page that would replace another file of the command, ImportError where matplotlib is absent."""
    if any(Path(path).resolve() == Path(other).resolve() for other in others):
        raise ValueError(f"--report {path}: this is the source or the output")
    new_figure(1.0, 1.0)


def write_page(
    path: str, title: str, source: Model | Mapping[str, npt.NDArray[Any]], result: CompressedModel, settings: Mapping[str, str]
) -> None:
    """Write the page of a compression: the curve with its point, the bars, the layer with the largest error, the tables.

    source    what was compressed to `result`
    settings  what was asked for: names and values
    """
    report = result.report
    front = pareto_front(source, files=0)
    curve = new_figure(8.0, 5.0)
    draw_pareto(curve, replace(front, chosen=file_point(result, front.dense_bytes)), title)
    bars = new_figure(_WIDTH, layers_height(report))
    draw_layers(bars, report, title)
    worst = max(report["layers"], key=lambda layer: float(layer["real_error"]))
    weights = (source.tensors if isinstance(source, Model) else source)[worst["name"]]
    tensor = result.tensors[worst["name"]]
    assert isinstance(tensor, QuantizedTensor)
    histogram = new_figure(_WIDTH, 4.0)
    draw_histogram(histogram, layer_weights(worst["name"], as_weights(worst["name"], weights), tensor, worst["threshold"]))
    pictures = {
        "Size and error": inline_svg(curve, "curve"),
        "Layer by layer": inline_svg(bars, "layers"),
        "The layer with the largest error": inline_svg(histogram, "weights"),
    }
    write_atomically(path, report_page(title, report, {**settings, "opq": __version__}, pictures).encode())
