"""The report of a compression: a row per layer, totals, and the three rates, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from opq.quantization import QuantizedTensor

if TYPE_CHECKING:
    from opq.compressed import CompressedModel
    from opq.reference.tensor_section import TensorEntry


def build_report(
    model: CompressedModel, entries: Mapping[str, TensorEntry], file_bytes: int, packed_bytes: int
) -> dict[str, Any]:
    """{"layers": [...], "totals": {...}, "budget": {...}} of a compressed model.

    Each layer: name, op, shape, weights, sparsity, threshold, step, levels (K), codebook (2K + 1 values), bits (of a
    fixed-length code of the survivors), bytes (in the file, channel scales included), codec, predicted_bits and real_bits
    (per weight), predicted_error and real_error (squared error over squared weights), repair ("corrected", or why scale and
    bias were left alone). Predictions, errors and repair are None where the file does not have them.

    totals: weights, quantized_weights, survivors, sparsity, dense_bytes, file_bytes, packed_bytes, and the rates
      paper_rate   32 * weights / sum(bits * survivors): the literature's number, says nothing of where the survivors are
      packed_rate  dense bytes over bytes in memory at run time
      file_rate    dense bytes over bytes on disk, everything included
    """
    details = model.details.get("layers")
    known = details if isinstance(details, dict) else {}
    users = {} if model.graph is None else {n.inputs[1]: n.op for n in model.graph.nodes if n.op in ("Conv", "Linear")}
    layers = [
        _layer(name, tensor, users.get(name, ""), entries[name], known.get(name))
        for name in {**users, **model.tensors}  # in the order of the graph
        if isinstance(tensor := model.tensors[name], QuantizedTensor)
    ]
    dense = sum(int(t.size) for t in model.tensors.values() if not isinstance(t, QuantizedTensor) and t.dtype == np.float32)
    quantized = sum(layer["weights"] for layer in layers)
    survivors = sum(round(layer["weights"] * (1.0 - layer["sparsity"])) for layer in layers)
    dense_bytes = model.details.get("dense_bytes")
    if not isinstance(dense_bytes, int):
        dense_bytes = 4 * (quantized + dense)
    coded_bits = sum(layer["bits"] * layer["weights"] * (1.0 - layer["sparsity"]) for layer in layers)
    return {
        "layers": layers,
        "totals": {
            "weights": quantized + dense,
            "quantized_weights": quantized,
            "survivors": survivors,
            "sparsity": 1.0 - survivors / quantized if quantized else 0.0,
            "dense_bytes": dense_bytes,
            "file_bytes": file_bytes,
            "packed_bytes": packed_bytes,
            "paper_rate": 32.0 * quantized / coded_bits if coded_bits else None,
            "packed_rate": dense_bytes / packed_bytes if packed_bytes else None,
            "file_rate": dense_bytes / file_bytes,
        },
        "budget": model.details.get("budget"),
    }


def _layer(name: str, tensor: QuantizedTensor, op: str, entry: TensorEntry, details: object) -> dict[str, Any]:
    known = details if isinstance(details, dict) else {}
    return {
        "name": name,
        "op": op,
        "shape": list(tensor.shape),
        "weights": tensor.size,
        "sparsity": tensor.sparsity,
        "threshold": known.get("threshold"),
        "step": tensor.step,
        "levels": tensor.levels,
        "codebook": 2 * tensor.levels + 1,
        "bits": math.ceil(math.log2(2 * tensor.levels)),
        "bytes": entry.bytes,
        "codec": entry.codec,
        "predicted_bits": known.get("predicted_bits"),
        "real_bits": 8.0 * entry.bytes / tensor.size,
        "predicted_error": known.get("predicted_error"),
        "real_error": known.get("real_error"),
        "repair": known.get("repair"),
    }
