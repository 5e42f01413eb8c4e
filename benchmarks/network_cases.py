"""The networks that networks.py measures: what is compressed, and the files that the engines load.

open-nsfw is a trained network and sees photographs; so does MobileNet-V1 where nobody prunes it. The other networks of the
paper have synthetic weights, good for speeds and sizes, and see noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

import opq
from benchmarks import onnxruntime_int8
from benchmarks.imagenet_networks import NETWORKS as TRAINED
from benchmarks.images import load_images
from benchmarks.networks_of_the_paper import NETWORKS as SYNTHETIC
from benchmarks.networks_of_the_paper import build
from opq.benchmark import export_dense
from opq.precision import Precision

Float32 = npt.NDArray[np.float32]

NAMES = ("resnet-50", "open-nsfw", "mobilenet-v1", "alexnet")
PRECISIONS: tuple[Precision, ...] = ("float32", "int16", "int8")

Budget = Mapping[str, Any]

_CALIBRATION = 8  # inputs for the ranges of activations, opq's and ONNX Runtime's
_NOISE = 16  # inputs that synthetic networks are judged on


@dataclass(frozen=True)
class Case:
    """A network as it is measured.

    zeros   of every layer but the first and the depthwise ones, by magnitude, before it is compressed; None: nobody prunes, and
            it has the zeros that the budget takes
    batch   images per run
    budget  of opq.compress
    """

    network: str
    zeros: float | None
    batch: int
    budget: Budget

    @property
    def is_trained(self) -> bool:
        """Whether the weights are real, and the inputs photographs. Pruned without training, one such network is enough."""
        return self.network in TRAINED and (self.zeros is None or self.network not in SYNTHETIC)


_FOUR_BITS = {"bits": 4}  # K = 7

# What --only names.
GROUPS: dict[str, tuple[float | None, int, Budget]] = {
    "zeros-90": (0.9, 1, _FOUR_BITS),
    "zeros-80": (0.8, 1, _FOUR_BITS),
    "mixed-4": (None, 1, {"sparsity": 0.3, "mean_bits": 4}),
    "ratio-8": (None, 1, {"ratio": 8.0}),
    "batch-16": (0.9, 16, _FOUR_BITS),
}


@dataclass(frozen=True)
class Files:
    """Paths of what engines load; the ONNX models `dense` and `sparse` have the shape of `inputs`.

    dense   the network as it was, in float32
    int8    that, quantized by ONNX Runtime, its batch free; not written where ONNX Runtime is not installed
    opq     compressed
    sparse  that as a plain ONNX model in float32: the same zeros and the same values
    inputs  the arrays of one run by name, .npz
    """

    dense: str
    int8: str
    opq: str
    sparse: str
    inputs: str


def files_in(folder: Path) -> Files:
    """Where they are."""
    return Files(*(str(folder / name) for name in ("dense.onnx", "int8.onnx", "net.opq", "sparse.onnx", "inputs.npz")))


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known of a case before anything is timed. judged: inputs that neither calibration has seen, and the outputs that
    they should have most of; None where that is not known."""

    sparsity: float
    dense_bytes: int
    file_bytes: int
    packed_bytes: dict[str, int]
    judged: Float32
    classes: npt.NDArray[np.int64] | None


def prepare(case: Case, files: Files, images: Path | None, count: int) -> Prepared:
    """Compress, and write the files."""
    dense, source = _models(case)
    name = dense.graph.input[0].name
    classes = None
    if case.is_trained:
        network, photographs = TRAINED[case.network], load_images(images, count)
        inputs_of_all = network.prepare(photographs.pixels)
        calibration, judged = inputs_of_all[::2][:_CALIBRATION], inputs_of_all[1::2]
        if photographs.labels is not None and network.first_class is not None:
            classes = photographs.labels[1::2] + network.first_class
    else:
        noise = np.random.default_rng(0).standard_normal((_CALIBRATION + _NOISE, 3, 224, 224), dtype=np.float32)
        calibration, judged = noise[:_CALIBRATION], noise[_CALIBRATION:]
    model = opq.load_onnx(source)
    result = opq.compress(model, **case.budget, calibration=[{name: image[None]} for image in calibration])
    result.save(files.opq)
    inputs = {name: np.resize(judged, (case.batch, *judged.shape[1:]))}
    np.savez(files.inputs, **inputs)
    onnx.save(dense, files.dense)
    try:
        Path(files.int8).write_bytes(onnxruntime_int8.quantized(Path(files.dense), name, calibration))
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
    for tensor in (*dense.graph.input, *dense.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_value = case.batch
    onnx.save(dense, files.dense)
    export_dense(files.opq, {name: x.shape for name, x in inputs.items()}, files.sparse)
    totals = result.report["totals"]
    packed = {precision: result.network_of(precision).packed_bytes for precision in PRECISIONS}
    return Prepared(totals["sparsity"], totals["dense_bytes"], totals["file_bytes"], packed, judged, classes)


def _models(case: Case) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The network as it was, and the one to compress."""
    if not case.is_trained:
        return build(case.network), build(case.network, sparsity=case.zeros or 0.0)
    dense, source = (onnx.load(TRAINED[case.network].path()) for _ in range(2))
    if case.zeros is not None:
        prune(source, case.zeros)
    return dense, source


def prune(model: onnx.ModelProto, sparsity: float) -> None:
    """Magnitude-prunes every Conv of `model` but the first one."""
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    names = {node.input[1] for node in convs[1:]}
    for initializer in model.graph.initializer:
        if initializer.name in names:
            w = numpy_helper.to_array(initializer).copy()
            w[np.abs(w) < np.quantile(np.abs(w), sparsity)] = 0
            initializer.CopyFrom(numpy_helper.from_array(w, initializer.name))
