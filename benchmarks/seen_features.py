"""What one engine shows of the instructions that it uses: without_avx512.py runs this in an environment that hides AVX-512.

    python benchmarks/seen_features.py onnxruntime|openvino|MNN|deepsparse SAMPLER

The last line of standard error says it; the status is 1 if the engine asked none of the hidden instructions, says that it uses
AVX-512, VNNI or AMX, or spends time in instructions of AVX-512, whatever it says. SAMPLER is sampled_instructions.c, compiled.
"""

from __future__ import annotations

import ctypes
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

Run: TypeAlias = Callable[[], object]

_BEYOND = re.compile("avx512|vnni|amx|avx10")
_SECONDS = 0.4
# Of the samples in vector instructions: a few fall into libraries that nothing is hidden from; with AVX-512 it is most of them.
_TOLERATED = 0.1


def main() -> None:
    """Ask one engine."""
    name, sampler = sys.argv[1:]
    try:
        run, said = _ENGINES[name]()
    except ImportError as error:
        print(f"{name}: not checked ({error})", file=sys.stderr)
        return
    count_answers = ctypes.CDLL(None).hidden_cpuid_answers
    run()
    answers = count_answers()
    evex, vex = _sampled(run, ctypes.CDLL(sampler))
    text = f"{said}; {answers} cpuid instructions answered, {evex} samples in AVX-512, {vex} in AVX and AVX2"
    if answers == 0:
        sys.exit(f"{name}: asked none of the cpuid instructions that are hidden from it")
    if count_answers() > answers:
        sys.exit(f"{name}: asks for the processor's features whenever it runs, which takes time here")
    if vex == 0 or _BEYOND.search(said) or evex > _TOLERATED * (evex + vex):
        sys.exit(f"{name}: does not use AVX2 alone: {text}")
    print(f"{name}: {text}", file=sys.stderr)


def _sampled(run: Run, sampler: ctypes.CDLL) -> tuple[int, int]:
    sampler.start_sampling()
    end = time.process_time() + _SECONDS
    while time.process_time() < end:
        run()
    sampler.stop_sampling()
    return sampler.evex_samples(), sampler.vex_samples()


def _onnxruntime() -> tuple[Run, str]:
    """By arithmetic: without VNNI its products of four bytes go through sums of two, which saturate at 2^15."""
    import onnxruntime
    from onnx import TensorProto, helper

    size = 256
    a, b = np.full((size, size), 255, np.uint8), np.full((size, size), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"]), helper.make_node("MatMul", ["x", "x"], ["z"])],
        "products",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, a.shape),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, a.shape),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.INT32, a.shape),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, a.shape),
        ],
        [helper.make_tensor("b", TensorProto.INT8, b.shape, b.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {"a": a, "x": a.astype(np.float32)}
    y = session.run(["y"], inputs)[0]
    exact = bool(np.all(y == 255 * 127 * size))
    return lambda: session.run(None, inputs), f"products of bytes {'are exact: vnni' if exact else 'saturate: none of VNNI'}"


def _openvino() -> tuple[Run, str]:
    """The kernels of a convolution, as the plugin names them, and what it says it can do."""
    import openvino
    from openvino import opset8

    weights = np.random.default_rng(0).normal(size=(64, 32, 3, 3)).astype(np.float32)
    x = opset8.parameter([1, 32, 56, 56], np.float32)
    y = opset8.relu(opset8.convolution(x, opset8.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1]))
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    core = openvino.Core()
    model = core.compile_model(openvino.Model([y], [x]), "CPU", options)
    kinds = {node.get_rt_info()["primitiveType"].astype(str) for node in model.get_runtime_model().get_ops()}
    kernels = sorted(kind for kind in kinds if not kind.startswith("unknown"))
    request = model.create_infer_request()
    array = np.ones((1, 32, 56, 56), np.float32)
    return (
        lambda: request.infer([array]),
        f"kernels {', '.join(kernels)}, capabilities {', '.join(core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))}",
    )


def _mnn() -> tuple[Run, str]:
    """It says nothing of the processor."""
    from MNN import expr

    x = expr.const(np.ones((256, 256), np.float32), [256, 256], expr.NCHW)
    return lambda: expr.matmul(x, x).read(), "says nothing"


def _deepsparse() -> tuple[Run, str]:
    """The folder of libraries that it chose, and what it found. It makes its own code, not always for what the folder says."""
    import onnx
    from deepsparse.engine import Engine
    from onnx import TensorProto, helper

    weights = np.random.default_rng(0).normal(size=(64, 32, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["z"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["z"], ["y"])],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 32, 56, 56))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 64, 56, 56))],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file.name)
        engine = Engine(file.name, batch_size=1, num_cores=1)
    loaded = set(re.findall(r"/deepsparse/(\w+)/\w+\.so", Path("/proc/self/maps").read_text()))
    said = f"libraries of {', '.join(sorted(loaded))}" + (", vnni" if engine.cpu_vnni else "")
    array = np.ones((1, 32, 56, 56), np.float32)
    return lambda: engine.run([array]), said


_ENGINES: dict[str, Callable[[], tuple[Run, str]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "MNN": _mnn,
    "deepsparse": _deepsparse,
}

if __name__ == "__main__":
    main()
