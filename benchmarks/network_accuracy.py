"""What integers do to the outputs of a network: each against the same network in float32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import opq
from benchmarks import onnxruntime_int8
from benchmarks.network_cases import Case, Files, Float32
from benchmarks.network_engines import INT8
from opq.threads import available_cores

Float64 = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class Difference:
    """Of the outputs y for some inputs from the outputs z in float32; p and q are the probabilities of the classes.

    error       sqrt(sum (y - z)^2 / sum z^2)
    divergence  mean of sum q log(q / p), nats
    largest     max |p - q|
    agreement   share of inputs with the same most probable class
    top_1       shares of inputs whose most probable class is the right one, by y and by z; None where that is not known
    """

    engine: str
    inputs: int
    error: float
    divergence: float
    largest: float
    agreement: float
    top_1: tuple[float, float] | None


def differences(case: Case, files: Files, judged: Float32, classes: Classes) -> list[Difference]:
    """opq's integers against the same file in float32, and ONNX Runtime's against the dense network."""
    threads = available_cores()
    sessions = {p: opq.Session(files.opq, threads=threads, precision=p) for p in ("float32", "int16", "int8")}
    name = sessions["float32"].get_inputs()[0].name
    outputs = {p: np.concatenate([s.run(None, {name: x[None]})[0] for x in judged]) for p, s in sessions.items()}
    rows = [difference(f"opq {p}", outputs[p], outputs["float32"], case, classes) for p in ("int16", "int8")]
    if Path(files.int8).exists():
        y, z = (_by_onnxruntime(path, judged, threads) for path in (files.int8, files.dense))
        rows.append(difference(INT8, y, z, case, classes))
    return rows


def _by_onnxruntime(path: str, judged: Float32, threads: int) -> Float32:
    run = onnxruntime_int8.runner(Path(path).read_bytes(), threads)
    return np.concatenate([run(x[None]) for x in judged])


def difference(engine: str, y: Float32, z: Float32, case: Case, classes: Classes = None) -> Difference:
    """Of outputs [n, classes]: probabilities of open-nsfw, logits of the others."""
    log_p, log_q = (_log_probabilities(values.astype(np.float64), case.network == "open-nsfw") for values in (y, z))
    p, q = np.exp(log_p), np.exp(log_q)
    error = np.linalg.norm(y.astype(np.float64) - z) / np.linalg.norm(z.astype(np.float64))
    agreement = np.mean(y.argmax(axis=1) == z.argmax(axis=1))
    divergence = np.sum(q * (log_q - log_p), axis=1).mean()
    largest = float(np.abs(p - q).max())
    top_1 = None
    if classes is not None:
        top_1 = tuple(float(np.mean(values.argmax(axis=1) == classes)) for values in (y, z))
    return Difference(engine, len(y), float(error), float(divergence), largest, float(agreement), top_1)


def _log_probabilities(values: Float64, are_probabilities: bool) -> Float64:
    if are_probabilities:
        return np.log(np.maximum(values, 1e-12))
    shifted = values - values.max(axis=1, keepdims=True)
    result: Float64 = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
