"""ONNX Runtime's static quantization to int8: the file people have today, a quarter of the dense one.

Weights int8 per output channel, activations calibrated on a few of the photographs that the result is then judged on (or on
noise), which opq does without. ONNX Runtime's documentation names two variants for CPUs that lack VNNI, weights of 8 and of 7
bits; both are handed in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter

from benchmarks.candidates import Candidate, Float32, Solution, Subject, timed

_OPSET = 13  # the first whose QuantizeLinear has a scale per channel


def static_int8(subject: Subject, target: float) -> list[Solution]:
    """Both variants; the bytes are what they are, whatever the target."""
    return [timed(f"{bits}-bit weights", lambda bits=bits: _quantized(subject, bits)) for bits in (8, 7)]


def _quantized(subject: Subject, bits: int) -> Callable[[bool], Candidate]:
    data = quantized(subject.path, subject.model.graph.inputs[0].name, subject.calibration, bits)
    candidate = Candidate(data, len(data))
    return lambda repaired: candidate


def quantized(path: Path, name: str, calibration: Float32, bits: int = 8) -> bytes:
    """The ONNX file for a dense one: calibrated image by image on the inputs called `name`, weights of so many bits."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, Float32]] = iter([{name: image[None]} for image in calibration])

        def get_next(self) -> dict[str, Float32] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared, result = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        model = onnx.load(path)
        if model.opset_import[0].version < _OPSET:
            model = onnx.version_converter.convert_version(model, _OPSET)
        onnx.save(model, prepared)
        quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(result),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return result.read_bytes()


def runner(model: bytes, threads: int) -> Callable[[Float32], Float32]:
    """What computes the first output of an ONNX file for a batch of inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: np.asarray(session.run(None, {name: inputs})[0])
