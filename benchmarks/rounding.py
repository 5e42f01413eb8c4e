"""The two roundings of `opq.compress` beside each other: error in files of one size, bytes of files of one error.

    python benchmarks/rounding.py [--networks resnet mbv2 minilm] [--ratios 8 12 20]

resnet is open-nsfw, as a network with its outputs over photographs; mbv2 (MobileNetV2) and minilm (all-MiniLM-L6-v2) are their
weights alone. The first call downloads them.

The error is the one that the allocation minimises, the sum over layers of squared error over squared weights. Every number is
read between three files of about that size, 3 % apart, along a parabola of log error over log bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import opq
from benchmarks.coding_tensors import NETWORKS
from benchmarks.real_networks import open_nsfw, open_nsfw_input, photographs
from opq.cli.tables import format_table, progress
from opq.quantization import Rounding

Inputs = list[dict[str, npt.NDArray[np.float32]]]
SIZES = (0.97, 1.0, 1.03)


@dataclass(frozen=True)
class Curve:
    """log error of files as a parabola of their log bytes, and what their outputs differ from the dense network's by."""

    coefficients: npt.NDArray[np.float64]
    output_change: float | None

    def error(self, size: float) -> float:
        """The error of a file of this size."""
        return float(np.exp(np.polyval(self.coefficients, np.log(size))))

    def bytes(self, error: float, near: float) -> float:
        """The size of a file of this error."""
        shifted = self.coefficients - np.array([0.0, 0.0, np.log(error)])
        roots = np.roots(shifted)
        return float(np.exp(roots[np.argmin(np.abs(roots - np.log(near)))].real))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet", "mbv2", "minilm"], choices=["resnet", "mbv2", "minilm"])
    parser.add_argument("--ratios", nargs="+", type=float, default=[8.0, 12.0, 20.0])
    args = parser.parse_args()
    rows = []
    for name in args.networks:
        source: opq.Model | Mapping[str, npt.ArrayLike]
        source, inputs = (opq.load_onnx(open_nsfw()), photograph_inputs()) if name == "resnet" else (NETWORKS[name](), [])
        dense = source.dense_bytes if isinstance(source, opq.Model) else 4 * sum(np.size(w) for w in source.values())
        expected = outputs(source, inputs) if isinstance(source, opq.Model) else []
        for ratio in args.ratios:
            progress(f"{name}, ratio {ratio:g}")
            target = dense / ratio
            nearest, rate = (curve(source, target, rounding, inputs, expected) for rounding in get_args(Rounding))
            error = nearest.error(target)
            changes = [f"{c.output_change:.4f}" if c.output_change is not None else "-" for c in (nearest, rate)]
            rows.append([
                name, f"{ratio:g}", f"{target:,.0f}", f"{error:.4g}", f"{rate.error(target):.4g}",
                percent(rate.error(target) / error), percent(rate.bytes(error, target) / target), *changes,
            ])  # fmt: skip
    header = ["network", "ratio", "bytes", "error, nearest", "rate", "error at equal bytes", "bytes at equal error",
              "output change, nearest", "rate"]  # fmt: skip
    print(format_table(header, rows))


def curve(
    source: opq.Model | Mapping[str, npt.ArrayLike], target: float, rounding: Rounding, inputs: Inputs,
    expected: list[npt.NDArray[np.float32]],
) -> Curve:  # fmt: skip
    """Files around `target` bytes."""
    points, changes = [], []
    for share in SIZES:
        result = opq.compress(source, size=share * target, rounding=rounding)
        points.append((np.log(result.file_bytes), np.log(sum(layer["real_error"] for layer in result.report["layers"]))))
        changes += [float(np.abs(a - b).mean()) for a, b in zip(outputs(result, inputs), expected, strict=True)]
    return Curve(np.polyfit(*zip(*points, strict=True), 2), float(np.mean(changes)) if changes else None)


def outputs(model: opq.Model | opq.CompressedModel, inputs: Inputs) -> list[npt.NDArray[np.float32]]:
    """The first output for every input."""
    session = opq.Session(model) if inputs else None
    return [session.run(None, feed)[0] for feed in inputs] if session is not None else []


def photograph_inputs() -> Inputs:
    """scikit-image's photographs and their mirror images, as open-nsfw wants them."""
    name = opq.load_onnx(open_nsfw()).graph.inputs[0].name
    images = list(photographs().values())
    return [{name: open_nsfw_input(image)} for photograph in images for image in (photograph, photograph[:, ::-1])]


def percent(ratio: float) -> str:
    return f"{100.0 * (ratio - 1.0):+.1f} %"


if __name__ == "__main__":
    main()
