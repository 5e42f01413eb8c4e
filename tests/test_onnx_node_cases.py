"""Every supported ONNX operator, imported and run by the reference, against ONNX's own node tests.

A node test gives weights, axes and bounds as graph inputs. Here all inputs but the first become constants, as in
real models; operators that may compute both operands at run time are also tested as they are.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase

from opq.errors import UnsupportedError
from opq.onnx_import import load_onnx
from opq.reference.execution import check, run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # building ONNX's cases overflows and divides by zero on purpose
    from onnx.backend.test.loader import load_model_tests

    ALL_CASES = load_model_tests(kind="node")

RUNTIME_OPERANDS = {"Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Concat"}
SUPPORTED = RUNTIME_OPERANDS | {
    "Conv", "BatchNormalization", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softmax",
    "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Pad", "Flatten", "Reshape", "Squeeze", "Unsqueeze",
    "Transpose", "Identity", "Dropout", "LRN",
}  # fmt: skip

# What is refused on purpose: names of node tests, and what the message must say.
REFUSED = {
    r"_(u?int(8|16)|uint(32|64))$|uint8": "elements|not a tensor",
    r"clip_.*int8": "elements",
    r"maxpool_3d|averagepool_3d": "3 spatial axes",
    r"maxpool_with_argmax": "more than one output",
    r"batchnorm_.*training_mode|training_dropout": "training_mode|more than one output",
    r"dropout_.*mask": "more than one output",
    r"identity_(opt|sequence)": "not a tensor",
    r"relu_.*int|clip_.*int|reduce_mean_.*int": "elements",
}


def _single_node_cases() -> list[TestCase]:
    cases = []
    for case in ALL_CASES:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in SUPPORTED and nodes[0].domain in ("", "ai.onnx"):
            cases.append(case)
    return cases


CASES = _single_node_cases()


def _import_and_run(case: TestCase, runtime_inputs: int) -> None:
    """Only the first `runtime_inputs` inputs stay inputs of the graph."""
    for arrays, expected in case.data_sets:
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        for entry in model.opset_import:
            # The operators changed after 21 only in the types that they allow.
            entry.version = min(entry.version, 21)
        names = [value.name for value in model.graph.input]
        for value, array in list(zip(model.graph.input, arrays, strict=True))[runtime_inputs:]:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
        del model.graph.input[runtime_inputs:]
        imported = load_onnx(model)
        check(imported.graph, imported.tensors)
        dtypes = {value.name: value.dtype for value in imported.graph.inputs}
        feeds = {
            name: np.asarray(array).astype(dtypes[name])
            for name, array in list(zip(names, arrays, strict=True))[:runtime_inputs]
        }
        for got, want in zip(run(imported.graph, imported.tensors, feeds), expected, strict=True):
            _assert_close(got, np.asarray(want), case)


def _assert_close(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any], case: TestCase) -> None:
    assert got.shape == want.shape
    rtol, atol = (case.rtol, case.atol) if want.dtype.itemsize >= 4 else (1e-2, 1e-3)
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_onnx_node_case(case: TestCase) -> None:
    refused = next((message for name, message in REFUSED.items() if re.search(name, case.name)), None)
    if refused is None:
        _import_and_run(case, runtime_inputs=1)
    else:
        with pytest.raises(UnsupportedError, match=refused) as caught:
            _import_and_run(case, runtime_inputs=1)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case.model.graph.node[0].op_type in RUNTIME_OPERANDS and not any(re.search(name, case.name) for name in REFUSED)
    ],
    ids=lambda case: case.name,
)
def test_onnx_node_case_with_all_operands_at_run_time(case: TestCase) -> None:
    _import_and_run(case, runtime_inputs=len(case.model.graph.input))


def test_every_supported_operator_has_a_node_case() -> None:
    assert SUPPORTED - {case.model.graph.node[0].op_type for case in CASES} == set()
